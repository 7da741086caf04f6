"""How the files of a bag are stored, and how its topics were published when it was recorded."""

from __future__ import annotations

import struct
from pathlib import Path

from rosbags.interfaces import ConnectionExtRosbag2

from dreamif_ros.bag.salvage import files_of
from dreamif_ros.bag.storage import BagError, errors_of_rosbags, open_reader

_MCAP_CHUNK = 6


def reliabilities(bag: Path) -> dict[str, str]:
    """Of the recorded publishers by topic; nothing for a bag that had to be salvaged."""
    found: dict[str, set[str]] = {}
    try:
        with errors_of_rosbags(f"cannot read the bag {bag}"), open_reader(bag) as reader:
            for connection in reader.connections:
                if isinstance(connection.ext, ConnectionExtRosbag2):
                    names = {q.reliability.name for q in connection.ext.offered_qos_profiles}
                    found.setdefault(connection.topic, set()).update(names)
    except BagError:
        return {}
    return {topic: " and ".join(sorted(names)).lower() for topic, names in found.items()}


def storage_of(bag: Path) -> tuple[str, str]:
    """Kind of the files, and how they are compressed."""
    file = files_of(bag)[0]
    kind = "mcap" if ".mcap" in file.name else "sqlite3"
    if file.suffix == ".zstd":
        return kind, "files by zstd"
    compression = _chunk_compression(file) if kind == "mcap" else ""
    if compression:
        return kind, f"chunks by {compression}"
    metadata = bag / "metadata.yaml"
    text = metadata.read_text("utf-8", "replace").lower() if metadata.is_file() else ""
    return kind, "messages by zstd" if "compression_mode: message" in text else "none"


def _chunk_compression(file: Path) -> str:
    """Of the first chunk of an MCAP file: zstd, lz4 or nothing."""
    with file.open("rb") as stream:
        stream.seek(8)
        while len(head := stream.read(9)) == 9:
            kind, length = struct.unpack("<BQ", head)
            if kind == _MCAP_CHUNK:
                fields = stream.read(64)
                return fields[32 : 32 + int.from_bytes(fields[28:32], "little")].decode("latin-1")
            stream.seek(min(length, 2**40), 1)
    return ""
