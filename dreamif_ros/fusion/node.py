"""The fusion node: a managed node around a fusion pipeline and, while active, its stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import String

from dreamif_model import FusionPipeline, ThermalConfig
from dreamif_model.device import free_memory, settle_memory, use_cpu_threads
from dreamif_ros.diagnostics import fusion_diagnostics
from dreamif_ros.fusion.camera_infos import CameraInfos
from dreamif_ros.fusion.fuser import Listener
from dreamif_ros.fusion.health import FusionMode
from dreamif_ros.fusion.outputs import Outputs
from dreamif_ros.fusion.stream import FusionStream
from dreamif_ros.node.managed_node import ManagedNode
from dreamif_ros.node.parameters import group
from dreamif_ros.node.runtime import run_nodes
from dreamif_ros.node.transport import QUIET_PUBLISHER
from dreamif_ros.parameter_tables import FUSED_TOPIC, FUSION_PARAMETERS

FOLLOW_PERIOD_S = 0.5
HEALTH_PERIOD_S = 0.1
STALL_S = 0.3  # between two looks at the cameras' health; so long they are given to catch up
SILENCE_PERIOD_S = 3.0  # between two log lines about a silent input
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


class FusionNode(ManagedNode):
    """Subscribes to two cameras, publishes fused images and dominance maps.

    Configured it holds the model, active also the subscriptions and the worker's thread.
    listener: takes every fused image in memory, beside those who subscribe.
    """

    def __init__(self, also_known: Sequence[str] = (), listener: Listener | None = None) -> None:
        super().__init__("fusion_node", FUSION_PARAMETERS, also_known)
        self._listener = listener
        if listener:
            listener.listen_to(self.resolve_topic_name(FUSED_TOPIC))
        self._pipeline: FusionPipeline | None = None
        self._outputs: Outputs | None = None
        self._stream: FusionStream | None = None
        self._mode: FusionMode | None = None
        self._stall = _Stall()
        self._infos = CameraInfos(None)
        self._modes = self.create_publisher(
            String, "fusion_mode", LATCHED, event_callbacks=QUIET_PUBLISHER
        )
        self.every(HEALTH_PERIOD_S, self._watch_health)
        self.every(FOLLOW_PERIOD_S, self._follow_publishers)
        self.every(SILENCE_PERIOD_S, self._report_silence)

    def check(self, values: dict[str, Any]) -> None:
        """Refuse thermal settings that contradict each other."""
        _thermal(values)

    def configure(self) -> None:
        """Load the model and warm it up."""
        values = self._values
        use_cpu_threads(values["cpu_threads"])
        path = values["registration.file"]
        self._infos = CameraInfos(Path(path) if path else None)
        self._pipeline = FusionPipeline(
            variant=values["variant"],
            device=values["device"],
            weights=Path(values["weights"]) if values["weights"] else None,
            thermal=_thermal(values),
            precision=values["precision"],
            registration=self._infos.calibration(),
            dominance_smoothing=values["dominance.smoothing"],
            backend=values["backend"],
        )
        self._pipeline.warm_up()
        self._outputs = Outputs(self)
        settle_memory()
        backend = self._pipeline.engine.backend
        how = f"{backend.precision} by {backend.name}"
        self.get_logger().info(f"fusing with {values['variant']} on {backend.device}, {how}")

    def activate(self) -> None:
        """Subscribe to the cameras."""
        assert self._pipeline
        assert self._outputs
        self._stream = FusionStream(
            self, self._pipeline, self._outputs, self._infos, self._values, self._listener
        )

    def deactivate(self) -> None:
        """Unsubscribe, finish the frame at work; the model stays loaded."""
        stream, self._stream = self._stream, None
        if stream:
            stream.close()
        if self._mode not in (None, FusionMode.NONE) and self.context.ok():
            self._modes.publish(String(data=FusionMode.NONE.value))
        self._mode = None

    def release(self) -> None:
        """Let go of the model."""
        if self._outputs:
            self._outputs.destroy()
        self._pipeline = self._outputs = None
        free_memory()

    def apply(self, values: dict[str, Any]) -> None:
        """Take the live parameters."""
        assert self._pipeline
        self._pipeline.normalizer.config = _thermal(values)
        self._pipeline.dominance_smoothing = values["dominance.smoothing"]
        if self._stream:
            self._stream.apply(values)

    def clock_jumped(self) -> None:
        """What waits for a partner belongs to another time."""
        if self._stream:
            self._stream.clock_jumped()

    def describe(self) -> DiagnosticArray:
        """One status of the node, one of each camera."""
        return fusion_diagnostics(
            self.get_fully_qualified_name(),
            self.get_clock().now().to_msg(),
            self.state,
            self._pipeline,
            self._stream,
            self._mode,
        )

    # -- Timers.

    def _follow_publishers(self) -> None:
        if self._stream:
            self._stream.follow_publishers()

    def _watch_health(self) -> None:
        if self._stall.lasts(time.monotonic()) or not self._stream:
            return
        self._stream.use_lone_frames()
        mode = self._stream.mode()
        if mode is None or mode is self._mode:
            return
        faults = [f"{name} is {f.kind}: {f.text}" for name, f in self._stream.faults().items() if f]
        text = "; ".join([f"fusion mode {mode.value}", *faults])
        if mode is FusionMode.FUSED:  # rclpy refuses two severities from one line of code
            self.get_logger().info(text)
        else:
            self.get_logger().warning(text)
        self._mode = mode
        self._modes.publish(String(data=mode.value))

    def _report_silence(self) -> None:
        now_s = time.monotonic()
        if not self._stream or self._stall.may_last(now_s):
            return
        faults = self._stream.faults()
        for name, watch in self._stream.watches.items():
            fault = faults[name]
            silent = fault is not None and fault.kind == "silent"
            if silent or watch.unheard_s(now_s) > SILENCE_PERIOD_S:  # whatever health.timeout_s is
                subscription = self._stream.inputs[name]
                self.get_logger().warning(
                    f"no {name} image on {subscription.topic}: {subscription.describe_silence()}"
                )


class _Stall:
    """Whether the process was held up: what the cameras sent meanwhile is yet to be taken."""

    def __init__(self) -> None:
        self._looked_s = time.monotonic()
        self._until_s = 0.0
        self._noticed = False

    def lasts(self, now_s: float) -> bool:
        """Called at every look. Never for long, or a busy machine would never judge cameras."""
        gap_s, self._looked_s = now_s - self._looked_s, now_s
        if now_s < self._until_s:
            return True
        self._noticed = not self._noticed and gap_s > STALL_S
        if self._noticed:
            self._until_s = now_s + STALL_S
        return self._noticed

    def may_last(self, now_s: float) -> bool:
        """Also before the next look, which it may have held up as well."""
        return now_s < self._until_s or now_s - self._looked_s > STALL_S


def _thermal(values: dict[str, Any]) -> ThermalConfig:
    return ThermalConfig(**group(values, "thermal"))


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run dreamif_ros fusion_node``."""
    return run_nodes([FusionNode], args)


if __name__ == "__main__":
    sys.exit(main())
