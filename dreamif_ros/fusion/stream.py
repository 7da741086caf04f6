"""The way of a frame into an active node: callbacks store and pair, one worker does the rest.

::

    camera ── Frame ── Synchronizer ── Moment ── NewestWorker ── Fuser ── Outputs
                 └─ the other camera is silent ─┘
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from dreamif_model import ConfigError, FusionPipeline
from dreamif_ros.fusion.camera_infos import CameraInfos
from dreamif_ros.fusion.fuser import CAMERAS, Frame, Fuser, Listener, Moment
from dreamif_ros.fusion.health import (
    Fault,
    FusionMode,
    HealthConfig,
    choose_mode,
    find_faults,
    severity,
)
from dreamif_ros.fusion.outputs import Outputs
from dreamif_ros.fusion.synchronizers import make_synchronizer
from dreamif_ros.images import codec
from dreamif_ros.node.accounting import NANOSECONDS
from dreamif_ros.node.parameters import group
from dreamif_ros.node.transport import (
    QUIET_SUBSCRIPTION,
    FollowingSubscription,
    subscribe_images,
)
from dreamif_ros.node.worker import NewestWorker
from dreamif_ros.pairing import Pair, Synchronizer

PARTNERLESS = ("silent", "stale")  # faults of a camera that pairs cannot be expected with


class FusionStream:
    """Everything that an active fusion node owns; :meth:`close` ends it.

    infos: of the registration, if any. values: those of FUSION_PARAMETERS. listener: takes fused
    images in memory. All of it runs in the node's executor; only the fuser works in the worker's
    thread.
    """

    def __init__(
        self,
        node: LifecycleNode,
        pipeline: FusionPipeline,
        outputs: Outputs,
        infos: CameraInfos,
        values: dict[str, Any],
        listener: Listener | None = None,
    ) -> None:
        self._node, self._pipeline, self._infos = node, pipeline, infos
        self.fuser = Fuser(node, pipeline, outputs, infos, values, listener)
        self.statistics, self.watches = self.fuser.statistics, self.fuser.watches
        self.synchronizer: Synchronizer[Frame, Frame] = make_synchronizer(
            values["sync.policy"], values["sync.slop_s"], values["sync.queue_size"]
        )
        self._lone: dict[str, Frame] = {}  # newest frame of a camera that has no partner
        self._jumps = 0
        self.apply(values)
        self._worker = NewestWorker(self.fuser.process, "fusion-worker")
        self.inputs: dict[str, FollowingSubscription] = {}
        self._info_subscriptions: list[Subscription[Any]] = []
        try:
            self._subscribe()
        except Exception:
            self.close()
            raise

    def _subscribe(self) -> None:
        for camera in CAMERAS:
            self.inputs[camera] = subscribe_images(
                self._node,
                f"{camera}/image_raw",
                self.fuser.values["image_transport"],
                partial(self._on_image, camera),
            )
        for camera in {"visible", *self._infos.missing}:
            self._info_subscriptions.append(
                self._node.create_subscription(
                    CameraInfo,
                    f"{camera}/camera_info",
                    partial(self._on_camera_info, camera),
                    qos_profile_sensor_data,
                    event_callbacks=QUIET_SUBSCRIPTION,
                )
            )

    def apply(self, values: dict[str, Any]) -> None:
        """Take the values of the parameters that are live."""
        self.fuser.values = values
        self.synchronizer.slop_s = values["sync.slop_s"]
        self.synchronizer.queue_size = values["sync.queue_size"]
        infrared_s = values["sync.infrared_offset_s"] + self._infos.clock_offset_s
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
        for info_subscription in self._info_subscriptions:
            self._node.destroy_subscription(info_subscription)
        self._worker.stop()

    def follow_publishers(self) -> None:
        """Subscribe as the cameras publish now."""
        for subscription in self.inputs.values():
            subscription.follow()

    def use_lone_frames(self) -> None:
        """Publish alone what has waited for a partner in vain; call it every tenth of a second."""
        before_s = time.monotonic() - self.synchronizer.slop_s
        for camera in [name for name, f in self._lone.items() if f.arrived_s < before_s]:
            self._use_alone(camera)

    def clock_jumped(self) -> None:
        """ROS time was set back: what waits belongs to another time."""
        self.synchronizer.clear()
        self._say_jump()

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

    def _on_camera_info(self, camera: str, message: CameraInfo) -> None:
        if camera == "visible":
            self.fuser.visible.info = message
        try:
            calibration = self._infos.take(camera, message)
            if calibration:
                self._infos.use(calibration, self._pipeline.register)
        except ConfigError as error:
            self.fuser.refuse("infrared", str(error))

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
            self._say_jump()

    def _say_jump(self) -> None:
        self._node.get_logger().warning(
            "time went back (a looping bag, a clock that was set): what waited for a partner is "
            "dropped, pairing starts anew",
            throttle_duration_sec=1.0,  # the stamps and /clock tell of the same jump
        )


def _has_no_partner(fault: Fault | None) -> bool:
    return fault is not None and fault.kind in PARTNERLESS
