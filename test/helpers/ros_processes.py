"""Real nodes in processes of their own, and a client node in the test's process."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSReliabilityPolicy

from dreamif_ros.node.transport import choose_dds_settings, listened_ports

STOP_TIMEOUT_S = 15.0


class Process:
    """One of our commands, or any module, with its output in a file."""

    def __init__(self, module, arguments, log):
        self.log, self._forgotten = log, 0
        command = Path(sys.executable).with_name(module)
        start = [command] if command.is_file() else [sys.executable, "-m", module]
        with log.open("w") as output:
            self.popen = subprocess.Popen([*start, *arguments], stdout=output, stderr=output)

    def output(self):
        return self.log.read_text()[self._forgotten :]

    def forget_output(self):
        """Look only at what comes from now on."""
        self._forgotten += len(self.output())

    def wait_for_output(self, text, timeout_s=60.0):
        self.wait_for_match(re.escape(text), timeout_s)

    def wait_for_match(self, pattern, timeout_s=60.0):
        """Wait until a regular expression is found in the output, of a process that runs or did."""
        end = time.monotonic() + timeout_s
        while not re.search(pattern, self.output()):
            assert time.monotonic() < end, f"no {pattern!r} in: {self.output()}"
            assert self.popen.poll() is None or re.search(pattern, self.output()), self.output()
            time.sleep(0.05)

    def interrupt(self, how=signal.SIGINT):
        """Ask the process to end; returns its exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        return self.popen.wait(STOP_TIMEOUT_S)


@contextmanager
def killed_at_the_end(process):
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


def running(module, *arguments, log):
    return killed_at_the_end(Process(module, arguments, log))


def take_shared_memory(process):
    """Delete what Fast DDS in a process listens to, as senders do if it stood still for seconds.

    Whoever begins to send after this cannot reach it.
    """
    ports = listened_ports(process.popen.pid)
    assert ports
    for port in ports:
        port.unlink(missing_ok=True)


def parameters(**values):
    """ROS arguments that set parameters; `__` in a name stands for the dot."""
    arguments = ["--ros-args"]
    for name, value in values.items():
        arguments += ["-p", f"{name.replace('__', '.')}:={value}"]
    return arguments


@contextmanager
def client(name="test_client", namespace=""):
    """A node in this process, in a ROS context of its own; leaves the environment as it was."""
    context = Context()
    with mock.patch.dict(os.environ):
        choose_dds_settings()
        rclpy.init(context=context)
        node = Node(name, context=context, namespace=namespace)
    node.spinner = SingleThreadedExecutor(context=context)
    node.spinner.add_node(node)
    try:
        yield node
    finally:
        node.spinner.shutdown()
        node.destroy_node()
        context.try_shutdown()


def spin_until(node, done, timeout_s=30.0):
    """Take messages until `done()`; returns whether it came true in time."""
    end = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > end:
            return False
        node.spinner.spin_once(timeout_sec=0.1)
    return True


def wait_until_heard(node, *publishers):
    """Until all that subscribe to these topics hear every message, and there is somebody.

    A node says that it subscribes reliably before its new subscription has been discovered here,
    and the best-effort one that it had before has been forgotten.
    """

    def heard(publisher):
        found = node.get_subscriptions_info_by_topic(publisher.topic_name)
        reliable = [s.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE for s in found]
        return found and all(reliable) and publisher.get_subscription_count() == len(found)

    assert spin_until(node, lambda: all(map(heard, publishers)))


def answer(node, call, ask_again_s=3.0, timeout_s=60.0):
    """What a service answers to ``call()``, which must bear being called more than once.

    ``service_is_ready`` tells what this process has discovered, not whether the server has
    discovered the reader of its answers: until then a server waits 0.1 s and drops the answer.
    Once the client that was made last has an answer, all clients of this node get theirs.
    """
    futures, end = [], time.monotonic() + timeout_s
    while time.monotonic() < end:
        futures.append(call())
        if spin_until(node, lambda: any(future.done() for future in futures), ask_again_s):
            return next(future.result() for future in futures if future.done())
    raise AssertionError(f"no answer to any of {len(futures)} calls in {timeout_s:.0f} s")


class RemoteParameters:
    """The parameters of a node in another process, as `ros2 param` has them."""

    def __init__(self, node, remote):
        self._node, self._client = node, AsyncParameterClient(node, remote)
        assert spin_until(node, self._client.services_are_ready)

    def set(self, **values):
        """Set one after the other; returns the reasons of those that were refused."""
        changes = [Parameter(name.replace("__", "."), value=v) for name, v in values.items()]
        results = answer(self._node, lambda: self._client.set_parameters(changes)).results
        return [result.reason for result in results if not result.successful]

    def get(self, *names):
        values = answer(self._node, lambda: self._client.get_parameters(names)).values
        return [parameter_value_to_python(value) for value in values]
