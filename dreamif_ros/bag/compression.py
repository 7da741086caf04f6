"""Bytes of bags as they were before they were compressed, also where the end is missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):  # where rosbags has it from
    from compression import zstd
else:
    from backports import zstd

from dreamif_ros.bag.storage import MAX_BYTES, BagError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # no CDR message begins with these bytes
MAX_GROWTH = 200  # times a packed file, and ROOM_BYTES more: what it may become
ROOM_BYTES = 256 << 20
_PIECE_BYTES = 1 << 20


def unpack(compression: str, data: bytes, max_bytes: int = MAX_BYTES) -> bytes:
    """The content, or as much of it as the data give; nothing where they are damaged.

    Args:
        compression: ``zstd``, ``lz4``, or empty for none.
        data: the compressed bytes.
        max_bytes: of the content; a longer one counts as damaged.
    """
    if not compression:
        return data
    unpacked = b""
    try:
        if compression == "zstd":
            unpacked = zstd.ZstdDecompressor().decompress(data, max_bytes + 1)
        if compression == "lz4":
            unpacked = bytes(LZ4FrameDecompressor().decompress(data, max_bytes + 1))
    except (zstd.ZstdError, RuntimeError, EOFError, ValueError):
        pass
    return unpacked if len(unpacked) <= max_bytes else b""


def unpack_file(path: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """Write ``x.mcap.zstd`` as ``folder / x.mcap``, as far as it goes; return that path."""
    copy = folder / path.stem
    left = MAX_GROWTH * path.stat().st_size + ROOM_BYTES
    with path.open("rb") as source, copy.open("wb") as target:
        try:
            with zstd.open(source, "rb") as unpacked:
                while piece := unpacked.read(_PIECE_BYTES):
                    left -= len(piece)
                    if left < 0:
                        raise BagError(f"{path.name} is no recording: it unpacks to endless data")
                    target.write(piece)
        except (zstd.ZstdError, EOFError) as error:
            say(f"{path.name} is cut off or damaged ({error}); what is there was read")
    return copy
