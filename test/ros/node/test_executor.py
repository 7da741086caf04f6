"""A message that a callback cannot bear is passed over, whoever made the subscription."""

import pytest
import rclpy
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from dreamif_ros.node.executor import MAX_REASON, SurvivingExecutor, describe, one_line


class Listener(Node):
    """Raises at every text, and counts what was passed over."""

    def __init__(self, context):
        super().__init__("listener", context=context)
        self.heard, self.failures = [], 0
        self.create_subscription(String, "words", self._on_word, 10)

    def _on_word(self, message):
        self.heard.append(message.data)
        raise ZeroDivisionError(message.data)

    def callback_failed(self):
        self.failures += 1


@pytest.fixture
def listener():
    context = Context()
    rclpy.init(context=context)
    node = Listener(context)
    node.executor_of_ours = SurvivingExecutor(context=context)
    node.executor_of_ours.add_node(node)
    yield node
    node.executor_of_ours.shutdown()
    node.destroy_node()
    context.try_shutdown()


def spin_until(node, done, tries=100):
    for _ in range(tries):
        if done():
            return True
        node.executor_of_ours.spin_once(timeout_sec=0.1)
    return done()


def test_a_callback_that_raises_does_not_end_the_node(listener, capfd):
    publisher = listener.create_publisher(String, "words", 10)
    assert spin_until(listener, publisher.get_subscription_count)
    for word in ("one", "two"):
        publisher.publish(String(data=word))
    assert spin_until(listener, lambda: listener.failures == 2)
    assert listener.heard == ["one", "two"]
    lines = [line for line in capfd.readouterr().err.splitlines() if "passed over" in line]
    assert len(lines) == 1  # once a second for each source
    assert "a message on /words failed" in lines[0]
    assert "ZeroDivisionError: one (test_executor.py:" in lines[0]


def test_a_clock_before_zero_is_passed_over(listener):
    listener.set_parameters([rclpy.Parameter("use_sim_time", value=True)])
    publisher = listener.create_publisher(Clock, "/clock", 1)
    assert spin_until(listener, publisher.get_subscription_count)
    early, good = Clock(), Clock()
    early.clock.sec, good.clock.sec = -5, 7
    publisher.publish(early)
    assert spin_until(listener, lambda: listener.failures == 1)
    publisher.publish(good)
    assert spin_until(listener, lambda: listener.get_clock().now().nanoseconds == 7_000_000_000)


def test_a_parameter_of_an_unknown_type_is_passed_over(listener, capfd):
    client = listener.create_client(SetParameters, "/listener/set_parameters")
    assert spin_until(listener, client.service_is_ready)
    unknown = Parameter(name="use_sim_time", value=ParameterValue(type=200))
    client.call_async(SetParameters.Request(parameters=[unknown]))
    assert spin_until(listener, lambda: listener.failures == 1)
    assert "a request of listener/set_parameters failed" in capfd.readouterr().err


def test_a_reason_is_one_line_of_limited_length():
    assert one_line("a\n  b") == "a b"
    assert len(one_line("word " * 100_000)) == MAX_REASON + 1
    assert describe(ValueError("no")) == "ValueError: no"
