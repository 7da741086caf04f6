"""An image's way through an active detector, from its message to the publishers.

::

    message, or fused image in memory ── take if wanted ── worker ── decode ── detect ── publish
                       (caller's thread)                         (worker's thread)

The steps stand below in this order; each calls the next. The worker always takes the newest image.
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

from dreamif_ros import codec
from dreamif_ros.detection.boxes import draw_boxes
from dreamif_ros.detection.detection_outputs import DetectionOutputs
from dreamif_ros.detection.detector import Detections, Detector
from dreamif_ros.detection.image_decoder import ImageDecoder
from dreamif_ros.detection.parameters import DetectorSettings
from dreamif_ros.detection.temperatures import Temperatures
from dreamif_ros.node.accounting import record_age, survive
from dreamif_ros.node.node_statistics import Statistics
from dreamif_ros.node.transport import subscribe_images
from dreamif_ros.node.worker import NewestWorker
from dreamif_ros.stamps import to_ns

ArrayOrTensor: TypeAlias = Any  # (H, W, 3) RGB or (H, W) gray, uint8; a tensor on any device


@dataclass(frozen=True)
class IncomingImage:
    """One image to look at; ``pixels`` decodes it."""

    header: Header
    pixels: Callable[[], ArrayOrTensor]
    arrived_s: float  # of time.monotonic()


class RateLimit:
    """Lets images through up to a maximum rate, on average.

    An image may be early by a quarter of a period: cameras are not exact, and without this a
    camera whose rate is the limit would lose every other image.
    """

    EARLY = 0.25  # of a period

    def __init__(self) -> None:
        self._due_s = -math.inf

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """Whether an image that came now may pass; rate_hz: 0 for no limit."""
        if not rate_hz:
            return True
        early_s = self.EARLY / rate_hz
        if now_s < self._due_s - early_s:
            return False
        self._due_s = max(self._due_s, now_s - early_s) + 1 / rate_hz
        return True


class DetectionStream:
    """Everything that an active detector owns; :meth:`close` ends it.

    in_memory: Images come by :meth:`take`, without a subscription: ``input`` is None.
    objects: Number of objects in the last image.
    heard_s: When the last image came, or when the stream began, of time.monotonic().
    """

    def __init__(
        self,
        node: LifecycleNode,
        detector: Detector,
        outputs: DetectionOutputs,
        settings: DetectorSettings,
        in_memory: bool,
    ) -> None:
        self._node, self._detector, self._outputs = node, detector, outputs
        self._settings, self.objects = settings, 0
        codec.use_one_thread()
        self.statistics = Statistics()
        self._decoder = ImageDecoder(settings.max_megapixels)
        self._limit = RateLimit()
        self.heard_s = time.monotonic()
        self._last_stamp_ns = 0
        self._new_sequence = threading.Event()
        self._new_sequence.set()  # tracks of an earlier stream are forgotten
        self.input = None
        if not in_memory:
            self.input = subscribe_images(
                node, settings.image_topic, settings.image_transport, self._on_message
            )
        self._temperatures = None
        if outputs.temperatures:
            self._temperatures = Temperatures(node, detector.names, outputs.temperatures.publish)
        self._worker = NewestWorker(self._process, "detection-worker")

    def apply(self, settings: DetectorSettings) -> None:
        """Take the settings that are live."""
        self._settings = settings
        self._decoder.max_megapixels = settings.max_megapixels

    def close(self) -> None:
        """Unsubscribe, finish the image at work, and end the worker's thread."""
        if self.input:
            self.input.destroy()
        if self._temperatures:
            self._temperatures.input.destroy()
        self._worker.stop()

    # -- In the caller's thread: the executor, or the worker of a fusion node.

    def _on_message(self, message: codec.ImageMessage) -> None:
        if self.wants():
            self.take(message.header, partial(self._decoder.decode, message))

    def wants(self) -> bool:
        """Whether to take the image that came now; an image that is not wanted is counted.

        It is not wanted if nobody subscribes to the results, or if it comes too soon.
        """
        self.heard_s = time.monotonic()
        if not self._outputs.wanted():
            reason = "unwatched"
        elif not self._limit.admits(self.heard_s, self._settings.max_rate_hz):
            reason = "above max_rate_hz"
        else:
            return True
        self.statistics.count("received")
        self.statistics.count(reason)
        return False

    def take(self, header: Header, pixels: Callable[[], ArrayOrTensor]) -> None:
        """Hand an image that is wanted to the worker."""
        self.statistics.count("received")
        if self._worker.offer(IncomingImage(header, pixels, self.heard_s)):
            self.statistics.count("superseded")

    # -- In the worker's thread.

    def _process(self, image: IncomingImage) -> None:
        survive(self._node, self.statistics, "detection", partial(self._detect, image))

    def _detect(self, image: IncomingImage) -> None:
        waited_s = time.monotonic() - image.arrived_s
        started = time.perf_counter()
        pixels = image.pixels()
        decoded = time.perf_counter()
        self._forget_tracks(image.header)
        detections = self._detector.detect(pixels)
        detected = time.perf_counter()
        self._outputs.publish(
            detections,
            partial(self._drawn, pixels, detections),
            image.header,
            self._settings.jpeg_quality,
        )
        if self._temperatures:
            self._temperatures.take(detections, pixels.shape, image.header)
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
        record_age(self._node, self.statistics, image.header.stamp)

    def _forget_tracks(self, header: Header) -> None:
        """Begin a new sequence if time was set back."""
        stamp_ns = to_ns(header.stamp)
        if self._new_sequence.is_set() or stamp_ns < self._last_stamp_ns:
            self._new_sequence.clear()
            self._detector.reset_tracks()
        self._last_stamp_ns = stamp_ns

    def _drawn(self, pixels: ArrayOrTensor, detections: Detections) -> Any:
        image = pixels.cpu().numpy() if hasattr(pixels, "cpu") else pixels
        return draw_boxes(image, detections, self._detector.names)

    # -- What is beside the image's way.

    def follow_publishers(self) -> None:
        """Subscribe with the reliability of the publishers."""
        if self.input:
            self.input.follow()
        if self._temperatures:
            self._temperatures.input.follow()

    def begin_sequence(self) -> None:
        """Time was set back: forget the tracks of earlier images."""
        self._new_sequence.set()
