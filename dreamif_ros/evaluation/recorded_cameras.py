"""A bag as the fusion node would take it: topics, pairing and registration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dreamif_model import Calibration
from dreamif_model.cameras import Both
from dreamif_ros.bag.camera_topics import CameraTopics
from dreamif_ros.bag.recorded_pairs import (
    PairingOptions,
    RecordedPair,
    camera_topics,
    pair_images,
    read_images,
)
from dreamif_ros.bag.recording import Recording
from dreamif_ros.evaluation.camera_check import complete
from dreamif_ros.fusion.camera_infos import CameraInfos


@dataclass(frozen=True)
class RecordedCameras:
    """Both cameras of an open bag.

    Attributes:
        recording: the bag.
        chosen: the cameras' topics.
        pairing: how images become pairs, with the calibration's clock offset.
        clock_offset_s: of the calibration.
        calibration: how infrared lies on the visible image; None: it is resized to it.
    """

    recording: Recording
    chosen: CameraTopics
    pairing: PairingOptions
    clock_offset_s: float
    calibration: Calibration | None

    def pairs(self, start_s: float = 0.0, stop_s: float | None = None) -> Iterator[RecordedPair]:
        """The pairs between two times, in seconds since the bag's first message."""
        images = read_images(self.recording, self.chosen.topics, start_s, stop_s)
        return pair_images(images, self.pairing, self.recording.start_ns)


@contextmanager
def open_cameras(
    bag: Path, named: Both[str | None], pairing: PairingOptions, calibration: Path | None
) -> Iterator[RecordedCameras]:
    """Open a bag.

    Args:
        bag: rosbag2 folder, or its ``.mcap`` or ``.db3`` file.
        named: topics; None: found by name and encoding.
        pairing: how images become pairs, without the calibration's clock offset.
        calibration: its file, or None.

    Raises:
        BagError: nothing can be read of the bag, or the cameras' topics are not clear.
        ConfigError: the calibration cannot be used.
    """
    infos = CameraInfos(calibration)
    # As the node adds the calibration's offset to its own.
    infrared_s = pairing.infrared_offset_s + infos.clock_offset_s
    with Recording(bag) as recording:
        chosen = camera_topics(recording, named)
        yield RecordedCameras(
            recording,
            chosen,
            replace(pairing, infrared_offset_s=infrared_s),
            infos.clock_offset_s,
            complete(infos, recording, chosen.topics),
        )
