"""The fusion node: a managed node around a fusion pipeline and, while active, its stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import String

from dreamif_model import FusionPipeline
from dreamif_model.device import free_memory, settle_memory, use_cpu_threads
from dreamif_ros.fusion.camera_health import FusionMode
from dreamif_ros.fusion.camera_infos import CameraInfos
from dreamif_ros.fusion.diagnostics import fusion_diagnostics
from dreamif_ros.fusion.fusion_outputs import DETECTION_TOPIC, TOPIC, FusionOutputs, Listener
from dreamif_ros.fusion.fusion_stream import FusionStream
from dreamif_ros.fusion.parameters import FusionSettings
from dreamif_ros.node.managed_node import ManagedNode
from dreamif_ros.node.runtime import run_nodes
from dreamif_ros.node.transport import QUIET_PUBLISHER

FOLLOW_PERIOD_S = 0.5
HEALTH_PERIOD_S = 0.1
STALL_S = 0.3  # a longer time between two looks at the cameras' health is a stall
SILENCE_PERIOD_S = 3.0  # between two log lines about a silent input
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


class FusionNode(ManagedNode[FusionSettings]):
    """Subscribes to two cameras, publishes fused images and dominance maps.

    While configured it holds the model, while active also the subscriptions and the worker's
    thread. listener: Takes every fused image in memory, in addition to subscribers.
    """

    def __init__(self, also_known: Sequence[str] = (), listener: Listener | None = None) -> None:
        super().__init__("fusion_node", FusionSettings, also_known)
        self._listener = listener
        if listener:
            topics = (TOPIC, DETECTION_TOPIC)
            listener.listen_to({self.resolve_topic_name(topic): topic for topic in topics})
        self._pipeline: FusionPipeline | None = None
        self._outputs: FusionOutputs | None = None
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

    def configure(self) -> None:
        """Load the model and warm it up."""
        settings = self.settings
        use_cpu_threads(settings.cpu_threads)
        path = settings.registration.file
        self._infos = CameraInfos(Path(path) if path else None)
        if settings.registration.needs_distances:
            self._infos.check_distances()
        self._pipeline = FusionPipeline(
            variant=settings.variant,
            device=settings.device,
            weights=Path(settings.weights) if settings.weights else None,
            thermal=settings.thermal,
            precision=settings.precision,
            registration=self._infos.calibration(),
            dominance_smoothing=settings.dominance.smoothing,
            backend=settings.backend,
        )
        self._pipeline.warm_up()
        self._outputs = FusionOutputs(self)
        settle_memory()
        backend = self._pipeline.engine.backend
        how = f"{backend.precision} by {backend.name}"
        self.get_logger().info(f"fusing with {settings.variant} on {backend.device}, {how}")

    def activate(self) -> None:
        """Subscribe to the cameras."""
        assert self._pipeline
        assert self._outputs
        self._stream = FusionStream(
            self, self._pipeline, self._outputs, self._infos, self.settings, self._listener
        )

    def deactivate(self) -> None:
        """Unsubscribe and finish the frame at work; the model stays loaded."""
        stream, self._stream = self._stream, None
        if stream:
            stream.close()
        if self._mode not in (None, FusionMode.NONE) and self.context.ok():
            self._modes.publish(String(data=FusionMode.NONE.value))
        self._mode = None

    def release(self) -> None:
        """Free the model."""
        if self._outputs:
            self._outputs.destroy()
        self._pipeline = self._outputs = None
        free_memory()

    def apply(self, settings: FusionSettings) -> None:
        """Take the settings that are live."""
        assert self._pipeline
        if settings.registration.needs_distances:
            self._infos.check_distances()
        self._pipeline.normalizer.config = settings.thermal
        self._pipeline.dominance_smoothing = settings.dominance.smoothing
        if self._stream:
            self._stream.apply(settings)

    def clock_jumped(self) -> None:
        """Drop what waits for a partner: it belongs to another time."""
        if self._stream:
            self._stream.clock_jumped()

    def describe(self) -> list[DiagnosticStatus]:
        """One status of the node, one of each camera."""
        name = self.get_fully_qualified_name()
        return fusion_diagnostics(name, self.state, self._pipeline, self._stream, self._mode)

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
        faults = [f"{c} is {f.kind}: {f.text}" for c, f in self._stream.faults().items() if f]
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
        if unknown := self._stream.distance_fault():
            self.get_logger().warning(unknown)
        faults = self._stream.faults()
        for camera, watch in self._stream.watches.items():
            fault = faults[camera]
            silent = fault is not None and fault.kind == "silent"
            if silent or watch.unheard_s(now_s) > SILENCE_PERIOD_S:  # whatever health.timeout_s is
                subscription = self._stream.inputs[camera]
                self.get_logger().warning(
                    f"no {camera} image on {subscription.topic}: {subscription.describe_silence()}"
                )


class _Stall:
    """Whether this process stood still: messages that came meanwhile are not yet taken.

    While a stall lasts no camera is blamed.
    """

    def __init__(self) -> None:
        self._looked_s = time.monotonic()
        self._until_s = 0.0
        self._noticed = False

    def lasts(self, now_s: float) -> bool:
        """Call it at every look. No stall lasts for long: a busy machine judges cameras, too."""
        gap_s, self._looked_s = now_s - self._looked_s, now_s
        if now_s < self._until_s:
            return True
        self._noticed = not self._noticed and gap_s > STALL_S
        if self._noticed:
            self._until_s = now_s + STALL_S
        return self._noticed

    def may_last(self, now_s: float) -> bool:
        """The same between two looks, the next of which may be late as well."""
        return now_s < self._until_s or now_s - self._looked_s > STALL_S


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run dreamif_ros fusion_node``."""
    return run_nodes([FusionNode], args)


if __name__ == "__main__":
    sys.exit(main())
