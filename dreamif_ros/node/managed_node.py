"""The base of our managed nodes: life cycle, settings, diagnostics, the clock."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile

from dreamif_model import DreamIFError
from dreamif_ros.node.diagnostic_status import Condition, Key, key_values, read_keys
from dreamif_ros.node.distributions import ClockType
from dreamif_ros.node.parameters import changed, declare
from dreamif_ros.node.runtime import RefusedError
from dreamif_ros.node.settings import NodeSettings
from dreamif_ros.node.transport import (
    LOST_SHARED_MEMORY,
    QUIET_PUBLISHER,
    has_lost_shared_memory,
)

DIAGNOSTICS_PERIOD_S = 1.0
DIAGNOSTICS_QOS = QoSProfile(depth=5)
SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)

S = TypeVar("S", bound=NodeSettings)


class ManagedNode(LifecycleNode, ABC, Generic[S]):
    """A managed node: while configured it holds what is costly to make, while active it works.

    A subclass makes and frees things in :meth:`configure`, :meth:`activate`, :meth:`deactivate`
    and :meth:`release`. It may refuse settings (:meth:`check`) and take live ones (:meth:`apply`).

    settings: The class of its settings, see :mod:`dreamif_ros.node.parameters`; as an attribute
    the parameters, which are replaced as a whole at every change.
    also_known: Parameters of other nodes in this process, which share its arguments.
    """

    def __init__(self, name: str, settings: type[S], also_known: Sequence[str] = ()) -> None:
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.settings = declare(self, settings, also_known=also_known)
        self.check(self.settings)
        self._is_configured = False
        self.failed_callbacks = 0  # that the executor passed over
        self.has_lost_memory = False
        self.is_deaf = False  # for good: the process must start anew
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
        """Call ``callback`` again and again by a steady clock, whatever ROS time does."""
        self.create_timer(period_s, callback, clock=self._steady)

    def start(self) -> None:
        """Configure and activate if ``autostart`` is set; RefusedError if that fails."""
        if not self.settings.autostart:
            self.get_logger().info("autostart is false: waiting to be configured")
        elif self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
            raise RefusedError

    def stop(self) -> None:
        """Finish the frame at work and end the threads."""
        self.deactivate()

    def callback_failed(self) -> None:
        """The executor passed over an error out of a callback, and has logged it."""
        self.failed_callbacks += 1

    @property
    def state(self) -> str:
        """State of the life cycle: unconfigured, inactive, active or finalized."""
        label: str = self._state_machine.current_state[1]
        return label

    # -- What a subclass defines.

    def check(self, settings: S) -> None:  # nothing is wrong by default
        """Raise ConfigError if settings cannot be used."""

    @abstractmethod
    def configure(self) -> None:
        """Make what is costly; DreamIFError if that fails."""

    @abstractmethod
    def activate(self) -> None:
        """Subscribe and begin to work; DreamIFError if that fails."""

    @abstractmethod
    def deactivate(self) -> None:
        """Undo :meth:`activate`, from any state."""

    @abstractmethod
    def release(self) -> None:
        """Undo :meth:`configure`, from any state; called after :meth:`deactivate`."""

    def apply(self, settings: S) -> None:
        """Take the settings that are live; called while configured."""

    def clock_jumped(self) -> None:
        """ROS time was set back."""

    @abstractmethod
    def describe(self) -> list[DiagnosticStatus]:
        """The node's diagnostics now."""

    # -- Transitions. rclpy swallows an exception out of one, so each logs what failed.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure, or refuse with the reason."""
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
        """Activate, or refuse with the reason."""
        try:
            self.activate()
        except DreamIFError as error:
            self.get_logger().error(f"cannot activate: {error}")
            return FAILURE
        except Exception as error:
            return self._fail("activate", error)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the work; what was configured stays."""
        self.deactivate()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what was configured, with its memory on the GPU."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything; the node can be configured again."""
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
        """Take changes, or refuse them with the reason."""
        try:
            settings = changed(self.settings, changes, self._is_configured)
            self.check(settings)
            if self._is_configured:
                self.apply(settings)
        except DreamIFError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.settings = settings
        return SetParametersResult(successful=True)

    def _on_clock_jump(self, _: TimeJump) -> None:
        self.clock_jumped()

    def _publish_diagnostics(self) -> None:
        self._look_at_shared_memory()
        array = DiagnosticArray(status=self.describe())
        common = key_values(read_keys(COMMON_KEYS, self))
        array.status[0].values = [*common, *array.status[0].values]
        for message in LOST_MEMORY.messages(self):
            array.status[0].level = DiagnosticStatus.ERROR
            array.status[0].message = f"{message}; {array.status[0].message}"
        for item in array.status:
            item.hardware_id = item.hardware_id or platform.node()
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _look_at_shared_memory(self) -> None:
        """If it is lost the next time as well, Fast DDS does not repair it."""
        lost, lost_before = has_lost_shared_memory(), self.has_lost_memory
        self.has_lost_memory = lost
        if lost and lost_before and not self.is_deaf:
            self.get_logger().error(f"{LOST_SHARED_MEMORY}: the process starts anew")
            self.is_deaf = True


# These keys are in the status of every node.
COMMON_KEYS: tuple[Key[ManagedNode[Any]], ...] = (
    Key(
        "lifecycle state",
        "unconfigured, inactive, active or finalized",
        lambda node: node.state,
    ),
    Key(
        "callbacks failed",
        "messages and service calls that were passed over because they cannot be handled; the log "
        "names each",
        lambda node: node.failed_callbacks,
    ),
)
# What makes the status of every node ERROR.
LOST_MEMORY: Condition[ManagedNode[Any]] = Condition(
    LOST_SHARED_MEMORY,
    "it may hear nothing: if that lasts for a second, the process "
    "[starts anew](reliability.md#a-node-that-stood-still)",
    lambda node: node.has_lost_memory,
    is_error=True,
)
