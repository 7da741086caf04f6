"""The way of a frame through an active node: callbacks store, one worker fuses and publishes.

::

    camera ── Frame ── PairSynchronizer ── Moment ── worker: decode ── fuse ── Outputs
                 └──── the other camera is silent ────┘
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from dreamif_model import DreamIFError, FusionPipeline, FusionResult, ImageError
from dreamif_model.blank import is_blank
from dreamif_ros import codec
from dreamif_ros.health import (
    CameraWatch,
    Fault,
    FusionMode,
    HealthConfig,
    Severity,
    choose_mode,
    find_faults,
    severity,
)
from dreamif_ros.outputs import Outputs
from dreamif_ros.pairing import Pair, Synchronizer
from dreamif_ros.parameters import group
from dreamif_ros.statistics import Statistics
from dreamif_ros.synchronizers import make_synchronizer
from dreamif_ros.transport import subscribe_images
from dreamif_ros.worker import NewestWorker

CAMERAS = ("infrared", "visible")
PARTNERLESS = ("silent", "stale")  # faults of a camera that pairs cannot be expected with
RECORDED_S = 60.0  # stamps older than this are a recording's: their age is no latency
SCORE_PERIOD_S = 1.0  # between two frames whose alignment is judged
NANOSECONDS = 1_000_000_000
Images = dict[str, NDArray[Any]]
_DECODE: dict[str, Callable[[codec.ImageMessage], NDArray[Any]]] = {
    "infrared": codec.decode_infrared,
    "visible": codec.decode_visible,
}


@dataclass
class Frame:
    """One message of a camera."""

    message: codec.ImageMessage
    stamp_ns: int  # on the clock that both cameras share: its offset is added
    arrived_s: float  # of time.monotonic()
    used_alone: bool = False  # published without a partner: none is wanted any more


@dataclass(frozen=True)
class Moment:
    """What is fused: a pair, or one camera's frame while the other has none."""

    infrared: Frame | None = None
    visible: Frame | None = None

    def frames(self) -> dict[str, Frame]:
        """Those there are, by camera."""
        both = {"infrared": self.infrared, "visible": self.visible}
        return {name: frame for name, frame in both.items() if frame}


@dataclass
class _VisibleCamera:
    """What is known of it while it is silent: infrared alone is published in its place."""

    info: CameraInfo | None = None
    shape: tuple[int, int] | None = None
    frame_id: str = ""


