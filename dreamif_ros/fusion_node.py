"""The fusion node: wiring between topics, the pair synchronizer and the fusion pipeline.

Callbacks only store. One worker thread decodes, fuses and publishes the newest pair.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from dreamif_model import DreamIFError, FusionPipeline, FusionResult, ThermalConfig
from dreamif_model.device import use_cpu_threads
from dreamif_model.overlay import dominance_overlay
from dreamif_ros import codec
from dreamif_ros.diagnostics import diagnostic_array, fusion_values, fusion_warnings
from dreamif_ros.pairing import Pair, PairSynchronizer
from dreamif_ros.parameters import FUSION_PARAMETERS, declare, group
from dreamif_ros.runtime import run_node
from dreamif_ros.statistics import Statistics
from dreamif_ros.transport import FollowingSubscription
from dreamif_ros.worker import NewestWorker

FOLLOW_PERIOD_S = 0.5
SILENCE_S = 3.0  # without a message an input counts as silent
RECORDED_S = 60.0  # stamps older than this are a recording's: their age is no latency
OUTPUT_QOS = QoSProfile(depth=5)  # reliable: matches every subscriber


@dataclass(frozen=True)
class _Outputs:
    """The publishers; each is served only while somebody subscribes."""

    fused: Publisher[Image]
    camera_info: Publisher[CameraInfo]
    infrared: Publisher[Image]
    visible: Publisher[Image]
    overlay: Publisher[Image]

    def wanted(self) -> bool:
        images = (self.fused, self.infrared, self.visible, self.overlay)
        return any(publisher.get_subscription_count() for publisher in images)


class FusionNode(Node):
    """Subscribes to two cameras, publishes fused images and dominance maps."""

    def __init__(self) -> None:
        super().__init__("fusion_node", automatically_declare_parameters_from_overrides=True)
        values = declare(self, FUSION_PARAMETERS)
        use_cpu_threads(values["cpu_threads"])
        self._pipeline = FusionPipeline(
            variant=values["variant"],
            device=values["device"],
            weights=Path(values["weights"]) if values["weights"] else None,
            thermal=ThermalConfig(**group(values, "thermal")),
            precision=values["precision"],
        )
        self._synchronizer = PairSynchronizer[Image, Image](**group(values, "sync"))
        self._statistics = Statistics()
        self._camera_info: CameraInfo | None = None
        self._outputs = self._advertise()
        self._worker = NewestWorker(self._process)
        self._inputs = self._subscribe()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", OUTPUT_QOS)
        self.create_timer(FOLLOW_PERIOD_S, self._follow_publishers)
        self.create_timer(1.0, self._publish_diagnostics)
        self.create_timer(SILENCE_S, self._report_silence)
        engine = self._pipeline.engine
        self.get_logger().info(f"fusing with {engine.variant} on {engine.device}")

    def stop(self) -> None:
        """Finish the frame at work and end the worker thread."""
        self._worker.stop()

    def _advertise(self) -> _Outputs:
        return _Outputs(
            fused=self.create_publisher(Image, "fused/image_raw", OUTPUT_QOS),
            camera_info=self.create_publisher(CameraInfo, "fused/camera_info", OUTPUT_QOS),
            infrared=self.create_publisher(Image, "dominance/infrared", OUTPUT_QOS),
            visible=self.create_publisher(Image, "dominance/visible", OUTPUT_QOS),
            overlay=self.create_publisher(Image, "dominance/overlay", OUTPUT_QOS),
        )

    def _subscribe(self) -> dict[str, FollowingSubscription]:
        self.create_subscription(
            CameraInfo, "visible/camera_info", self._on_camera_info, qos_profile_sensor_data
        )
        return {
            "infrared": FollowingSubscription(self, Image, "infrared/image_raw", self._on_infrared),
            "visible": FollowingSubscription(self, Image, "visible/image_raw", self._on_visible),
        }

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera_info = message

    def _on_infrared(self, message: Image) -> None:
        self._statistics.count("infrared")
        self._offer(self._synchronizer.add_infrared(codec.stamp_ns(message), message))

    def _on_visible(self, message: Image) -> None:
        self._statistics.count("visible")
        self._offer(self._synchronizer.add_visible(codec.stamp_ns(message), message))

    def _offer(self, pairs: list[Pair[Image, Image]]) -> None:
        for pair in pairs:
            self._statistics.count("pairs")
            if self._worker.offer(pair):
                self._statistics.count("superseded")

    def _process(self, pair: Pair[Image, Image]) -> None:
        """One pair in the worker thread; a pair that cannot be fused is named and counted."""
        try:
            if self._outputs.wanted():
                self._fuse(pair)
            else:
                self._statistics.count("unwatched")
        except DreamIFError as error:
            self._statistics.count("refused")
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
        except Exception as error:  # the worker must outlive what nobody thought of
            if not self.context.ok():
                return  # the node is being shut down
            self._statistics.count("failed")
            self.get_logger().error(f"fusion failed: {error!r}", throttle_duration_sec=1.0)

    def _fuse(self, pair: Pair[Image, Image]) -> None:
        started = time.perf_counter()
        visible = codec.decode_visible(pair.visible)
        infrared = codec.decode_infrared(pair.infrared)
        decoded = time.perf_counter()
        result = self._pipeline.fuse(visible=visible, infrared=infrared)
        fused = time.perf_counter()
        self._publish(result, pair.visible.header)
        self._statistics.count("published")
        age_s = (self.get_clock().now().nanoseconds - codec.stamp_ns(pair.visible)) / 1e9
        self._statistics.add_latencies(
            {
                "decode": decoded - started,
                **result.timings,
                "publish": time.perf_counter() - fused,
                "skew": abs(pair.skew_ns) / 1e9,
            }
        )
        if 0 <= age_s < RECORDED_S:
            self._statistics.add_latencies({"stamp_to_publish": age_s})

    def _publish(self, result: FusionResult, header: Any) -> None:
        """Encode and publish what somebody subscribes to, under the visible image's header."""
        outputs = self._outputs
        _send(outputs.fused, lambda: codec.encode(result.fused, "rgb8", header))
        _send(outputs.infrared, lambda: codec.encode(result.dominance_infrared, "32FC1", header))
        _send(outputs.visible, lambda: codec.encode(result.dominance_visible, "32FC1", header))
        _send(outputs.overlay, lambda: codec.encode(_overlay(result), "bgr8", header))
        info = self._camera_info  # the other thread may replace it
        if info is not None:
            info.header = header
            outputs.camera_info.publish(info)

    def _follow_publishers(self) -> None:
        for subscription in self._inputs.values():
            subscription.follow()

    def _silent_inputs(self) -> list[str]:
        ages = {name: self._statistics.seconds_since(name) for name in self._inputs}
        return [name for name, age in ages.items() if age is None or age > SILENCE_S]

    def _report_silence(self) -> None:
        for name in self._silent_inputs():
            subscription = self._inputs[name]
            self.get_logger().warning(
                f"no {name} image on {subscription.topic} for {SILENCE_S:.0f} s or more: "
                f"{subscription.describe_publishers()}"
            )

    def _publish_diagnostics(self) -> None:
        engine = self._pipeline.engine
        values = {"variant": engine.variant, "device": str(engine.device)}
        values |= fusion_values(self._statistics, self._synchronizer.counts)
        warnings = [f"{name} is silent" for name in self._silent_inputs()]
        warnings += fusion_warnings(self._statistics) if not warnings else []
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        self._diagnostics.publish(diagnostic_array(name, stamp, warnings, values))


def _send(publisher: Publisher[Image], make: Callable[[], Image]) -> None:
    """Publish what ``make`` returns, made only when somebody subscribes."""
    if publisher.get_subscription_count():
        publisher.publish(make())


def _overlay(result: FusionResult) -> Any:
    return dominance_overlay(result.fused, result.dominance_infrared, result.dominance_visible)


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run dreamif_ros fusion_node``."""
    return run_node(FusionNode, args)


if __name__ == "__main__":
    sys.exit(main())
