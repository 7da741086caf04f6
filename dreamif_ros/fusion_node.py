"""The fusion node: a managed node around a fusion pipeline and, while active, its stream."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import (  # type: ignore[attr-defined]  # Humble has no rclpy.clock_type
    Clock,
    ClockType,
    JumpThreshold,
    TimeJump,
)
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import String

from dreamif_model import DreamIFError, FusionPipeline, ThermalConfig
from dreamif_model.device import free_memory, settle_memory, use_cpu_threads
from dreamif_ros.diagnostics import fusion_diagnostics
from dreamif_ros.fusion.camera_infos import CameraInfos
from dreamif_ros.fusion.health import FusionMode
from dreamif_ros.fusion.outputs import QOS, Outputs
from dreamif_ros.fusion.stream import FusionStream
from dreamif_ros.node.parameters import changed, declare, group
from dreamif_ros.node.runtime import RefusedError, run_node
from dreamif_ros.node.transport import QUIET_PUBLISHER
from dreamif_ros.parameter_tables import FUSION_PARAMETERS

FOLLOW_PERIOD_S = 0.5
HEALTH_PERIOD_S = 0.1
STALL_S = 0.3  # between two looks at the cameras' health, of which the second tells nothing
REPORT_PERIOD_S = 1.0
SILENCE_PERIOD_S = 3.0  # between two log lines about a silent input
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class FusionNode(LifecycleNode):
    """Subscribes to two cameras, publishes fused images and dominance maps.

    Configured it holds the model, active also the subscriptions and the worker's thread.
    """

    def __init__(self) -> None:
        super().__init__("fusion_node", automatically_declare_parameters_from_overrides=True)
        self._values = declare(self, FUSION_PARAMETERS)
        self._thermal()  # settings that contradict each other are refused at once
        self._pipeline: FusionPipeline | None = None
        self._outputs: Outputs | None = None
        self._stream: FusionStream | None = None
        self._mode: FusionMode | None = None
        self._watched_s, self._stalled = time.monotonic(), False
        self._infos = CameraInfos(None)
        quiet = QUIET_PUBLISHER
        self._modes = self.create_publisher(String, "fusion_mode", LATCHED, event_callbacks=quiet)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QOS, event_callbacks=quiet
        )
        self.add_on_set_parameters_callback(self._check_parameters)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
            ),
            post_callback=self._on_clock_jump,
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # ROS time stands still with its bag
        for period_s, callback in (
            (HEALTH_PERIOD_S, self._watch_health),
            (FOLLOW_PERIOD_S, self._follow_publishers),
            (REPORT_PERIOD_S, self._publish_diagnostics),
            (SILENCE_PERIOD_S, self._report_silence),
        ):
            self.create_timer(period_s, callback, clock=steady)

    def start(self) -> None:
        """Configure and activate, as ``autostart`` asks; RefusedError where that fails."""
        if not self._values["autostart"]:
            self.get_logger().info("autostart is false: waiting to be configured")
        elif self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
            raise RefusedError

    def stop(self) -> None:
        """Finish the frame at work and end the worker thread."""
        if self._stream:
            self._stream.close()
            self._stream = None

    # -- Transitions. An exception out of one would be swallowed: each says itself what failed.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and warm it up; refused with the reason where that fails."""
        try:
            self._configure()
        except DreamIFError as error:
            self.get_logger().error(f"cannot configure: {error}")
            self._release()
            return FAILURE
        except Exception as error:
            return self._fail("configure", error)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras."""
        assert self._pipeline
        assert self._outputs
        try:
            self._stream = FusionStream(
                self, self._pipeline, self._outputs, self._infos, self._values
            )
        except DreamIFError as error:
            self.get_logger().error(f"cannot activate: {error}")
            return FAILURE
        except Exception as error:
            return self._fail("activate", error)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the model stays loaded."""
        self.stop()
        self._mode = None
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model, and of its memory on the GPU."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As from any state to the end."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything: the node can be configured again."""
        self._release()
        return super().on_error(state)

    def _configure(self) -> None:
        values = self._values
        use_cpu_threads(values["cpu_threads"])
        path = values["registration.file"]
        self._infos = CameraInfos(Path(path) if path else None)
        self._pipeline = FusionPipeline(
            variant=values["variant"],
            device=values["device"],
            weights=Path(values["weights"]) if values["weights"] else None,
            thermal=self._thermal(),
            precision=values["precision"],
            registration=self._infos.calibration(),
            dominance_smoothing=values["dominance.smoothing"],
        )
        self._pipeline.warm_up()
        self._outputs = Outputs(self)
        settle_memory()
        engine = self._pipeline.engine
        self.get_logger().info(f"fusing with {engine.variant} on {engine.device}")

    def _release(self) -> None:
        self.stop()
        if self._outputs:
            self._outputs.destroy()
        self._pipeline = self._outputs = self._mode = None
        free_memory()

    def _fail(self, what: str, error: Exception) -> TransitionCallbackReturn:
        self.get_logger().error(f"cannot {what}: {error!r}")
        return ERROR

    # -- Parameters.

    def _check_parameters(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        """Refuse with the reason, or take over."""
        try:
            configured = self._pipeline is not None
            values = changed(self._values, changes, FUSION_PARAMETERS, configured)
            thermal = ThermalConfig(**group(values, "thermal"))
        except DreamIFError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._values = values
        if self._pipeline:
            self._pipeline.normalizer.config = thermal
            self._pipeline.dominance_smoothing = values["dominance.smoothing"]
        if self._stream:
            self._stream.apply(values)
        return SetParametersResult(successful=True)

    def _thermal(self) -> ThermalConfig:
        return ThermalConfig(**group(self._values, "thermal"))

    # -- Timers.

    def _on_clock_jump(self, _: TimeJump) -> None:
        if self._stream:
            self._stream.clock_jumped()

    def _follow_publishers(self) -> None:
        if self._stream:
            self._stream.follow_publishers()

    def _watch_health(self) -> None:
        if self._has_stalled() or not self._stream:
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

    def _has_stalled(self) -> bool:
        """Whether the process was held up: what the cameras sent meanwhile is yet to be taken.

        Never twice in a row, or a busy machine would never judge them.
        """
        now_s = time.monotonic()
        self._stalled = not self._stalled and now_s - self._watched_s > STALL_S
        self._watched_s = now_s
        return self._stalled

    def _report_silence(self) -> None:
        if not self._stream:
            return
        for name, fault in self._stream.faults().items():
            if fault and fault.kind == "silent":
                subscription = self._stream.inputs[name]
                self.get_logger().warning(
                    f"no {name} image on {subscription.topic}: {subscription.describe_publishers()}"
                )

    def _publish_diagnostics(self) -> None:
        self._diagnostics.publish(
            fusion_diagnostics(
                self.get_fully_qualified_name(),
                self.get_clock().now().to_msg(),
                self._state_machine.current_state[1],
                self._pipeline,
                self._stream,
                self._mode,
            )
        )


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run dreamif_ros fusion_node``."""
    return run_node(FusionNode, args)


if __name__ == "__main__":
    sys.exit(main())
