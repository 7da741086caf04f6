"""Recordings of both cameras (rosbag2): written, read and published, without a ROS installation.

Only :mod:`dreamif_ros.bag.replay`, which publishes a bag live, needs ROS. ``read_pairs`` iterates
over the pairs of a bag::

    rows = [(pair.stamp_ns, pair.skew_ms) for pair in read_pairs("drive.mcap")]
"""

from dreamif_ros.bag.image_sources import open_data_set, open_images
from dreamif_ros.bag.make import make_bag
from dreamif_ros.bag.recorded_pairs import PairingOptions, RecordedPair, read_pairs
from dreamif_ros.bag.storage import BagError

__all__ = [
    "BagError",
    "PairingOptions",
    "RecordedPair",
    "make_bag",
    "open_data_set",
    "open_images",
    "read_pairs",
]
