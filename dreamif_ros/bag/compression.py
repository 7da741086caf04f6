"""Bytes of bags as they were before they were compressed, also where the end is missing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

if sys.version_info >= (3, 14):  # where rosbags has it from
    from compression import zstd
else:
    from backports import zstd

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # no CDR message begins with these bytes


def unpack(compression: str, data: bytes) -> bytes:
    """The content, or as much of it as the data give; nothing where they are damaged.

    Args:
        compression: ``zstd``, ``lz4``, or empty for none.
        data: the compressed bytes.
    """
    if not compression:
        return data
    try:
        if compression == "zstd":
            return zstd.ZstdDecompressor().decompress(data)
        if compression == "lz4":
            return bytes(LZ4FrameDecompressor().decompress(data))
    except (zstd.ZstdError, RuntimeError, EOFError, ValueError):
        pass
    return b""


def unpack_file(path: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """Write ``x.mcap.zstd`` as ``folder / x.mcap``, as far as it goes; return that path."""
    copy = folder / path.stem
    with path.open("rb") as source, copy.open("wb") as target:
        try:
            with zstd.open(source, "rb") as unpacked:
                shutil.copyfileobj(unpacked, target)
        except (zstd.ZstdError, EOFError, OSError) as error:
            say(f"{path.name} is cut off or damaged ({error}); what is there was read")
    return copy
