"""Checks of the cameras: who publishes their images, and how."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dreamif_model.cameras import Both, Camera
from dreamif_ros.doctor.findings import Finding
from dreamif_ros.doctor.trial import try_rclpy

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
SETTLE_S = 0.5  # after both cameras are found: another publisher may follow
POLL_S = 0.1


class Publisher(NamedTuple):
    """One publisher of a topic; reliability: ``reliable`` or ``best_effort``."""

    node: str
    type_name: str
    reliability: str


@dataclass(frozen=True)
class Discovered:
    """Publishers by topic: of those that were asked for, and of their ``/compressed``.

    image_topics: All topics with images that have a publisher.
    """

    publishers: Mapping[str, Sequence[Publisher]]
    image_topics: Sequence[str] = field(default_factory=list)


def check_cameras(topics: Both[str], seconds: float) -> Iterator[Finding]:
    """Look for the publishers of both cameras' topics for up to some seconds."""
    fault = try_rclpy().fault
    if fault:
        yield Finding("cameras", "warning", f"not known: rclpy cannot be used: {fault}")
        return
    topics = topics.map(lambda topic: f"/{topic.lstrip('/')}")
    discovered = discover(topics, seconds)
    for camera, topic in topics.items():
        yield judge(camera, topic, discovered)


def judge(camera: Camera, topic: str, found: Discovered) -> Finding:
    """What the fusion node would say of one camera's topic."""
    name = f"{camera} camera"
    publishers = found.publishers.get(topic, ())
    if not publishers and found.publishers.get(f"{topic}/compressed"):
        text = f"{topic} has no publisher, but {topic}/compressed has"
        return Finding(name, "warning", text, f"set {camera}.image_transport to compressed")
    if not publishers:
        others = ", ".join(found.image_topics) or "no topic at all"
        advice = f"start the driver, or give --{camera} TOPIC; there are images on {others}"
        return Finding(name, "warning", f"{topic} has no publisher", advice)
    described = ", ".join(f"{p.node} ({p.reliability})" for p in publishers)
    text = f"{topic} of {described}"
    wrong = {publisher.type_name for publisher in publishers} - {IMAGE}
    if wrong:
        advice = f"give a topic of {IMAGE}; of compressed images leave out /compressed"
        return Finding(name, "error", f"{text}, which are {', '.join(sorted(wrong))}", advice)
    if len(publishers) > 1:
        return Finding(name, "warning", text, "let one driver publish: images of several mix")
    return Finding(name, "ok", text)


def discover(topics: Both[str], seconds: float) -> Discovered:
    """Take part in ROS until both cameras are found, or for some seconds."""
    from rclpy.context import Context
    from rclpy.node import Node

    from dreamif_ros.node.transport import choose_dds_settings

    choose_dds_settings()
    context = Context()
    context.init()
    try:
        node = Node("dreamif_doctor", context=context, start_parameter_services=False)
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            time.sleep(POLL_S)
            if all(map(node.count_publishers, topics)):
                time.sleep(SETTLE_S)
                break
        return _seen(node, topics)
    finally:
        context.try_shutdown()


def _seen(node: Any, topics: Both[str]) -> Discovered:
    asked = [name for topic in topics for name in (topic, f"{topic}/compressed")]
    publishers = {
        topic: [
            Publisher(
                f"{found.node_namespace.rstrip('/')}/{found.node_name}",
                found.topic_type,
                found.qos_profile.reliability.name.lower(),
            )
            for found in node.get_publishers_info_by_topic(topic)
        ]
        for topic in asked
    }
    with_images = [
        topic
        for topic, types in node.get_topic_names_and_types()
        if {IMAGE, COMPRESSED_IMAGE} & set(types) and node.count_publishers(topic)
    ]
    return Discovered(publishers, with_images)
