"""Bags of a moving scene, whole and damaged, and what their evaluation finds."""

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

from dreamif_model import FusionPipeline
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings, evaluate_bag
from helpers.bag_files import Street, street_messages, write_bag

SMALL = Street((48, 36))
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3
COMPRESSIONS = {
    "mcap": (MCAP, None),
    "mcap, chunks": (MCAP, CompressionMode.STORAGE),
    "mcap, messages": (MCAP, CompressionMode.MESSAGE),
    "mcap, file": (MCAP, CompressionMode.FILE),
    "sqlite": (SQLITE, None),
    "sqlite, messages": (SQLITE, CompressionMode.MESSAGE),
    "sqlite, file": (SQLITE, CompressionMode.FILE),
}


def evaluated(bag, tmp_path, **settings):
    values = {"check": False, "metric_frames": 0, "film_frames": 0} | settings
    pipeline = FusionPipeline("average", "cpu")
    return evaluate_bag(bag, pipeline, EvaluationSettings(**values), tmp_path, write_video=False)


def street_bag(path, how="mcap", street=SMALL, seconds=2.0):
    plugin, mode = COMPRESSIONS[how]
    compression = mode and (mode, CompressionFormat.ZSTD)
    return write_bag(path, street_messages(seconds, street=street), plugin, compression)


def storage_file(bag):
    (file,) = (path for path in bag.iterdir() if path.name != "metadata.yaml")
    return file


def cut(file, share):
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])


def one_fault(found, text):
    assert [fault for fault in found.faults if text in fault], found.faults


def warned(found, text):
    warnings = [warning for warning in found.warnings if text in warning]
    assert len(warnings) == 1, found.warnings
    return warnings[0]
