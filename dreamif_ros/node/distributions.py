"""What differs between ROS distributions: every other module takes it from here.

Names that moved are imported from where every distribution has them; type checkers know only the
newest places.
"""

from __future__ import annotations

from rclpy.clock import ClockType  # type: ignore[attr-defined]  # Humble: no rclpy.clock_type
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

# A subscription's callback may ask for the number of each message. Not in Humble.
NUMBERS_MESSAGES = hasattr(Subscription, "CallbackType")
# The file of Fast DDS's profiles: Kilted takes the first name, Jazzy and Humble the second.
PROFILES_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")

__all__ = [
    "NUMBERS_MESSAGES",
    "PROFILES_VARIABLES",
    "ClockType",
    "PublisherEventCallbacks",
    "SubscriptionEventCallbacks",
]
