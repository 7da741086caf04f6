"""A frame's way through an active fusion node, from a camera's message to the publishers.

::

    message ── receive ── find its partner ── worker ── decode ── fuse ── publish
               (executor's thread)                      (worker's thread)

The steps stand below in this order; each calls the next.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Range
from std_msgs.msg import Float64, Header

from dreamif_model import ConfigError, FusionPipeline, ImageError
from dreamif_model.blank import is_blank
from dreamif_model.cameras import Both, Camera
from dreamif_model.thermal.unmeasured import EDGE_ROWS, MIN_ROWS
from dreamif_ros import codec
from dreamif_ros.fusion.camera_health import (
    CameraWatch,
    Fault,
    FusionMode,
    choose_mode,
    find_faults,
    severity,
)
from dreamif_ros.fusion.camera_infos import CameraInfos
from dreamif_ros.fusion.distances import STALE_S, Distances
from dreamif_ros.fusion.drift_check import DriftCheck
from dreamif_ros.fusion.fuser import DecodedImages, Fuser
from dreamif_ros.fusion.fusion_outputs import DETECTION_TOPIC, FusionOutputs, Listener, picture
from dreamif_ros.fusion.motion import Motion
from dreamif_ros.fusion.parameters import FusionSettings
from dreamif_ros.fusion.partners import CameraFrame, Frames, Partners
from dreamif_ros.fusion.registration import Registration
from dreamif_ros.fusion.synchronizers import STAMP_LIMIT_NS
from dreamif_ros.node.accounting import record_age, survive
from dreamif_ros.node.executor import one_line
from dreamif_ros.node.node_statistics import Statistics
from dreamif_ros.node.transport import FollowingSubscription, subscribe_images
from dreamif_ros.node.worker import NewestWorker
from dreamif_ros.stamps import from_seconds, split_ns, to_ns, to_seconds

_COLOURS = ("rgb", "bgr", "bayer", "yuv", "uyvy", "yuyv", "nv12", "nv21", "nv24", "8UC3", "8UC4")
_NUMBERS = re.compile(r"[\d.]+")
_COUNTS = ("mono16", "16UC1", "16SC1", "32FC1")
_DISTANCE_MESSAGES = {"range": Range, "float64": Float64}


def mixup(encodings: Both[str]) -> str:
    """Why the cameras seem exchanged; empty if they do not, or if it is not known."""
    infrared, visible = encodings.map(one_line)
    if not (infrared.startswith(_COLOURS) and visible.startswith(_COUNTS)):
        return ""
    return (
        f"the cameras seem exchanged: infrared images are {infrared}, visible images are "
        f"{visible}; exchange the topics"
    )


def picture_bytes(message: codec.ImageMessage) -> Any:
    """The bytes of an image less the rows where a camera may count its frames (telemetry)."""
    height, step = getattr(message, "height", 0), getattr(message, "step", 0)
    if height < MIN_ROWS:
        return message.data
    return message.data[EDGE_ROWS * step : (height - EDGE_ROWS) * step]


def _time_s(frames: Frames) -> float:
    """When the images were taken, on the clock that both cameras share."""
    return to_seconds(max(frame.stamp_ns for frame in frames if frame))


@dataclass
class _VisibleCamera:
    """What is known of the visible camera; used while infrared alone is published."""

    info: CameraInfo | None = None
    frame_id: str = ""


class FusionStream:
    """Everything that an active fusion node owns; :meth:`close` ends it.

    ConfigError if a subscription or the pairing policy is refused; then nothing stays behind.
    """

    def __init__(
        self,
        node: LifecycleNode,
        pipeline: FusionPipeline,
        outputs: FusionOutputs,
        infos: CameraInfos,
        settings: FusionSettings,
        listener: Listener | None = None,
    ) -> None:
        self._node, self._pipeline, self._outputs = node, pipeline, outputs
        self._infos, self._listener = infos, listener
        codec.use_one_thread()
        self.statistics, self._visible, self._jumps = Statistics(), _VisibleCamera(), 0
        self._motions = Both(Motion(), Motion())
        self._remarked: set[str] = set()  # remarks on thermal images that were logged
        self._encodings: Both[str] = Both("", "")
        self.mixup = ""  # why the cameras seem exchanged; empty if they do not
        self._shapes: Both[tuple[int, int] | None] = Both(None, None)  # of the newest images
        self.watches = Both.make(lambda _: CameraWatch(time.monotonic()))
        self.partners = Partners(settings.sync, self.watches, self.statistics)
        self.fuser = Fuser(pipeline, infos, self.watches, self._refuse, settings.temporal)
        self.distances = Distances(settings.registration.distance_m or None)
        self._settings = settings
        with ExitStack() as undo:
            self.registration = Registration(pipeline, self.distances, self._warn_of_registration)
            undo.callback(self.registration.close)
            if calibration := infos.calibration():
                self.registration.register(calibration)
            self.drift = DriftCheck(self.registration, self._warn_of_registration)
            undo.callback(self.drift.close)
            self.apply(settings)
            self._worker = NewestWorker(self._process, "fusion-worker")
            undo.callback(self._worker.stop)
            self.inputs = Both.make(partial(self._subscribe, undo))
            self._refuse_one_topic()
            self._info_inputs: list[FollowingSubscription] = []
            for camera in {Camera.VISIBLE, *infos.missing}:
                self._subscribe_info(camera, undo)
            self._distance_input = self._subscribe_distance(undo)
            self._undo = undo.pop_all()

    def _subscribe(self, undo: ExitStack, camera: Camera) -> FollowingSubscription:
        subscription = subscribe_images(
            self._node,
            f"{camera}/image_raw",
            self._settings.transport(camera),
            partial(self._on_image, camera),
            f"set {camera}.image_transport to {{}}",
        )
        undo.callback(subscription.destroy)
        return subscription

    def _refuse_one_topic(self) -> None:
        infrared, visible = (subscription.topic for subscription in self.inputs)
        if infrared == visible:
            raise ConfigError(
                f"both cameras' images are {infrared}: give each camera its own topic"
            )

    def _subscribe_info(self, camera: Camera, undo: ExitStack) -> None:
        subscription = FollowingSubscription(
            self._node,
            CameraInfo,
            f"{camera}/camera_info",
            partial(self._on_camera_info, camera),
            follows_durability=True,  # some drivers publish it once
        )
        undo.callback(subscription.destroy)
        self._info_inputs.append(subscription)

    def _subscribe_distance(self, undo: ExitStack) -> FollowingSubscription | None:
        settings = self._settings.registration
        if not settings.distance_topic:
            return None
        subscription = FollowingSubscription(
            self._node,
            _DISTANCE_MESSAGES[settings.distance_type],
            settings.distance_topic,
            lambda message: self.distances.take(message, time.monotonic()),
        )
        undo.callback(subscription.destroy)
        return subscription

    def apply(self, settings: FusionSettings) -> None:
        """Take the settings that are live."""
        self._settings = settings
        offsets_ns = settings.sync.offsets_ns
        offsets_ns.infrared += from_seconds(self._infos.clock_offset_s)
        self._offsets_ns = offsets_ns
        self.partners.apply(settings.sync)
        self.fuser.sequence.config = settings.temporal
        self.distances.fixed_m = settings.registration.distance_m or None
        self.drift.mode = settings.registration.follow_drift
        self.drift.limit_px = settings.registration.drift_px
        for watch in self.watches:
            watch.config = settings.health

    def close(self) -> None:
        """Unsubscribe, finish the frame at work, and end the worker's thread."""
        self._undo.close()

    # -- In the executor's thread.

    def _on_image(self, camera: Camera, message: codec.ImageMessage) -> None:
        frame = self._receive(camera, message)
        self._compare_encodings(camera, message)
        self._offer(self.partners.take(frame))
        if self.partners.counts.jumps != self._jumps:
            self._jumps = self.partners.counts.jumps
            self._report_jump()

    def _receive(self, camera: Camera, message: codec.ImageMessage) -> CameraFrame:
        """Note that a message came, and bring its stamp to the clock that both cameras share."""
        now_s = time.monotonic()
        stamp_ns = to_ns(message.header.stamp)
        self.statistics.count(f"{camera} received")
        if not stamp_ns:  # the driver sets no stamp: take the time of arrival
            self.statistics.count(f"{camera} unstamped")
            stamp_ns = self._node.get_clock().now().nanoseconds
        if self._is_too_large(message):  # it is refused when it is decoded
            message.data = []  # nothing is kept of it while it waits
        self.watches[camera].received(now_s, stamp_ns, picture_bytes(message))
        return CameraFrame(camera, message, stamp_ns + self._offsets_ns[camera], now_s)

    def _compare_encodings(self, camera: Camera, message: codec.ImageMessage) -> None:
        """Say it if each camera sends what the other should."""
        encoding = codec.encoding_of(message)
        if encoding == self._encodings[camera]:
            return
        self._encodings[camera] = encoding
        self.mixup = mixup(self._encodings)
        if self.mixup:
            self._node.get_logger().warning(self.mixup)

    def _is_too_large(self, message: codec.ImageMessage) -> bool:
        """Whether a raw image is above max_megapixels."""
        pixels = getattr(message, "width", 0) * getattr(message, "height", 0)
        return pixels > self._settings.max_megapixels * 1e6

    def use_lone_frames(self) -> None:
        """Publish alone what has waited for a partner in vain; call it every tenth of a second."""
        self._offer(self.partners.waited_in_vain())

    def _offer(self, ready: Iterable[Frames]) -> None:
        """Hand frames to the worker, which always takes the newest."""
        for frames in ready:
            if self._worker.offer(frames):
                self.statistics.count("superseded")

    # -- In the worker's thread.

    def _process(self, frames: Frames) -> None:
        survive(self._node, self.statistics, "fusion", partial(self._fuse, frames))

    def _fuse(self, frames: Frames) -> None:
        waited_s = time.monotonic() - max(frame.arrived_s for frame in frames if frame)
        started = time.perf_counter()
        images: DecodedImages = Both.make(lambda camera: self._decode(camera, frames[camera]))
        decode_s = time.perf_counter() - started
        topics, heard = self._outputs.wanted(), ""
        if self._listener:
            heard = self._listener.wanted_topic()
        if not heard and not topics:
            self.statistics.count("unwatched")
            self.fuser.accept(images)
            return
        self.registration.follow()
        for_detectors = any(topic.startswith(DETECTION_TOPIC) for topic in (heard, *topics))
        result = self.fuser.fuse(images, self._shapes.visible, for_detectors, _time_s(frames))
        if result is None:  # neither image is usable; each camera's reason was logged
            self.statistics.count("refused")
            return
        self._report_remarks()
        if result.laid:
            self.drift.look(result.laid)
        header = self._header(frames)
        if self._listener and heard:
            self._listener.take(picture(heard, result), header)
        seconds = self._outputs.publish(
            topics, result, header, self._visible.info, self._settings.jpeg_quality
        )
        self.statistics.count("published")
        self.statistics.add_latencies(
            {"wait": waited_s, "decode": decode_s, **result.timings, **seconds}
        )
        record_age(self._node, self.statistics, header.stamp)

    def _report_remarks(self) -> None:
        """Log what is wrong with thermal images, each kind once: the numbers in it may change."""
        for remark in self.remarks:
            kind = _NUMBERS.sub("", remark)
            if kind not in self._remarked:
                self._remarked.add(kind)
                self._node.get_logger().warning(f"infrared: {one_line(remark)}")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is wrong with the last thermal image, or with how it is shown."""
        return self._pipeline.normalizer.remarks

    def _decode(self, camera: Camera, frame: CameraFrame | None) -> NDArray[Any] | None:
        """The image of a frame; None if it holds none."""
        if frame is None:
            return None
        try:
            image = codec.DECODERS[camera](frame.message, self._settings.max_megapixels)
        except ImageError as error:
            self._refuse(camera, str(error))
            return None
        moved = self._motions[camera].look(image)
        self.watches[camera].seen(time.monotonic(), is_blank(image), moved)
        self._shapes[camera] = image.shape[:2]
        if camera is Camera.VISIBLE:
            self._visible.frame_id = frame.message.header.frame_id
        return image

    def _header(self, frames: Frames) -> Header:
        """The visible message's header; without one, infrared's on the visible camera's clock."""
        if frames.visible:
            header: Header = frames.visible.message.header
            return header
        assert frames.infrared  # there is a frame of one camera at least
        own = frames.infrared.message.header.frame_id
        header = Header(frame_id=self._visible.frame_id or own)
        stamp_ns = frames.infrared.stamp_ns - self._offsets_ns.visible
        stamp_ns = min(max(0, stamp_ns), STAMP_LIMIT_NS - 1)  # what a ROS time can hold
        header.stamp.sec, header.stamp.nanosec = split_ns(stamp_ns)
        return header

    # -- What is beside the frame's way.

    def _on_camera_info(self, camera: Camera, message: CameraInfo) -> None:
        if camera is Camera.VISIBLE:
            self._visible.info = message
        limit = self._settings.max_megapixels
        try:
            calibration = self._infos.take(camera, message, self._shapes[camera], limit)
            if calibration:
                self._infos.use(calibration, self.registration.register)
        except ConfigError as error:
            topic = self._node.resolve_topic_name(f"{camera}/camera_info")
            self._refuse(Camera.INFRARED, f"registration cannot use {topic}: {error}")

    def _refuse(self, camera: Camera, reason: str) -> None:
        """Count, log and remember that a camera's images cannot be used."""
        reason = one_line(reason)
        self.statistics.count(f"{camera} refused")
        self.watches[camera].refused(reason)
        self._node.get_logger().error(f"{camera}: {reason}", throttle_duration_sec=1.0)

    def follow_publishers(self) -> None:
        """Subscribe as the cameras' publishers offer it."""
        for subscription in (*self.inputs, *self._info_inputs, self._distance_input):
            if subscription:
                subscription.follow()

    def clock_jumped(self) -> None:
        """ROS time was set back: frames that wait belong to another time."""
        self.partners.clear()
        self._report_jump()

    def _report_jump(self) -> None:
        self._node.get_logger().warning(
            "time went back (a looping bag, a clock that was set): frames that waited for a "
            "partner are dropped, pairing starts anew",
            throttle_duration_sec=1.0,  # the stamps and /clock tell of the same jump
        )

    @property
    def has_distances(self) -> bool:
        """Whether messages tell the distance of the scene."""
        return self._distance_input is not None

    def distance_fault(self) -> str:
        """Why the distance is not known; empty if it is, or need not be."""
        if self._distance_input is None or self.distances.is_fresh(time.monotonic()):
            return ""
        topic = self._distance_input.topic
        if self.distances.refusal:
            reason = f"the last one is refused: {self.distances.refusal}"
        else:
            reason = self._distance_input.describe_publishers()
        return f"no distance on {topic} for {STALE_S:g} s ({reason}): the fixed one counts"

    def _warn_of_registration(self, text: str) -> None:
        self._node.get_logger().warning(one_line(text), throttle_duration_sec=1.0)

    def faults(self) -> Both[Fault | None]:
        """What is wrong with each camera now."""
        return find_faults(self.watches, time.monotonic())

    def mode(self) -> FusionMode | None:
        """What is published now; None until the first pair, or until a camera is at fault."""
        mode = choose_mode(self.faults().map(severity))
        if mode is FusionMode.FUSED and not self.partners.counts.paired:
            return None
        return mode
