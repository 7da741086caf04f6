"""Makes large images arrive: DDS settings of the sender, reliability of the receiver."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from dreamif_ros.node.distributions import (
    NUMBERS_MESSAGES,
    PROFILES_VARIABLES,
    PublisherEventCallbacks,
    SubscriptionEventCallbacks,
)
from dreamif_ros.node.lost_messages import LostMessages
from dreamif_ros.node.qos_overrides import qos_overrides

# With Fast DDS defaults nearly all best-effort images of 0.9 MB are lost between two processes.
# Larger socket buffers deliver them, and unlike LARGE_DATA they can talk to every other process.
BUILTIN_TRANSPORTS = "DEFAULT?sockets_size=32MB"
# Localhost-only discovery ignores that variable, but it reads a profiles file.
PROFILES_FILE = Path(__file__).parent / "fastdds_localhost.xml"

MESSAGE_TYPES: dict[str, type[Any]] = {"raw": Image, "compressed": CompressedImage}
TRANSPORTS = tuple(MESSAGE_TYPES)  # with the names of image_transport
RELIABLE, BEST_EFFORT = QoSReliabilityPolicy.RELIABLE, QoSReliabilityPolicy.BEST_EFFORT
LATCHED, VOLATILE = QoSDurabilityPolicy.TRANSIENT_LOCAL, QoSDurabilityPolicy.VOLATILE
INPUT_DEPTH = 10  # messages; the callbacks only store, so this covers a stall of 0.3 s at 30 Hz
# These switch off rclpy's warnings: its executor looks at each event at each message, which costs
# 0.4 ms per pair. The other side of a topic warns as well, and the next follow() ends the cause.
QUIET_PUBLISHER = PublisherEventCallbacks(use_default_callbacks=False)
QUIET_SUBSCRIPTION = SubscriptionEventCallbacks(use_default_callbacks=False)
# Fast DDS gives up the shared memory of a process that stood still for a second or two. When the
# process goes on, new shared memory is made, but senders that race for it may leave the process
# with one that is deleted: in 6 of 22 trials with two senders and a stop of 5 s. A process that
# listens to a port holds the port's lock file open.
LOST_SHARED_MEMORY = "this process stood still for seconds and Fast DDS gave up its shared memory"
_PORT_LOCK = re.compile(r"(/dev/shm/fast(?:dds|rtps)_port\d+)_el")


def choose_dds_settings(environment: MutableMapping[str, str] = os.environ) -> str:
    """Set what large images need, unless the user has set it; return a line for the log.

    It takes effect for nodes that are created later in this process and in its children.
    """
    own = [
        name
        for name in ("FASTDDS_BUILTIN_TRANSPORTS", *PROFILES_VARIABLES)
        if environment.get(name)
    ]
    if own:
        return f"DDS settings are those of the environment: {own[0]}={environment[own[0]]}"
    middleware = environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if "fastrtps" not in middleware:
        return f"DDS settings are those of {middleware}: see its guide for large images"
    if _is_localhost_only(environment):
        environment.update(dict.fromkeys(PROFILES_VARIABLES, str(PROFILES_FILE)))
        return f"DDS settings for large images, localhost only: profiles file {PROFILES_FILE}"
    environment["FASTDDS_BUILTIN_TRANSPORTS"] = BUILTIN_TRANSPORTS
    return f"DDS settings for large images: FASTDDS_BUILTIN_TRANSPORTS={BUILTIN_TRANSPORTS}"


def _is_localhost_only(environment: MutableMapping[str, str]) -> bool:
    discovery = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper()
    return discovery == "LOCALHOST" or environment.get("ROS_LOCALHOST_ONLY") == "1"


def input_topic(node: Node, base: str, transport: str) -> str:
    """The topic that carries the images of ``base`` by ``raw`` or ``compressed`` transport.

    As in image_transport, the transport is appended to the remapped name: with
    ``image_raw:=/cam/image`` the compressed images are on ``/cam/image/compressed``.
    """
    return base if transport == "raw" else f"{node.resolve_topic_name(base)}/{transport}"


def subscribe_images(
    node: Node,
    base: str,
    transport: str,
    callback: Callable[[Any], None],
    advice: str = "set image_transport to {}",
) -> FollowingSubscription:
    """Subscribe to images: ``Image`` or ``CompressedImage`` messages, by transport.

    advice: How the user takes another transport, which is filled in.
    """
    topic = input_topic(node, base, transport)
    subscription = FollowingSubscription(node, MESSAGE_TYPES[transport], topic, callback)
    other = next(name for name in TRANSPORTS if name != transport)
    other_topic = node.resolve_topic_name(input_topic(node, base, other))
    subscription.instead = other_topic, advice.format(other)
    return subscription


def has_lost_shared_memory() -> bool:
    """Whether this process listens to shared memory that Fast DDS has deleted."""
    try:
        ports, mapped = listened_ports("self"), Path("/proc/self/maps").read_text()
    except OSError:  # not Linux
        return False
    return any(f"{port} (deleted)" in mapped for port in ports)


def listened_ports(process: int | str) -> list[Path]:
    """The shared memory of Fast DDS to which a process (its id) listens; OSError if not Linux."""
    opened = [os.path.realpath(file) for file in Path(f"/proc/{process}/fd").iterdir()]
    return [Path(lock[1]) for lock in map(_PORT_LOCK.fullmatch, opened) if lock]


class FollowingSubscription:
    """A subscription whose reliability follows the topic's publishers.

    A best-effort subscription matches every publisher but loses most large images of a reliable
    one. A reliable subscription gets them all but never matches a best-effort publisher. So this
    one is reliable if every publisher is, else best effort. Call :meth:`follow` now and then.

    The user's parameters ``qos_overrides.<topic>.subscription.reliability``, ``depth`` and
    ``history`` take precedence; ConfigError for bad values. A reliability that is given stays.

    follows_durability: Whether it asks for messages from before, if every publisher keeps its own
    (transient local), as one does that is published once.
    lost: Messages that were lost on their way, or that found a full queue.
    instead: Another topic that may have the publisher, and how to subscribe to that.
    """

    def __init__(
        self,
        node: Node,
        message_type: type[Any],
        topic: str,
        callback: Callable[[Any], None],
        follows_durability: bool = False,
    ) -> None:
        self._node, self._type, self._callback = node, message_type, callback
        self._follows_durability = follows_durability
        self.lost = LostMessages()
        self.instead: tuple[str, str] | None = None
        self._name = topic  # before remapping, which every subscription does again
        self.topic: str = node.resolve_topic_name(topic)  # remapped, too
        overrides = qos_overrides(node, self.topic, "subscription")
        self._follows = "reliability" not in overrides
        policies = {"depth": INPUT_DEPTH, "reliability": BEST_EFFORT}
        self._destroyed = False
        self._qos = QoSProfile(**(policies | overrides))
        self._subscription = self._subscribe()

    def follow(self) -> None:
        """Subscribe again if what the publishers offer has changed."""
        publishers = [p for p in self._publishers() if p.topic_type == self._type_name]
        if not publishers or self._destroyed:
            return
        before = self._qos.reliability, self._qos.durability
        if self._follows:
            all_reliable = all(p.qos_profile.reliability == RELIABLE for p in publishers)
            self._qos.reliability = RELIABLE if all_reliable else BEST_EFFORT
        if self._follows_durability:
            all_latched = all(p.qos_profile.durability == LATCHED for p in publishers)
            self._qos.durability = LATCHED if all_latched else VOLATILE
        if before != (self._qos.reliability, self._qos.durability):
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()
            how = self._qos.reliability.name.lower()
            self._node.get_logger().info(f"{self.topic}: subscribed {how}")

    def describe_publishers(self) -> str:
        """Which nodes publish the topic and how, for a line about a silent input."""
        publishers = self._publishers()
        if not publishers and self.instead and self._node.count_publishers(self.instead[0]):
            topic, what_to_do = self.instead
            return f"it has no publisher, but {topic} has: {what_to_do}"
        if not publishers:
            return "it has no publisher"
        return f"{len(publishers)} publisher(s): {', '.join(map(self._describe, publishers))}"

    def describe_silence(self) -> str:
        """Why nothing may come: the publishers, and whether this process lost its shared memory."""
        publishers = self.describe_publishers()
        if not self._publishers() or not has_lost_shared_memory():
            return publishers
        return f"{publishers}; {LOST_SHARED_MEMORY}"

    def destroy(self) -> None:
        """End the subscription; it does not follow any more."""
        self._destroyed = True
        self._node.destroy_subscription(self._subscription)

    def _subscribe(self) -> Subscription[Any]:
        callback = self._on_numbered if NUMBERS_MESSAGES else self._callback
        return self._node.create_subscription(
            self._type, self._name, callback, self._qos, event_callbacks=QUIET_SUBSCRIPTION
        )

    def _on_numbered(self, message: Any, info: Mapping[str, Any]) -> None:
        publisher, number = info.get("publisher_gid"), info.get("publication_sequence_number")
        if number is not None and (publisher or self._subscription.get_publisher_count() == 1):
            self.lost.take(publisher["data"] if publisher else b"", number)
        self._callback(message)

    def _publishers(self) -> list[TopicEndpointInfo]:
        return self._node.get_publishers_info_by_topic(self._name)

    @property
    def _type_name(self) -> str:
        return f"{self._type.__module__.partition('.')[0]}/msg/{self._type.__name__}"

    def _describe(self, publisher: TopicEndpointInfo) -> str:
        """One publisher, and why none of its messages can arrive, if that is so."""
        name = f"{publisher.node_namespace.rstrip('/')}/{publisher.node_name}"
        offered = publisher.qos_profile.reliability
        text = f"{name} ({offered.name.lower()}, {publisher.topic_type})"
        if publisher.topic_type != self._type_name:
            return f"{text}, expected {self._type_name}{self._hint()}"
        if offered == BEST_EFFORT and self._qos.reliability == RELIABLE:
            return f"{text}, which this reliable subscription does not match"
        return text

    def _hint(self) -> str:
        """What to do if the topic of compressed images was given as that of raw ones."""
        base, compressed, _ = self.topic.rpartition("/compressed")
        if not compressed or self._type is not Image or not self.instead:
            return ""
        return f": give {base} as the topic and {self.instead[1]}"
