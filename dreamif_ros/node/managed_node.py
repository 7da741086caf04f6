"""The base of our managed nodes: life cycle, parameters from a table, diagnostics, the clock."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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
from rclpy.qos import QoSProfile

from dreamif_model import DreamIFError
from dreamif_ros.node.parameters import Parameter, changed, declare
from dreamif_ros.node.runtime import RefusedError
from dreamif_ros.node.transport import QUIET_PUBLISHER

DIAGNOSTICS_PERIOD_S = 1.0
DIAGNOSTICS_QOS = QoSProfile(depth=5)
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class ManagedNode(LifecycleNode, ABC):
    """A managed node: configured it holds what is costly to make, active also what runs.

    name: of the node. table: its parameters. also_known: names of parameters of other nodes in
    this process, which share its arguments.

    A subclass says what is made and what runs: :meth:`configure`, :meth:`activate`,
    :meth:`deactivate`, :meth:`release`; and may refuse parameters (:meth:`check`) or take live
    ones (:meth:`apply`). ``_values`` are the parameters, replaced as a whole at every change.
    """

    def __init__(
        self, name: str, table: Sequence[Parameter], also_known: Sequence[str] = ()
    ) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self._table = table
        self._values = declare(self, table, also_known=also_known)
        self.check(self._values)
        self._is_configured = False
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # ROS time stops with its bag
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", DIAGNOSTICS_QOS, event_callbacks=QUIET_PUBLISHER
        )
        self.add_on_set_parameters_callback(self._on_parameters)
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
            ),
            post_callback=self._on_clock_jump,
        )
        self.every(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    def every(self, period_s: float, callback: Callable[[], None]) -> None:
        """Call ``callback`` on a steady clock, whatever ROS time does."""
        self.create_timer(period_s, callback, clock=self._steady)

    def start(self) -> None:
        """Configure and activate, as ``autostart`` asks; RefusedError where that fails."""
        if not self._values["autostart"]:
            self.get_logger().info("autostart is false: waiting to be configured")
        elif self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
            raise RefusedError

    def stop(self) -> None:
        """Finish the frame at work and end the threads."""
        self.deactivate()

    @property
    def state(self) -> str:
        """Of the life cycle: unconfigured, inactive, active or finalized."""
        label: str = self._state_machine.current_state[1]
        return label

    # -- What a subclass says.

    def check(self, values: dict[str, Any]) -> None:  # nothing is wrong by default
        """DreamIFError where parameters contradict each other."""

    @abstractmethod
    def configure(self) -> None:
        """Make what is costly; DreamIFError where that fails."""

    @abstractmethod
    def activate(self) -> None:
        """Subscribe, and begin to work; DreamIFError where that fails."""

    @abstractmethod
    def deactivate(self) -> None:
        """The opposite of :meth:`activate`, from any state."""

    @abstractmethod
    def release(self) -> None:
        """The opposite of :meth:`configure`, from any state; after :meth:`deactivate`."""

    def apply(self, values: dict[str, Any]) -> None:
        """Take the live parameters, while configured."""

    def clock_jumped(self) -> None:
        """ROS time was set back."""

    @abstractmethod
    def describe(self) -> DiagnosticArray:
        """The node's diagnostics now."""

    # -- Transitions. An exception out of one would be swallowed: each says itself what failed.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; refused with the reason where that fails."""
        try:
            self.configure()
        except DreamIFError as error:
            self.get_logger().error(f"cannot configure: {error}")
            self._release()
            return FAILURE
        except Exception as error:
            return self._fail("configure", error)
        self._is_configured = True
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate; refused with the reason where that fails."""
        try:
            self.activate()
        except DreamIFError as error:
            self.get_logger().error(f"cannot activate: {error}")
            return FAILURE
        except Exception as error:
            return self._fail("activate", error)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; what was configured stays."""
        self.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of what was configured, and of its memory on the GPU."""
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

    def _release(self) -> None:
        self._is_configured = False
        self.deactivate()
        self.release()

    def _fail(self, what: str, error: Exception) -> TransitionCallbackReturn:
        self.get_logger().error(f"cannot {what}: {error!r}")
        return ERROR

    # -- Callbacks.

    def _on_parameters(self, changes: list[Any]) -> SetParametersResult:
        """Refuse with the reason, or take over."""
        try:
            values = changed(self._values, changes, self._table, self._is_configured)
            self.check(values)
            if self._is_configured:
                self.apply(values)
        except DreamIFError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._values = values
        return SetParametersResult(successful=True)

    def _on_clock_jump(self, _: TimeJump) -> None:
        self.clock_jumped()

    def _publish_diagnostics(self) -> None:
        self._diagnostics.publish(self.describe())
