"""The pairing policies of ``sync.policy``: ours, and those of ``message_filters``."""

from __future__ import annotations

import os
from types import ModuleType, SimpleNamespace
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration

from dreamif_model import ConfigError
from dreamif_model.cameras import Both, Camera
from dreamif_ros.pairing import Pair, PairSynchronizer, Synchronizer, T
from dreamif_ros.stamps import NANOSECONDS, split_ns

POLICIES = ("nearest", "approximate", "exact")
STAMP_LIMIT_NS = 2**31 * NANOSECONDS  # builtin_interfaces/Time holds 0 to this, exclusive


def make_synchronizer(
    policy: str = "nearest", slop_s: float = 0.05, queue_size: int = 10
) -> Synchronizer[Any]:
    """The synchronizer of a policy.

    ``nearest`` is ours, `PairSynchronizer`; ``approximate`` and ``exact`` use ``message_filters``.
    ConfigError for another policy, and if ``message_filters`` is needed and not installed.
    """
    if policy not in POLICIES:
        raise ConfigError(f"sync.policy is {policy!r}: choose one of {', '.join(POLICIES)}")
    if policy == "nearest":
        return PairSynchronizer(slop_s, queue_size)
    return MessageFiltersSynchronizer(policy, slop_s, queue_size)


class MessageFiltersSynchronizer(Synchronizer[T]):
    """The pairing of ROS's own ``message_filters``, counted.

    Policy ``approximate`` pairs a message on arrival with the nearest one that waits, if they are
    less than the slop apart: less, not equal, so that a slop of 0 never makes a pair. Pairs may
    come out of order. Policy ``exact`` pairs equal stamps and ignores the slop. If two messages of
    a camera have the same stamp the later one replaces the other. No message is ever too old.

    It pairs by the stamps that it is given, which include clock offsets, not by the messages'
    headers. A stamp that a ROS time cannot hold (before 1970, after 2038) has no partner.
    """

    def __init__(
        self, policy: str, slop_s: float = 0.05, queue_size: int = 10, jump_s: float = 1.0
    ) -> None:
        super().__init__(slop_s, queue_size, jump_s)
        filters = _message_filters(policy)
        self._inputs = Both(filters.SimpleFilter(), filters.SimpleFilter())
        inputs = list(self._inputs)
        if policy == "exact":
            self._matcher = filters.TimeSynchronizer(inputs, queue_size)
        else:
            self._matcher = filters.ApproximateTimeSynchronizer(inputs, queue_size, slop_s)
        self._matcher.registerCallback(self._on_pair)
        self._made: list[Pair[T]] = []

    @property
    def waiting(self) -> Both[int]:
        """How many messages wait."""
        return self._queues.map(len)

    @property
    def _queues(self) -> Both[dict[Any, Any]]:
        return Both(*self._matcher.queues)

    def _pairs_with(self, camera: Camera, stamp_ns: int, item: T) -> list[Pair[T]]:
        if not 0 <= stamp_ns < STAMP_LIMIT_NS:
            self.counts.no_partner += 1  # message_filters would raise and keep its lock
            return []
        self._matcher.queue_size = self.queue_size
        self._matcher.slop = Duration(seconds=self.slop_s)
        known = sum(self.waiting) + 1
        duplicates = int(stamp_ns in self._queues[camera])
        self._inputs[camera].signalMessage(_stamped(stamp_ns, item))
        pairs, self._made = self._made, []
        self.counts.duplicate += duplicates
        self.counts.no_partner += known - duplicates - 2 * len(pairs) - sum(self.waiting)
        return pairs

    def _on_pair(self, infrared: Any, visible: Any) -> None:
        """Only stores: message_filters holds its lock during this call."""
        skew_ns = infrared.stamp_ns - visible.stamp_ns
        self._made.append(Pair(infrared.item, visible.item, skew_ns))

    def _forget(self, camera: Camera) -> None:
        self._queues[camera].clear()


def _stamped(stamp_ns: int, item: object) -> SimpleNamespace:
    """An item wrapped in an object that ``message_filters`` accepts as a message."""
    seconds, nanoseconds = split_ns(stamp_ns)
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
