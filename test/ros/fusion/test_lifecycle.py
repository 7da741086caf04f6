"""The fusion node as a managed node: transitions, refusals, parameters at run time."""

import gc
import platform
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import rclpy
from helpers.fusion_rig import LATCHED, NODE, PATIENT, Rig
from helpers.manager import Manager
from helpers.ros_processes import client, parameters, running, spin_until
from lifecycle_msgs.msg import State, Transition
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import String

from dreamif_ros.fusion import node as fusion_node
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS

pytestmark = pytest.mark.realtime

RELIABILITY = "qos_overrides./visible/image_raw.subscription.reliability"
MANAGED = {"variant": "average", "autostart": "false", **PATIENT, RELIABILITY: "reliable"}
CHANGED = {  # what the tests change, back as it was
    **{"variant": "average", "weights": "", "sync__slop_s": 0.05, "thermal__mode": "auto"},
    **{"jpeg_quality": 90, "health__timeout_s": 0.0, RELIABILITY: "reliable"},
}
BACK = {  # from each state towards unconfigured
    State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_DEACTIVATE,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_CLEANUP,
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One node for all tests but the one that ends it, and a manager."""
    log = tmp_path_factory.mktemp("managed") / "log"
    with managed_node(log) as (manager, process):
        yield manager, process


@contextmanager
def managed_node(log):
    with running(NODE, *parameters(**MANAGED), log=log) as process, client() as node:
        process.wait_for_output("autostart is false: waiting to be configured")
        yield Manager(node), process


@pytest.fixture
def managed(shared):
    """The shared node, unconfigured, with the parameters that it was started with."""
    manager, process = shared
    while (state := manager.state()) in BACK:
        assert manager.change(BACK[state])
    assert manager.parameters.set(**CHANGED) == []
    process.forget_output()
    yield manager, process
    for rig in rigs:
        rig.destroy()
    rigs.clear()


rigs = []


def new_rig(manager, process):
    rigs.append(Rig(manager.node, process))
    return rigs[-1]


def modes_of(node):
    """What a listener that comes now hears first."""
    modes = []
    heard = node.create_subscription(
        String, "fusion_mode", lambda message: modes.append(message.data), LATCHED
    )
    assert spin_until(node, lambda: modes)
    node.destroy_subscription(heard)
    return modes


def test_a_whole_life(tmp_path):
    with managed_node(tmp_path / "log") as (manager, process):
        assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
        for _ in range(2):  # what was cleaned up can be configured again
            assert manager.change(Transition.TRANSITION_CONFIGURE)
            assert manager.state() == State.PRIMARY_STATE_INACTIVE
            assert manager.change(Transition.TRANSITION_ACTIVATE)
            assert manager.state() == State.PRIMARY_STATE_ACTIVE
            rig = Rig(manager.node, process)
            rig.send(*rig.good_pair())
            rig.wait(1)
            assert manager.change(Transition.TRANSITION_DEACTIVATE)
            assert spin_until(manager.node, lambda r=rig: not r.visible.get_subscription_count())
            assert manager.change(Transition.TRANSITION_CLEANUP)
            rig.destroy()
            gc.collect()
        assert manager.change(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert manager.state() == State.PRIMARY_STATE_FINALIZED
        assert process.interrupt() == 0


def test_missing_weights_then_good_ones(managed):
    manager, process = managed
    assert manager.parameters.set(variant="nano", weights="/no/such/file") == []
    assert not manager.change(Transition.TRANSITION_CONFIGURE)
    process.wait_for_output("cannot configure: no weights at /no/such/file")
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert manager.parameters.set(weights="") == []
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    process.wait_for_output("fusing with nano on cpu")
    assert "Traceback" not in process.output()


def test_what_a_configured_node_cannot_take_is_refused_with_the_reason(managed):
    manager, _ = managed
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    (reason,) = manager.parameters.set(variant="nano")
    assert reason.startswith("parameter variant cannot change while the node is configured")
    (reason,) = manager.parameters.set(sync__slop_s=-1.0)
    assert "sync.slop_s" in reason
    (reason,) = manager.parameters.set(thermal__high=-5.0)
    assert reason == "thermal low (0.0) must be below high (-5.0)"
    (reason,) = manager.parameters.set(jpeg_quality="best")
    assert "jpeg_quality" in reason
    assert manager.parameters.set(sync__slop_s=0.2, thermal__mode="fixed", jpeg_quality=50) == []


def test_a_change_takes_effect_while_running(managed):
    """Two stamps 100 ms apart are no pair, until the slop allows it."""
    manager, process = managed
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    assert manager.change(Transition.TRANSITION_ACTIVATE)
    rig = new_rig(manager, process)
    rig.send(*rig.good_pair(), infrared_late_ns=100_000_000)
    assert not spin_until(manager.node, lambda: rig.heard["fused/image_raw"], 1.0)
    assert manager.parameters.set(sync__slop_s=0.1) == []
    rig.send(*rig.good_pair(), infrared_late_ns=100_000_000)
    rig.send(*rig.good_pair(), infrared_late_ns=100_000_000)
    heard = rig.heard["fused/image_raw"]  # the first pair, which still waits, may be among them
    assert spin_until(manager.node, lambda: {m.header.stamp.sec for m in heard} & {102, 103})


def test_a_failed_activation_leaves_nothing_behind(managed):
    """One input is subscribed before the other is refused."""
    manager, process = managed
    assert manager.parameters.set(**{RELIABILITY: "bogus"}) == []
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    assert not manager.change(Transition.TRANSITION_ACTIVATE)
    process.wait_for_output(f"cannot activate: parameter {RELIABILITY} is 'bogus'")

    def inputs():
        return manager.node.count_subscribers("infrared/image_raw")

    assert spin_until(manager.node, lambda: inputs() == 0)
    assert manager.parameters.set(**{RELIABILITY: "reliable"}) == []
    assert manager.change(Transition.TRANSITION_ACTIVATE)
    assert spin_until(manager.node, lambda: inputs() == 1)


def test_parameters_are_described(managed):
    manager, _ = managed
    rows = {row.name: row for row in FUSION_PARAMETERS}
    slop = manager.describe("sync.slop_s")
    assert slop.description == rows["sync.slop_s"].description
    assert slop.additional_constraints == "0 to 10 s"
    assert (slop.floating_point_range[0].from_value, slop.floating_point_range[0].to_value) == (
        0.0,
        10.0,
    )
    assert "nano" in manager.describe("variant").additional_constraints


def test_an_impossible_transition_is_refused_and_the_node_lives(managed):
    """With rclpy 7 (Jazzy) the request has no answer: rclpy raises in its own callback."""
    manager, process = managed
    asked = manager.ask_for_change(Transition.TRANSITION_ACTIVATE)
    passed_over = "a request of /fusion_node/change_state failed and is passed over: RCLError"
    assert spin_until(manager.node, lambda: asked.done() or passed_over in process.output())
    assert not (asked.done() and asked.result().success)
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert process.popen.poll() is None


def test_a_late_listener_hears_the_mode(managed):
    manager, process = managed
    assert manager.parameters.set(health__timeout_s=0.5) == []
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    assert manager.change(Transition.TRANSITION_ACTIVATE)
    process.wait_for_output("fusion mode none")
    assert modes_of(manager.node) == ["none"]


def test_an_inactive_node_publishes_nothing_and_its_mode_says_so(managed):
    manager, process = managed
    assert manager.change(Transition.TRANSITION_CONFIGURE)
    assert manager.change(Transition.TRANSITION_ACTIVATE)
    rig = new_rig(manager, process)
    rig.send(*rig.good_pair())
    process.wait_for_output("fusion mode fused")
    assert manager.change(Transition.TRANSITION_DEACTIVATE)
    assert modes_of(manager.node) == ["none"]


def test_after_an_unforeseen_error_the_node_can_be_configured_again(monkeypatch):
    rclpy.init(args=parameters(variant="average"))
    node = fusion_node.FusionNode()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(fusion_node, "FusionPipeline", lambda **_: 1 / 0)
            assert node.trigger_configure() == TransitionCallbackReturn.ERROR
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    finally:
        node.stop()
        node.destroy_node()
        rclpy.try_shutdown()


def test_callbacks_that_failed_are_counted_and_the_statuses_name_their_hardware(monkeypatch):
    rclpy.init(args=parameters(variant="average"))
    node = fusion_node.FusionNode()
    try:
        node.start()
        for _ in range(3):
            node.callback_failed()
        arrays = []
        monkeypatch.setattr(node, "_diagnostics", SimpleNamespace(publish=arrays.append))
        node._publish_diagnostics()
        whole, infrared, visible = arrays[0].status
        assert {item.key: item.value for item in whole.values}["callbacks failed"] == "3"
        assert whole.hardware_id == platform.node()
        assert infrared.hardware_id == "/infrared/image_raw"
        assert visible.hardware_id == "/visible/image_raw"
    finally:
        node.stop()
        node.destroy_node()
        rclpy.try_shutdown()