class FusionStream:
    """Everything that an active fusion node owns; :meth:`close` ends it.

    values: those of FUSION_PARAMETERS. clock_offset_s: to add to infrared stamps, as calibrated.
    Methods and callbacks belong to the node's executor; only :meth:`_process` and what it calls
    run in the worker's thread.
    """

    def __init__(
        self,
        node: LifecycleNode,
        pipeline: FusionPipeline,
        outputs: Outputs,
        values: dict[str, Any],
        clock_offset_s: float = 0.0,
    ) -> None:
        self._node, self._pipeline, self._outputs = node, pipeline, outputs
        self._clock_offset_s = clock_offset_s
        self.statistics = Statistics()
        self.synchronizer: Synchronizer[Frame, Frame] = make_synchronizer(
            values["sync.policy"], values["sync.slop_s"], values["sync.queue_size"]
        )
        self.watches = {name: CameraWatch(time.monotonic()) for name in CAMERAS}
        self._lone: dict[str, Frame] = {}  # newest frame of a camera that has no partner
        self._jumps = 0
        self._scored_s = 0.0
        self._visible = _VisibleCamera()
        self.alignment: float | None = None  # of the edges in [-1, 1], as last judged
        self.apply(values)
        self._worker = NewestWorker(self._process)
        self.inputs = {
            camera: subscribe_images(
                node,
                f"{camera}/image_raw",
                values["image_transport"],
                partial(self._on_image, camera),
            )
            for camera in CAMERAS
        }
        self._camera_info = node.create_subscription(
            CameraInfo, "visible/camera_info", self._on_camera_info, qos_profile_sensor_data
        )

    def apply(self, values: dict[str, Any]) -> None:
        """Take the values of the parameters that are live."""
        self._values = values
        self.synchronizer.slop_s = values["sync.slop_s"]
        self.synchronizer.queue_size = values["sync.queue_size"]
        infrared_s = values["sync.infrared_offset_s"] + self._clock_offset_s
        self._offsets_ns = {
            "infrared": round(infrared_s * NANOSECONDS),
            "visible": round(values["sync.visible_offset_s"] * NANOSECONDS),
        }
        for watch in self.watches.values():
            watch.config = HealthConfig(**group(values, "health"))

    def close(self) -> None:
        """Unsubscribe, finish the frame at work, and end the worker's thread."""
        for subscription in self.inputs.values():
            subscription.destroy()
        self._node.destroy_subscription(self._camera_info)
        self._worker.stop()

    def follow_publishers(self) -> None:
        """Subscribe as the cameras publish now."""
        for subscription in self.inputs.values():
            subscription.follow()

    def use_lone_frames(self) -> None:
        """Publish alone what has waited for a partner in vain; call it every tenth of a second."""
        before_s = time.monotonic() - self._values["sync.slop_s"]
        for camera in [name for name, f in self._lone.items() if f.arrived_s < before_s]:
            self._use_alone(camera)

    def clock_jumped(self) -> None:
        """ROS time was set back: what waits belongs to another time."""
        self.synchronizer.clear()

    def faults(self) -> dict[str, Fault | None]:
        """What is wrong with each camera now."""
        infrared, visible = find_faults(
            self.watches["infrared"], self.watches["visible"], time.monotonic()
        )
        return {"infrared": infrared, "visible": visible}

    def mode(self) -> FusionMode | None:
        """What is published now; None while no camera has had time to show itself."""
        infrared, visible = map(severity, self.faults().values())
        mode = choose_mode(infrared, visible)
        if mode is FusionMode.FUSED and not self.synchronizer.counts.paired:
            return None
        return mode

    # -- In the executor's thread: store, pair, hand on.

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._visible.info = message

    def _on_image(self, camera: str, message: codec.ImageMessage) -> None:
        now_s = time.monotonic()
        stamp_ns = codec.stamp_ns(message)
        self.statistics.count(camera)
        if not stamp_ns:  # a driver that sets no stamp: when it came must do
            self.statistics.count(f"{camera} unstamped")
            stamp_ns = self._node.get_clock().now().nanoseconds
        self.watches[camera].received(now_s, stamp_ns, message.data)
        self._use_alone(camera)  # its frame before has no partner by now
        frame = Frame(message, stamp_ns + self._offsets_ns[camera], now_s)
        if camera == "infrared":
            pairs = self.synchronizer.add_infrared(frame.stamp_ns, frame)
        else:
            pairs = self.synchronizer.add_visible(frame.stamp_ns, frame)
        for pair in pairs:
            self._offer_pair(pair)
        if not pairs and self._is_alone(camera):
            self._lone[camera] = frame
        self._report_jump()

    def _offer_pair(self, pair: Pair[Frame, Frame]) -> None:
        self.statistics.count("pairs")
        skew_s = pair.skew_ns / NANOSECONDS
        self.statistics.add_latencies({"skew": abs(skew_s), "infrared_offset": skew_s})
        frames = {"infrared": pair.infrared, "visible": pair.visible}
        for camera, frame in frames.items():
            self.watches[camera].paired(frame.arrived_s)
            if self._lone.get(camera) is frame:
                del self._lone[camera]
        if any(frame.used_alone for frame in frames.values()):
            self.statistics.count("superseded")  # one of them was published already
        else:
            self._offer(Moment(**frames))

    def _is_alone(self, camera: str) -> bool:
        """Whether the other camera cannot be expected to bring a partner."""
        faults = self.faults()
        own, other = faults.pop(camera), *faults.values()
        return _has_no_partner(other) and not _has_no_partner(own)

    def _use_alone(self, camera: str) -> None:
        frame = self._lone.pop(camera, None)
        if frame:
            self.statistics.count("alone")
            frame.used_alone = True
            self._offer(Moment(**{camera: frame}))

    def _offer(self, moment: Moment) -> None:
        if self._worker.offer(moment):
            self.statistics.count("superseded")

    def _report_jump(self) -> None:
        jumps = self.synchronizer.counts.jumps
        if jumps != self._jumps:
            self._jumps = jumps
            self._node.get_logger().warning(
                "the stamps went back in time (a looping bag, a clock that was set): what waited "
                "for a partner is dropped, pairing starts anew"
            )

    # -- In the worker's thread: decode, fuse, publish.

    def _process(self, moment: Moment) -> None:
        """Fuse one moment; what cannot be fused is named and counted."""
        try:
            self._fuse(moment)
        except DreamIFError as error:
            self.statistics.count("refused")
            self._node.get_logger().error(str(error), throttle_duration_sec=1.0)
        except Exception as error:  # the worker must outlive what nobody thought of
            if not self._node.context.ok():
                return  # the node is being shut down
            self.statistics.count("failed")
            self._node.get_logger().error(f"fusion failed: {error!r}", throttle_duration_sec=1.0)

    def _fuse(self, moment: Moment) -> None:
        started = time.perf_counter()
        waited_s = time.monotonic() - max(frame.arrived_s for frame in moment.frames().values())
        images = self._decode(moment)
        decoded = time.perf_counter()
        if not self._outputs.wanted():
            self.statistics.count("unwatched")
            self._accept(images)
            return
        result = self._result(images)
        if result is None:  # no image is left; why was said of each camera
            self.statistics.count("refused")
            return
        header = self._header(moment)
        seconds = self._outputs.publish(
            result, header, self._visible.info, self._values["jpeg_quality"]
        )
        self.statistics.count("published")
        self.statistics.add_latencies(
            {"wait": waited_s, "decode": decoded - started, **result.timings, **seconds}
        )
        if result.alignment is not None:
            self.alignment = result.alignment
        self._record_age(header.stamp)

    def _decode(self, moment: Moment) -> Images:
        """The images of those messages that hold one."""
        images = {}
        for camera, frame in moment.frames().items():
            try:
                image = _DECODE[camera](frame.message)
                self._check_size(image.shape)
            except ImageError as error:
                self._refuse(camera, str(error))
                continue
            self.watches[camera].seen(time.monotonic(), is_blank(image))
            images[camera] = image
        if "visible" in images and moment.visible:
            self._visible.shape = images["visible"].shape[:2]
            self._visible.frame_id = moment.visible.message.header.frame_id
        return images

    def _check_size(self, shape: tuple[int, ...]) -> None:
        limit = self._values["max_megapixels"]
        if shape[0] * shape[1] > limit * 1e6:
            raise ImageError(
                f"{shape[1]}x{shape[0]} is above max_megapixels ({limit:g} Mpx): publish smaller "
                "images, or raise that parameter"
            )

    def _refuse(self, camera: str, reason: str) -> None:
        self.statistics.count(f"{camera} refused")
        self.watches[camera].refused(reason)
        self._node.get_logger().error(f"{camera}: {reason}", throttle_duration_sec=1.0)

    def _result(self, images: Images) -> FusionResult | None:
        """Of what there is, the better; None where there is nothing."""
        mode = choose_mode(*(self._severity(camera, images) for camera in CAMERAS))
        if mode is FusionMode.FUSED:
            return self._fused(images)
        self._accept(images)
        if mode is FusionMode.VISIBLE_ONLY:
            return self._pipeline.visible_alone(images["visible"])
        if mode is FusionMode.INFRARED_ONLY:
            return self._pipeline.infrared_alone(images["infrared"], self._visible.shape)
        return None

    def _accept(self, images: Images) -> None:
        for camera in images:
            self.watches[camera].accepted()

    def _severity(self, camera: str, images: Images) -> Severity:
        if camera not in images:
            return Severity.UNUSABLE
        return severity(self.watches[camera].doubt(time.monotonic()))

    def _fused(self, images: Images) -> FusionResult:
        """Both, or the visible image where they do not fit each other."""
        score = time.monotonic() - self._scored_s >= SCORE_PERIOD_S
        try:
            result = self._pipeline.fuse(**images, score_alignment=score)
        except ImageError as error:
            self._refuse("infrared", str(error))
            return self._pipeline.visible_alone(images["visible"])
        self._accept(images)
        if score:
            self._scored_s = time.monotonic()
        return result

    def _header(self, moment: Moment) -> Header:
        """The visible message's; without one, infrared's on the visible camera's clock."""
        if moment.visible:
            header: Header = moment.visible.message.header
            return header
        assert moment.infrared  # a moment is of one camera at least
        own = moment.infrared.message.header.frame_id
        header = Header(frame_id=self._visible.frame_id or own)
        stamp_ns = moment.infrared.stamp_ns - self._offsets_ns["visible"]
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, NANOSECONDS)
        return header

    def _record_age(self, stamp: Time) -> None:
        stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
        age_s = (self._node.get_clock().now().nanoseconds - stamp_ns) / NANOSECONDS
        if 0 <= age_s < RECORDED_S:
            self.statistics.add_latencies({"stamp_to_publish": age_s})


def _has_no_partner(fault: Fault | None) -> bool:
    return fault is not None and fault.kind in PARTNERLESS
