"""SIGINT and SIGTERM at every stage of the command's life: status 0, and no traceback.

Only the first tenth of a second, in which Python itself starts, is not the command's to handle.
"""

import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from helpers.fusion_rig import STILL, Rig
from helpers.manager import Manager
from helpers.ros_processes import client, parameters, running, spin_until
from lifecycle_msgs.msg import Transition

pytestmark = pytest.mark.realtime

SIGNALS = {"by_int": signal.SIGINT, "by_term": signal.SIGTERM}


@pytest.fixture
def start(tmp_path):
    """Starts a command twice at once, for a signal each, in two namespaces."""
    with ExitStack() as stack:

        def start(command="fusion_node", **values):
            processes = {}
            for space in SIGNALS:
                arguments = [*parameters(**values), "-r", f"__ns:=/{space}"]
                run = running(command, *arguments, log=tmp_path / space)
                processes[space] = stack.enter_context(run)
            return processes

        yield start


def end(processes):
    """Send each its signal; they end cleanly."""
    for space, process in processes.items():
        process.popen.send_signal(SIGNALS[space])
    assert_ended(processes)


def assert_ended(processes):
    for space, process in processes.items():
        assert process.popen.wait(20) == 0, (space, process.output())
        assert "Traceback" not in process.output()


def wait_until_signals_are_handled(process):
    """Python handles SIGINT from its start; SIGTERM is the command's."""
    status = Path(f"/proc/{process.popen.pid}/status")
    latest = time.monotonic() + 20
    while not int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> signal.SIGTERM - 1 & 1:
        assert time.monotonic() < latest
        time.sleep(0.005)


@pytest.mark.parametrize("command", ["fusion_node", "simulated_cameras"])
@pytest.mark.parametrize("delay_s", [0.0, 0.3, 1.0])
def test_while_it_imports(start, command, delay_s):
    processes = start(command)
    for process in processes.values():
        wait_until_signals_are_handled(process)
    time.sleep(delay_s)
    end(processes)


def status_of(code):
    return subprocess.run([sys.executable, "-c", code], timeout=30).returncode


@pytest.mark.parametrize("number", SIGNALS.values())
def test_between_the_imports_and_rclpy(number):
    """A module in the node's place is signalled before it starts ROS."""
    code = f"""
import os, sys, types
node = types.ModuleType("node")
node.main = lambda: os.kill(os.getpid(), {int(number)}) or 1
sys.modules["dreamif_ros.fusion.node"] = node
from dreamif_ros.executables import fusion_node
sys.exit(fusion_node())
"""
    assert status_of(code) == 0


def test_between_rclpy_and_the_executor():
    """The executor cannot be made then, which ends without a word."""
    code = """
import os, signal, sys, time
import rclpy
from dreamif_ros.node import runtime

def signalled():
    os.kill(os.getpid(), signal.SIGTERM)
    while rclpy.ok():
        time.sleep(0.01)
    return made()

made = runtime.SurvivingExecutor
runtime.SurvivingExecutor = signalled
sys.exit(runtime.run_nodes([]))
"""
    ran = subprocess.run([sys.executable, "-c", code], timeout=30, capture_output=True, text=True)
    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr


def test_while_a_callback_is_at_work():
    """The context ends before the callback does: spin() then returns, where else it raises."""
    code = """
import os, signal, sys, time
from rclpy.node import Node
from dreamif_ros.node.runtime import run_nodes

class Busy(Node):
    def __init__(self):
        super().__init__("busy")
        self.create_timer(0.01, self.work)

    def work(self):
        os.kill(os.getpid(), signal.SIGTERM)
        while self.context.ok():
            time.sleep(0.01)

sys.exit(run_nodes([Busy]))
"""
    assert status_of(code) == 0


@pytest.mark.parametrize("words", ["DDS settings", "fusing with average", "fusion mode none"])
def test_while_it_starts_configures_and_activates(start, words):
    processes = start(variant="average")
    for process in processes.values():
        process.wait_for_output(words)
    end(processes)


def test_unconfigured(start):
    processes = start(autostart="false")
    for process in processes.values():
        process.wait_for_output("autostart is false")
    end(processes)


def test_inactive(start):
    processes = start(autostart="false", variant="average")
    for space, process in processes.items():
        process.wait_for_output("autostart is false")
        with client(namespace=space) as node:
            assert Manager(node).change(Transition.TRANSITION_CONFIGURE)
    end(processes)


def send_until(rig, done):
    latest = time.monotonic() + 20
    while not done():
        assert time.monotonic() < latest, rig.process.output()
        rig.send(*rig.good_pair())
        spin_until(rig.node, lambda: False, 0.02)


def test_while_it_fuses(start):
    """Images keep coming until it has ended."""
    processes = start(variant="average", **STILL)
    with ExitStack() as stack:
        for space, process in processes.items():
            rig = Rig(stack.enter_context(client(namespace=space)), process)
            send_until(rig, lambda rig=rig: rig.heard["fused/image_raw"])
            process.popen.send_signal(SIGNALS[space])
            send_until(rig, lambda process=process: process.popen.poll() is not None)
    assert_ended(processes)


@pytest.mark.parametrize("delay_s", [0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("fusion_node", parameters(variant="average"), "fusing with average"),
        ("dreamif", ["view", "--port", "0"], "look at http"),
    ],
)
def test_a_second_signal_does_not_disturb_the_end(tmp_path, command, arguments, words, delay_s):
    """The first is always SIGINT, as of Ctrl-C, which ros2 launch passes on as well."""
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(running(command, *arguments, log=tmp_path / name))
            for name in SIGNALS
        }
        for process in processes.values():
            process.wait_for_output(words)
            process.popen.send_signal(signal.SIGINT)
        time.sleep(delay_s)
        for name, process in processes.items():
            process.popen.send_signal(SIGNALS[name])
        assert_ended(processes)
