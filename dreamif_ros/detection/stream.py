"""The way of a frame through an active detector: the newest is looked at, the others counted.

::

    subscription, or fused image in memory ── Frame ── NewestWorker ── Detector ── publishers
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header

from dreamif_ros.detection.boxes import draw_boxes
from dreamif_ros.detection.detector import Detections, Detector
from dreamif_ros.detection.frames import FrameDecoder
from dreamif_ros.detection.outputs import DetectionOutputs
from dreamif_ros.images import codec
from dreamif_ros.node.accounting import NANOSECONDS, record_age, survive
from dreamif_ros.node.statistics import Statistics
from dreamif_ros.node.transport import subscribe_images
from dreamif_ros.node.worker import NewestWorker

Pixels: TypeAlias = Any  # (H, W, 3) RGB or (H, W) gray, uint8: an array, or a tensor anywhere


@dataclass(frozen=True)
class Frame:
    """One image to look at; ``pixels`` decodes it."""

    header: Header
    pixels: Callable[[], Pixels]
    arrived_s: float  # of time.monotonic()


class RateLimit:
    """Lets no more than so many frames per second through, on average.

    A frame may be early by a quarter of a period: cameras are not exact, and one at just the
    limit would lose every other frame.
    """

    EARLY = 0.25  # of a period

    def __init__(self) -> None:
        self._due_s = -math.inf

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """Whether a frame that came now may pass; rate_hz: 0 for no limit."""
        if not rate_hz:
            return True
        early_s = self.EARLY / rate_hz
        if now_s < self._due_s - early_s:
            return False
        self._due_s = max(self._due_s, now_s - early_s) + 1 / rate_hz
        return True


class DetectionStream:
    """Everything that an active detector owns; :meth:`close` ends it.

    values: those of DETECTOR_PARAMETERS. in_memory: frames come by :meth:`take`, without a
    subscription. The detector works in the worker's thread, all else in that of who calls.
    objects: how many the last image had. heard_s: when the last image came, or when it began to
    be waited for, of time.monotonic().
    """

    def __init__(
        self,
        node: LifecycleNode,
        detector: Detector,
        outputs: DetectionOutputs,
        values: dict[str, Any],
        in_memory: bool,
    ) -> None:
        self._node, self._detector, self._outputs = node, detector, outputs
        self.values, self.objects = values, 0
        codec.use_one_thread()
        self.statistics = Statistics()
        self._decoder = FrameDecoder(values["max_megapixels"])
        self._limit = RateLimit()
        self.heard_s = time.monotonic()
        self._last_stamp_ns = 0
        self._new_sequence = threading.Event()
        self._new_sequence.set()  # tracks of a stream before this one are forgotten
        self.input = None
        if not in_memory:
            self.input = subscribe_images(
                node, values["image_topic"], values["image_transport"], self._on_message
            )
        self._worker = NewestWorker(self._process, "detection-worker")

    def apply(self, values: dict[str, Any]) -> None:
        """Take the values of the parameters that are live."""
        self.values = values
        self._decoder.max_megapixels = values["max_megapixels"]

    def close(self) -> None:
        """Unsubscribe, finish the frame at work, and end the worker's thread."""
        if self.input:
            self.input.destroy()
        self._worker.stop()

    def follow_publishers(self) -> None:
        """Subscribe as the images are published now."""
        if self.input:
            self.input.follow()

    def begin_sequence(self) -> None:
        """Time was set back: tracks of the images before are forgotten."""
        self._new_sequence.set()

    def wants(self) -> bool:
        """Whether the image that came now is to be taken; counts one that is not.

        It is not where nobody looks at what is found, or where it comes too soon.
        """
        self.heard_s = time.monotonic()
        if not self._outputs.wanted():
            reason = "unwatched"
        elif not self._limit.admits(self.heard_s, self.values["max_rate_hz"]):
            reason = "above max_rate_hz"
        else:
            return True
        self.statistics.count("received")
        self.statistics.count(reason)
        return False

    def take(self, header: Header, pixels: Callable[[], Pixels]) -> None:
        """A frame that was wanted: it is next in line."""
        self.statistics.count("received")
        if self._worker.offer(Frame(header, pixels, self.heard_s)):
            self.statistics.count("superseded")

    def _on_message(self, message: codec.ImageMessage) -> None:
        if self.wants():
            self.take(message.header, partial(self._decoder.decode, message))

    # -- In the worker's thread.

    def _process(self, frame: Frame) -> None:
        """Look at one frame; what cannot be looked at is named and counted."""
        survive(self._node, self.statistics, "detection", partial(self._detect, frame))

    def _detect(self, frame: Frame) -> None:
        waited_s = time.monotonic() - frame.arrived_s
        started = time.perf_counter()
        pixels = frame.pixels()
        decoded = time.perf_counter()
        self._forget_tracks(frame.header)
        detections = self._detector.detect(pixels)
        detected = time.perf_counter()
        self._outputs.publish(
            detections,
            partial(self._drawn, pixels, detections),
            frame.header,
            self.values["jpeg_quality"],
        )
        self.objects = len(detections.scores)
        self.statistics.count("published")
        self.statistics.add_latencies(
            {
                "wait": waited_s,
                "decode": decoded - started,
                "detect": detected - decoded,
                "publish": time.perf_counter() - detected,
            }
        )
        record_age(self._node, self.statistics, frame.header.stamp)

    def _drawn(self, pixels: Pixels, detections: Detections) -> Any:
        image = pixels.cpu().numpy() if hasattr(pixels, "cpu") else pixels
        return draw_boxes(image, detections, self._detector.names)

    def _forget_tracks(self, header: Header) -> None:
        stamp_ns = header.stamp.sec * NANOSECONDS + header.stamp.nanosec
        if self._new_sequence.is_set() or stamp_ns < self._last_stamp_ns:
            self._new_sequence.clear()
            self._detector.reset_tracks()
        self._last_stamp_ns = stamp_ns
