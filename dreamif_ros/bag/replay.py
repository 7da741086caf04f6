"""Publishes a recorded bag live: the recorded bytes at the recorded intervals."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from dreamif_model.errors import ConfigError
from dreamif_ros.bag.camera_topics import IMAGE_TYPES
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.storage import BagError, BagMessage, Topic
from dreamif_ros.codec.ros_messages import installed_class
from dreamif_ros.node.transport import choose_dds_settings
from dreamif_ros.stamps import from_seconds, split_ns, to_seconds

DEPTH = 10  # messages kept for a subscriber that is slow to acknowledge
CLOCK_TOPIC = "/clock"
CLOCK_TYPE = "rosgraph_msgs/msg/Clock"
CLOCK_PERIOD_S = 0.01
NAP_S = 0.05  # longest sleep, so that a signal is answered soon
SETTLE_S = 1.0  # time for a best-effort subscriber to see that we are reliable and follow
ACKNOWLEDGE_S = 5.0
MAX_GAP_S = 10.0  # a clock that was set while recording makes a gap of years


def replay(
    bag: Path,
    *,
    rate: float = 1.0,
    loop: bool = False,
    clock: bool = False,
    wait_s: float = 5.0,
    max_gap_s: float = MAX_GAP_S,
) -> dict[str, int]:
    """Publish a bag until its end or a signal; faults of the bag are printed.

    Args:
        bag: rosbag2 folder, or its .mcap or .db3 file.
        rate: speed factor; 2 plays twice as fast as recorded.
        loop: start over at the end, with the recorded stamps, until SIGINT or SIGTERM.
        clock: publish the bag's time on /clock, at 100 Hz and before each message.
        wait_s: longest wait at the start for subscribers of the images, in seconds.
        max_gap_s: a longer time without any message is skipped, in seconds of the recording.

    Returns:
        How many messages of each topic were published.

    Raises:
        BagError: no message of the bag can be read and published, or ROS does not start.
        ConfigError: ``rate``, ``wait_s`` or ``max_gap_s`` is out of range.
    """
    if not 0 < rate < math.inf:
        raise ConfigError(f"the rate is {rate:g}, expected more than 0 and finite")
    if not 0 <= wait_s < math.inf:
        raise ConfigError(f"the wait is {wait_s:g} s, expected 0 s or more and finite")
    if not max_gap_s > 0:
        raise ConfigError(f"the longest gap is {max_gap_s:g} s, expected more than 0 s")
    stop = _StopFlag()
    with Recording(bag) as recording:
        _say_faults(recording)
        topics = _publishable(recording.topics, clock)
        with stop.set_by_signals(), _node() as node:
            player = _Player(node, topics, rate, clock, stop, max_gap_s)
            player.wait_for_subscribers(wait_s)
            _play(player, recording, topics, loop)
            player.wait_until_acknowledged()
            return player.published


def _play(player: _Player, recording: Recording, topics: list[Topic], loop: bool) -> None:
    """Once, or until a signal."""
    while player.play(recording.messages(topics)) and loop:
        player.pause()


def _say_faults(recording: Recording) -> None:
    for fault in recording.faults:
        _say(f"fault: {fault}")


class _StopFlag:
    """True once SIGINT or SIGTERM has come. The handlers of rclpy would stop publishing at once."""

    def __init__(self) -> None:
        self._requested = False

    def __bool__(self) -> bool:
        return self._requested

    @contextmanager
    def set_by_signals(self) -> Iterator[None]:
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._request) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def _request(self, *_: object) -> None:
        self._requested = True

    def sleep_until(self, due: float, longest_s: float = NAP_S) -> bool:
        """Nap towards ``due`` (monotonic seconds); True while there is time left and no signal."""
        left_s = due - time.monotonic()
        if self._requested or left_s <= 0:
            return False
        time.sleep(min(left_s, longest_s))
        return True


class _Player:
    """The publishers of one replay."""

    def __init__(
        self,
        node: Node,
        topics: Iterable[Topic],
        rate: float,
        clock: bool,
        stop: _StopFlag,
        max_gap_s: float,
    ) -> None:
        self._node, self._rate, self._stop, self._max_gap_s = node, rate, stop, max_gap_s
        self._publishers = {topic.key: _create_publisher(node, topic) for topic in topics}
        self._clock = _Clock(node) if clock else None
        self._period_s = 1.0
        self.published = dict.fromkeys((topic.name for topic in topics), 0)

    def wait_for_subscribers(self, longest_s: float) -> None:
        """Wait until each image topic has a subscriber: earlier messages would be lost."""
        images = [p for (_, kind), p in self._publishers.items() if kind in IMAGE_TYPES]
        deadline = time.monotonic() + longest_s
        settled = math.inf
        while not all(self._is_subscribed(p) and self._is_reliably_read(p) for p in images):
            if not all(map(self._is_subscribed, images)):
                settled = math.inf
            elif settled == math.inf:
                settled = time.monotonic() + SETTLE_S
            if not self._stop.sleep_until(min(settled, deadline)):
                break
        alone = [p.topic_name for p in images if not self._is_subscribed(p)]
        if alone and not self._stop:
            _say(f"nobody subscribed to {', '.join(alone)} in {longest_s:g} s: beginning anyway")

    def play(self, messages: Iterable[BagMessage]) -> bool:
        """Publish the messages when they are due; False after a signal or without messages."""
        begin, last_ns = time.monotonic(), None
        played_ns = steps = 0  # since the first message, without gaps that are skipped
        for message in messages:
            step_ns = 0 if last_ns is None else message.timestamp_ns - last_ns
            begin = time.monotonic() if last_ns is None else begin
            last_ns = message.timestamp_ns
            if to_seconds(step_ns) > self._max_gap_s:
                _say(f"skipped {to_seconds(step_ns):.1f} s without a message, see --max-gap")
            elif step_ns:
                played_ns, steps = played_ns + step_ns, steps + 1
            # Counted from the beginning, so that delays do not add up.
            self._wait(begin + to_seconds(played_ns) / self._rate, message.timestamp_ns)
            if self._stop:
                return False
            self._publishers[message.key].publish(message.data)
            self.published[message.topic] += 1
        if steps:
            self._period_s = to_seconds(played_ns) / steps
        return last_ns is not None

    def pause(self) -> None:
        """Wait one mean interval between the bag's messages; 1 s where all have one time."""
        due = time.monotonic() + self._period_s / self._rate
        while self._stop.sleep_until(due):
            pass

    def wait_until_acknowledged(self) -> None:
        """Stay until the subscribers have everything: a publisher that ends loses its messages."""
        deadline = time.monotonic() + ACKNOWLEDGE_S
        missing = set(self._publishers.values())
        while missing and not self._stop:
            moment = Duration(seconds=min(NAP_S, max(0.0, deadline - time.monotonic())))
            missing -= {p for p in missing if p.wait_for_all_acked(moment)}
            if missing and time.monotonic() > deadline:
                names = ", ".join(sorted(publisher.topic_name for publisher in missing))
                _say(f"{names}: not all acknowledged in {ACKNOWLEDGE_S:g} s, the last may be lost")
                return

    def _wait(self, due: float, timestamp_ns: int) -> None:
        if self._clock is None:
            while self._stop.sleep_until(due):
                pass
            return
        while self._stop.sleep_until(due, CLOCK_PERIOD_S):
            ahead_s = max(0.0, due - time.monotonic()) * self._rate
            self._clock.publish(timestamp_ns - from_seconds(ahead_s))
        self._clock.publish(timestamp_ns)

    def _is_subscribed(self, publisher: Publisher[Any]) -> bool:
        return publisher.get_subscription_count() > 0

    def _is_reliably_read(self, publisher: Publisher[Any]) -> bool:
        subscriptions = self._node.get_subscriptions_info_by_topic(publisher.topic_name)
        return all(s.qos_profile.reliability == ReliabilityPolicy.RELIABLE for s in subscriptions)


