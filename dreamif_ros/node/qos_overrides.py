"""The user's ``qos_overrides``: quality of service by parameter, as in every ROS node.

``qos_overrides.<topic>.<subscription or publisher>.<policy>``, the topic resolved and remapped.
"""

from __future__ import annotations

from typing import Any, Literal

from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSReliabilityPolicy

from dreamif_model.errors import ConfigError

_ENUMS = {"reliability": QoSReliabilityPolicy, "history": QoSHistoryPolicy}
POLICIES = ("depth", *_ENUMS)


def qos_overrides(
    node: Node, topic: str, kind: Literal["subscription", "publisher"]
) -> dict[str, Any]:
    """The policies that the user gave for a resolved topic: keyword arguments of a QoSProfile.

    The node must be created with ``automatically_declare_parameters_from_overrides=True``. This
    does not use rclpy's own overriding options: they declare every policy, so that a user's value
    looks like a default. ConfigError for an unknown policy or value.
    """
    prefix = f"qos_overrides.{topic}.{kind}"
    given = node.get_parameters_by_prefix(prefix)
    return {name: _policy(f"{prefix}.{name}", name, p.value) for name, p in given.items()}


def _policy(parameter: str, name: str, value: Any) -> Any:
    if name not in POLICIES:
        raise ConfigError(f"unknown parameter {parameter}: choose one of {', '.join(POLICIES)}")
    if name == "depth":
        if type(value) is not int or value < 1:
            raise ConfigError(f"parameter {parameter} is {value!r}, expected 1 or more messages")
        return value
    choices = {policy.name.lower(): policy for policy in _ENUMS[name] if policy.name != "UNKNOWN"}
    if value not in choices:
        raise ConfigError(f"parameter {parameter} is {value!r}: choose one of {', '.join(choices)}")
    return choices[value]
