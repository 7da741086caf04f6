"""The ways of pairing that ``sync.policy`` names: ours, or those of ``message_filters``."""

from __future__ import annotations

import os
from types import ModuleType, SimpleNamespace
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration

from dreamif_model import ConfigError
from dreamif_ros.pairing import (
    INFRARED,
    NANOSECONDS,
    VISIBLE,
    A,
    B,
    Pair,
    PairSynchronizer,
    Synchronizer,
)

POLICIES = ("nearest", "approximate", "exact")
STAMP_LIMIT_NS = 2**31 * NANOSECONDS  # what builtin_interfaces/Time holds: 0 up to this


def make_synchronizer(
    policy: str = "nearest", slop_s: float = 0.05, queue_size: int = 10
) -> Synchronizer[Any, Any]:
    """The synchronizer of a policy.

    nearest is ours, `PairSynchronizer`. approximate and exact are those of ``message_filters``.
    ConfigError for another policy, or where ``message_filters`` is not installed; ValueError for
    limits that are out of range.
    """
    if policy not in POLICIES:
        raise ConfigError(f"sync.policy is {policy!r}: choose one of {', '.join(POLICIES)}")
    if policy == "nearest":
        return PairSynchronizer(slop_s, queue_size)
    return MessageFiltersSynchronizer(policy, slop_s, queue_size)


class MessageFiltersSynchronizer(Synchronizer[A, B]):
    """The pairing of ROS's own ``message_filters``, counted.

    Policy approximate pairs a message, as it arrives, with the nearest that waits, when they are
    less than the slop apart: less, not equal, so that a slop of 0 never pairs. Pairs may come
    out of order. Policy exact pairs equal stamps; its slop means nothing. Where two of a stream
    have one stamp the later stays. Nothing is ever too old.

    Stamps are given to it as they come here, corrected by clock offsets, whatever the messages'
    headers say. One that a ROS time cannot hold (before 1970, after 2038) has no partner.
    """

    def __init__(
        self, policy: str, slop_s: float = 0.05, queue_size: int = 10, jump_s: float = 1.0
    ) -> None:
        super().__init__(slop_s, queue_size, jump_s)
        filters = _message_filters(policy)
        self._inputs = (filters.SimpleFilter(), filters.SimpleFilter())
        if policy == "exact":
            self._matcher = filters.TimeSynchronizer(self._inputs, queue_size)
        else:
            self._matcher = filters.ApproximateTimeSynchronizer(self._inputs, queue_size, slop_s)
        self._matcher.registerCallback(self._on_pair)
        self._made: list[Pair[A, B]] = []

    @property
    def waiting(self) -> tuple[int, int]:
        """How many messages wait: infrared, visible."""
        return len(self._matcher.queues[INFRARED]), len(self._matcher.queues[VISIBLE])

    def _pairs_with(self, side: int, stamp_ns: int, item: object) -> list[Pair[A, B]]:
        if not 0 <= stamp_ns < STAMP_LIMIT_NS:
            self.counts.no_partner += 1  # raised in there, its lock would stay held
            return []
        self._matcher.queue_size = self.queue_size
        self._matcher.slop = Duration(seconds=self.slop_s)
        known = sum(self.waiting) + 1
        duplicates = int(stamp_ns in self._matcher.queues[side])
        self._inputs[side].signalMessage(_stamped(stamp_ns, item))
        pairs, self._made = self._made, []
        self.counts.duplicate += duplicates
        self.counts.no_partner += known - duplicates - 2 * len(pairs) - sum(self.waiting)
        return pairs

    def _on_pair(self, infrared: Any, visible: Any) -> None:
        """Called with the lock held: only stores."""
        skew_ns = infrared.stamp_ns - visible.stamp_ns
        self._made.append(Pair(infrared.item, visible.item, skew_ns))

    def _forget(self, side: int) -> None:
        self._matcher.queues[side].clear()


def _stamped(stamp_ns: int, item: object) -> SimpleNamespace:
    """An item in what ``message_filters`` takes for a message."""
    seconds, nanoseconds = divmod(stamp_ns, NANOSECONDS)
    header = SimpleNamespace(stamp=Time(sec=seconds, nanosec=nanoseconds))
    return SimpleNamespace(header=header, stamp_ns=stamp_ns, item=item)


def _message_filters(policy: str) -> ModuleType:
    try:
        import message_filters
    except ImportError as error:
        package = f"ros-{os.environ.get('ROS_DISTRO', '<distro>')}-message-filters"
        raise ConfigError(
            f"sync.policy is {policy!r}, which needs message_filters, and that is not installed: "
            f"apt install {package}, or set sync.policy to nearest"
        ) from error
    return message_filters  # type: ignore[no-any-return]