class _Clock:
    """Publishes the bag's time on /clock, each time once."""

    def __init__(self, node: Node) -> None:
        message_type = _message_type(CLOCK_TYPE)
        self._message = message_type()
        self._publisher: Publisher[Any] = node.create_publisher(message_type, CLOCK_TOPIC, DEPTH)
        self._last_ns = -1

    def publish(self, time_ns: int) -> None:
        if time_ns == self._last_ns:
            return
        self._last_ns = time_ns
        self._message.clock.sec, self._message.clock.nanosec = split_ns(time_ns)
        self._publisher.publish(self._message)


@contextmanager
def _node() -> Iterator[Node]:
    """A node that only publishes; rclpy installs no signal handlers."""
    choose_dds_settings()
    try:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        node = Node("dreamif_bag_replay", start_parameter_services=False)
    except Exception as error:  # rclpy has no common base for a bad domain or DDS setting
        rclpy.try_shutdown()
        raise BagError(f"cannot start ROS: {' '.join(str(error).split())}") from error
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _create_publisher(node: Node, topic: Topic) -> Publisher[Any]:
    durability = DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
    qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
    return node.create_publisher(_message_type(topic.type_name), topic.name, qos)


def _publishable(topics: list[Topic], clock: bool) -> list[Topic]:
    """The topics whose types are installed; without the bag's own clock where we publish it."""
    if clock:
        topics = [topic for topic in topics if topic.name != CLOCK_TOPIC]
    known = [topic for topic in topics if installed_class(topic.type_name)]
    skipped = ", ".join(f"{t.name} ({t.type_name})" for t in topics if t not in known)
    if not known:
        raise BagError(f"no topic of the bag has a message type that is installed: {skipped}")
    if skipped:
        _say(f"skipped, their message types are not installed: {skipped}")
    return known


def _message_type(name: str) -> type[Any]:
    """The class of a message; BagError where it is not installed."""
    found = installed_class(name)
    if found is None:
        raise BagError(f"the message type {name} is not installed")
    return found


def _say(line: str) -> None:
    print(line, flush=True)
