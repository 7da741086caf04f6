"""What makes large images arrive: DDS settings of the sender, reliability of the receiver."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.subscription import Subscription

# With Fast DDS defaults nearly all best-effort images of 0.9 MB are lost between two processes.
# Larger socket buffers deliver them and still talk to every other process, unlike LARGE_DATA.
BUILTIN_TRANSPORTS = "DEFAULT?sockets_size=32MB"
# Localhost-only discovery ignores that variable, but not a profiles file. Kilted reads the
# first name, Jazzy and Humble the second.
PROFILES_FILE = Path(__file__).parent / "fastdds_localhost.xml"
PROFILES_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")

INPUT_DEPTH = 10  # messages; the callbacks only store, so this covers a stall of 0.3 s at 30 Hz


def choose_dds_settings(environment: MutableMapping[str, str] = os.environ) -> str:
    """Set what large images need where the user has set nothing; return a line for the log.

    Takes effect for nodes created later in this process and in its children.
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


class FollowingSubscription:
    """A subscription whose reliability follows the topic's publishers.

    A best-effort subscription hears every publisher but loses most of a reliable one's large
    images; a reliable one gets them all but never hears a best-effort publisher. So: reliable
    when every publisher is, else best effort. Call :meth:`follow` now and then.
    """

    def __init__(
        self, node: Node, message_type: type[Any], topic: str, callback: Callable[[Any], None]
    ) -> None:
        self._node, self._type, self._callback = node, message_type, callback
        self._name = topic  # before remapping, which happens at every subscribing
        self._reliability = QoSReliabilityPolicy.BEST_EFFORT
        self._subscription = self._subscribe()
        self.topic: str = self._subscription.topic_name  # resolved and remapped

    def follow(self) -> None:
        """Subscribe anew where the publishers' reliability has changed."""
        reliabilities = [
            publisher.qos_profile.reliability
            for publisher in self._node.get_publishers_info_by_topic(self._name)
        ]
        if not reliabilities:
            return
        all_reliable = all(r == QoSReliabilityPolicy.RELIABLE for r in reliabilities)
        wanted = QoSReliabilityPolicy.RELIABLE if all_reliable else QoSReliabilityPolicy.BEST_EFFORT
        if wanted != self._reliability:
            self._reliability = wanted
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()
            self._node.get_logger().info(f"{self.topic}: subscribed {wanted.name.lower()}")

    def describe_publishers(self) -> str:
        """Who publishes the topic and how, for a line about a silent input."""
        publishers = self._node.get_publishers_info_by_topic(self._name)
        if not publishers:
            return "it has no publisher"
        names = ", ".join(
            f"{p.node_namespace.rstrip('/')}/{p.node_name} "
            f"({p.qos_profile.reliability.name.lower()}, {p.topic_type})"
            for p in publishers
        )
        return f"{len(publishers)} publisher(s): {names}"

    def _subscribe(self) -> Subscription[Any]:
        qos = QoSProfile(depth=INPUT_DEPTH, reliability=self._reliability)
        return self._node.create_subscription(self._type, self._name, self._callback, qos)
