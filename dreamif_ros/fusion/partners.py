"""Finds each frame's partner, or decides that it is used alone."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from dreamif_model.cameras import Both, Camera
from dreamif_ros import codec
from dreamif_ros.fusion.camera_health import CameraWatch, Fault, find_faults
from dreamif_ros.fusion.parameters import SyncSettings
from dreamif_ros.fusion.synchronizers import make_synchronizer
from dreamif_ros.node.node_statistics import Statistics
from dreamif_ros.pairing import Pair, PairingCounts, Synchronizer
from dreamif_ros.stamps import to_seconds

MAX_WAITING_BYTES = 256_000_000  # of both cameras' messages that wait; the oldest are dropped
PARTNERLESS = ("silent", "stale")  # faults of a camera that brings no partners


@dataclass
class CameraFrame:
    """One message of a camera."""

    camera: Camera
    message: codec.ImageMessage
    stamp_ns: int  # on the clock that both cameras share: its offset is added
    arrived_s: float  # of time.monotonic()
    used_alone: bool = False  # published without a partner; a later partner is not wanted


# What is fused: a pair, or the frame of one camera if the other brings no partner.
Frames: TypeAlias = Both[CameraFrame] | Both[CameraFrame | None]


class Partners:
    """Takes every frame; returns pairs and lone frames as soon as they can be fused.

    A lone frame waits for the next frame of its camera, or for :meth:`waited_in_vain`: until then
    its partner may still come.
    """

    def __init__(
        self, settings: SyncSettings, watches: Both[CameraWatch], statistics: Statistics
    ) -> None:
        self._watches, self._statistics = watches, statistics
        self._queue_size = settings.queue_size
        self._sizes: deque[int] = deque(maxlen=settings.queue_size)  # of the newest messages
        self._synchronizer: Synchronizer[CameraFrame] = make_synchronizer(
            settings.policy, settings.slop_s, settings.queue_size
        )
        self._lone: Both[CameraFrame | None] = Both(None, None)  # the newest one of each camera

    def apply(self, settings: SyncSettings) -> None:
        """Take the settings that are live."""
        self._synchronizer.slop_s = settings.slop_s
        self._queue_size = settings.queue_size
        self._sizes = deque(self._sizes, maxlen=settings.queue_size)

    def take(self, frame: CameraFrame) -> list[Frames]:
        """Take one frame; return what can be fused now."""
        ready: list[Frames] = self._use_alone(frame.camera)  # no partner came before this frame
        self._synchronizer.queue_size = self._room_for(frame)
        pairs = self._synchronizer.add(frame.camera, frame.stamp_ns, frame)
        ready += [pair for pair in pairs if self._is_wanted(pair)]
        if not pairs and self._is_alone(frame.camera):
            self._lone[frame.camera] = frame
        return ready

    def _room_for(self, frame: CameraFrame) -> int:
        """How many messages of each camera may wait, by their number and by their bytes."""
        self._sizes.append(len(frame.message.data))
        fitting = MAX_WAITING_BYTES // (2 * max(1, *self._sizes))
        return max(1, min(self._queue_size, fitting))

    def waited_in_vain(self) -> list[Frames]:
        """The lone frames that have waited for longer than a partner may take."""
        before_s = time.monotonic() - self._synchronizer.slop_s
        late = [camera for camera, f in self._lone.items() if f and f.arrived_s < before_s]
        return [frames for camera in late for frames in self._use_alone(camera)]

    def clear(self) -> None:
        """Time was set back: forget the frames that wait."""
        self._synchronizer.clear()

    @property
    def counts(self) -> PairingCounts:
        """What became of every frame."""
        return self._synchronizer.counts

    @property
    def waiting(self) -> Both[int]:
        """How many frames wait for a partner."""
        return self._synchronizer.waiting

    def _is_wanted(self, pair: Pair[CameraFrame]) -> bool:
        """Count a pair; a pair of which one frame was published already is not wanted."""
        self._statistics.count("pairs")
        skew_s = to_seconds(pair.skew_ns)
        self._statistics.add_latencies({"skew": abs(skew_s), "infrared_offset": skew_s})
        for camera, frame in pair.items():
            self._watches[camera].paired(frame.arrived_s)
            if self._lone[camera] is frame:
                self._lone[camera] = None
        if any(frame.used_alone for frame in pair):
            self._statistics.count("superseded")
            return False
        return True

    def _is_alone(self, camera: Camera) -> bool:
        """Whether the other camera is not expected to bring a partner."""
        faults = find_faults(self._watches, time.monotonic())
        return _has_no_partner(faults[camera.other]) and not _has_no_partner(faults[camera])

    def _use_alone(self, camera: Camera) -> list[Frames]:
        frame = self._lone[camera]
        if frame is None:
            return []
        self._statistics.count("alone")
        frame.used_alone = True
        self._lone[camera] = None
        return [Both[CameraFrame | None].make(lambda c: frame if c is camera else None)]


def _has_no_partner(fault: Fault | None) -> bool:
    return fault is not None and fault.kind in PARTNERLESS
