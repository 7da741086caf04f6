"""Recordings: written from image pairs, read back, replayed, calibrated from, evaluated.

``from dreamif_ros.bag import read_pairs`` iterates the pairs of one::

    rows = [(pair.stamp_ns, pair.skew_ms) for pair in read_pairs("drive.mcap")]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamif_ros.bag.pairs import RecordedPair, read_pairs

__all__ = ["RecordedPair", "read_pairs"]


def __getattr__(name: str) -> Any:
    """What needs ROS's messages is imported when it is asked for: writing a bag needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dreamif_ros.bag import pairs

    return getattr(pairs, name)
