"""Pairs the messages of two cameras by stamp: mutual-nearest, bounded, everything counted.

Stamps are integer nanoseconds; items can be anything. This module knows nothing of ROS.

Two messages are a pair when each is the other's nearest among those still unpaired, and they
are no more than the slop apart. The messages that a pair leaves before it are paired by the same
rule, because pairs come in order of time. The rhythm of a stream tells whether a nearer message
may still come: the next one is not expected before the shortest recent interval has passed. Where
the transport lately changed the order of a stream, pairs wait for as long as its messages were
late, so that they still come out in order of time.

Unless the streams' rates differ, a later message must be clearly nearer to win over an earlier
one. Otherwise, for cameras that are half a period apart, jitter would change the choice from frame
to frame, and every change costs a pair.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, TypeVar

from dreamif_model.cameras import Both, Camera
from dreamif_ros.stamps import from_seconds

T = TypeVar("T")

ORDERED_RUN = 64  # messages in order after which a stream counts as ordered again
RHYTHM = 16  # recent intervals that tell a stream's rhythm
KNOWN_RHYTHM = 4  # minimum number of intervals before the rhythm is trusted
SAME_RATE = 1.1  # maximum ratio of two rhythms that count as one rate
CLEARLY_NEARER = 2 / 3  # share of the earlier partner's distance, at one rate
LATE_RUN = 7  # consecutive messages that came too late: after these the clock was set back
_stamp_of = attrgetter("stamp_ns")


@dataclass(frozen=True)
class _Message(Generic[T]):
    """A message that waits for a partner."""

    stamp_ns: int
    item: T


@dataclass
class Pair(Both[T]):
    """The items of two messages that belong together."""

    skew_ns: int  # infrared stamp minus visible stamp


@dataclass
class PairingCounts:
    """What became of every message that no longer waits.

    Messages received = 2 paired + no_partner + too_old + duplicate + cleared + those that wait.
    """

    paired: int = 0  # pairs, each of two messages
    no_partner: int = 0  # passed over by a later pair, or dropped from a full queue
    too_old: int = 0  # came after a later message of its stream had been paired
    duplicate: int = 0  # its stamp was already waiting, or was paired last
    cleared: int = 0  # waited when time was set back
    jumps: int = 0  # no messages, but how often time was set back; a jump of both streams is one


@dataclass
class _Rhythm:
    """What a stream's stamps tell about its next one."""

    newest_ns: int | None = None
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=RHYTHM))
    late: deque[int] = field(default_factory=lambda: deque(maxlen=ORDERED_RUN))

    def add(self, stamp_ns: int, slop_ns: int) -> None:
        """Take the stamp of a message; a lateness of more than the slop does not count."""
        if self.newest_ns is None:
            self.newest_ns = stamp_ns
            return
        since_ns = stamp_ns - self.newest_ns
        self.late.append(-since_ns if -slop_ns <= since_ns < 0 else 0)
        if since_ns > 0:
            self.intervals.append(since_ns)
            self.newest_ns = stamp_ns

    @property
    def shortest_ns(self) -> int:
        """Shortest recent interval, 0 while it is not known."""
        return min(self.intervals) if len(self.intervals) >= KNOWN_RHYTHM else 0

    def may_bring_before(self, stamp_ns: float) -> bool:
        if self.newest_ns is None:
            return True
        latest_ns = max(self.late, default=0)
        ahead_ns = -latest_ns if latest_ns else self.shortest_ns
        return self.newest_ns + ahead_ns < stamp_ns


class Synchronizer(ABC, Generic[T]):
    """Feed the messages of both cameras; take the pairs that each message completes.

    Both limits can be set at any time and hold from the next message on. Not thread-safe.

    Args:
        slop_s: Maximum stamp distance of a pair, in seconds.
        queue_size: Maximum number of messages that wait per camera; the oldest is dropped when
            one more comes.
        jump_s: A stamp that is this many seconds behind the newest of its stream means that time
            was set back (a looping bag): what waits of the stream is cleared, and pairing goes on.

    Raises:
        ValueError: For limits out of range.
    """

    def __init__(self, slop_s: float = 0.05, queue_size: int = 10, jump_s: float = 1.0) -> None:
        self.slop_s, self.queue_size = slop_s, queue_size
        self.counts = PairingCounts()
        self._jump_ns = from_seconds(jump_s)
        self._rhythms = Both(_Rhythm(), _Rhythm())
        self._jumps = Both(0, 0)

    @property
    def slop_s(self) -> float:
        """Maximum stamp distance of a pair, in seconds: 0 or more."""
        return self._slop_s

    @slop_s.setter
    def slop_s(self, value: float) -> None:
        if not 0 <= value < math.inf:  # false for NaN
            raise ValueError(f"slop_s is {value}, expected seconds, at least 0 and finite")
        self._slop_s = value

    @property
    def queue_size(self) -> int:
        """Maximum number of messages of each camera that wait: 1 or more."""
        return self._queue_size

    @queue_size.setter
    def queue_size(self, value: int) -> None:
        if value < 1:
            raise ValueError(f"queue_size is {value}, expected at least 1")
        self._queue_size = value

    @property
    @abstractmethod
    def waiting(self) -> Both[int]:
        """How many messages wait."""

    def add(self, camera: Camera, stamp_ns: int, item: T) -> list[Pair[T]]:
        """Take one message of a camera; return the pairs that are now certain."""
        if self._is_set_back(camera, stamp_ns):
            # A jump of both streams counts once: the second stream only catches up with the first.
            self._jumps[camera] += 1
            self.counts.jumps = max(self._jumps)
            self._clear(camera)
        self._rhythms[camera].add(stamp_ns, from_seconds(self.slop_s))
        pairs = self._pairs_with(camera, stamp_ns, item)
        if pairs:
            self._jumps = Both(self.counts.jumps, self.counts.jumps)
        self.counts.paired += len(pairs)
        return pairs

    def clear(self) -> None:
        """Forget all that waits and every stamp seen, as after a jump of the node's clock."""
        for camera in Camera:
            self._clear(camera)

    def _is_set_back(self, camera: Camera, stamp_ns: int) -> bool:
        newest_ns = self._rhythms[camera].newest_ns
        return newest_ns is not None and stamp_ns < newest_ns - self._jump_ns

    def _clear(self, camera: Camera) -> None:
        self.counts.cleared += self.waiting[camera]
        self._rhythms[camera] = _Rhythm()
        self._forget(camera)

    @abstractmethod
    def _pairs_with(self, camera: Camera, stamp_ns: int, item: T) -> list[Pair[T]]:
        """Take one message and return the pairs that are now certain; count what is dropped."""

    @abstractmethod
    def _forget(self, camera: Camera) -> None:
        """Drop what waits of one camera."""


@dataclass(frozen=True)
class _Nearest:
    """The rule of pairing, over messages that are sorted by stamp."""

    slop_ns: int
    later_share: float  # a later partner wins when nearer than this share of the earlier's distance

    def partner(self, stamp_ns: int, others: Sequence[_Message[T]]) -> int | None:
        """Index of the best partner of a stamp; None if none is within the slop."""
        later = bisect_right(others, stamp_ns, key=_stamp_of)
        before_ns = stamp_ns - others[later - 1].stamp_ns if later > 0 else math.inf
        after_ns = others[later].stamp_ns - stamp_ns if later < len(others) else math.inf
        if min(before_ns, after_ns) > self.slop_ns:
            return None
        takes_later = before_ns > self.slop_ns or after_ns < self.later_share * before_ns
        return later if takes_later else later - 1

    def mutual(self, waiting: Both[list[_Message[T]]]) -> Iterator[Both[int]]:
        """Indices of the messages that are each other's best partner, in order of time."""
        for index, message in enumerate(waiting.infrared):
            partner = self.partner(message.stamp_ns, waiting.visible)
            if partner is None:
                continue
            if self.partner(waiting.visible[partner].stamp_ns, waiting.infrared) == index:
                yield Both(index, partner)

    def all_pairs(self, waiting: Both[list[_Message[T]]]) -> list[Both[_Message[T]]]:
        """Every pair if no message comes any more: the mutual ones, then those between them."""
        pairs = []
        spans = [waiting]
        while spans:
            infrared, visible = spans.pop()
            for i, v in self.mutual(Both(infrared, visible)):
                pairs.append(Both(infrared[i], visible[v]))
                spans.append(Both(infrared[:i], visible[:v]))
                spans.append(Both(infrared[i + 1 :], visible[v + 1 :]))
                break
        return sorted(pairs, key=lambda pair: pair.infrared.stamp_ns)


class PairSynchronizer(Synchronizer[T]):
    """Mutual-nearest: the pairs' stamps increase for both cameras, until time is set back.

    The slop is inclusive. Equal stamps are paired at once, others when no nearer partner is
    expected, at the latest when a queue is full. Several messages in a row that all came too late
    count as time that was set back by less than jump_s.
    """

    def __init__(self, slop_s: float = 0.05, queue_size: int = 10, jump_s: float = 1.0) -> None:
        super().__init__(slop_s, queue_size, jump_s)
        self._waiting: Both[list[_Message[T]]] = Both([], [])  # sorted by stamp
        self._paired_ns: Both[int | None] = Both(None, None)  # stamps of the newest pair
        self._late = Both(0, 0)  # messages in a row that were too old

    @property
    def waiting(self) -> Both[int]:
        """How many messages wait."""
        return self._waiting.map(len)

    def _is_set_back(self, camera: Camera, stamp_ns: int) -> bool:
        late_run = self._late[camera] >= LATE_RUN and self._is_late(camera, stamp_ns)
        return late_run or super()._is_set_back(camera, stamp_ns)

    def _is_late(self, camera: Camera, stamp_ns: int) -> bool:
        paired_ns = self._paired_ns[camera]
        return paired_ns is not None and stamp_ns < paired_ns

    def _forget(self, camera: Camera) -> None:
        self._waiting[camera].clear()
        self._paired_ns[camera], self._late[camera] = None, 0

    def _pairs_with(self, camera: Camera, stamp_ns: int, item: T) -> list[Pair[T]]:
        if self._holds(camera, stamp_ns):
            self.counts.duplicate += 1
            return []
        if self._is_late(camera, stamp_ns):
            self.counts.too_old += 1
            self._late[camera] += 1
            return []
        self._late[camera] = 0
        insort(self._waiting[camera], _Message(stamp_ns, item), key=_stamp_of)
        return [*self._certain_pairs(), *self._make_room(camera)]

    def _holds(self, camera: Camera, stamp_ns: int) -> bool:
        waiting, index = self._waiting[camera], self._index(camera, stamp_ns)
        waits = index < len(waiting) and waiting[index].stamp_ns == stamp_ns
        return waits or stamp_ns == self._paired_ns[camera]

    def _index(self, camera: Camera, stamp_ns: int) -> int:
        return bisect_left(self._waiting[camera], stamp_ns, key=_stamp_of)

    @property
    def _rule(self) -> _Nearest:
        """The rule of pairing with the slop and the rhythms of now."""
        shorter, longer = sorted(rhythm.shortest_ns for rhythm in self._rhythms)
        rates_differ = 0 < SAME_RATE * shorter < longer  # as far as known
        return _Nearest(from_seconds(self.slop_s), 1.0 if rates_differ else CLEARLY_NEARER)

    def _certain_pairs(self) -> Iterator[Pair[T]]:
        """Take out every pair that no later message is expected to undo."""
        rule = self._rule
        while found := next(filter(self._is_certain, rule.mutual(self._waiting)), None):
            yield from self._take(found)

    def _is_certain(self, pair: Both[int]) -> bool:
        infrared_ns, visible_ns = (self._waiting[c][i].stamp_ns for c, i in pair.items())
        reach_ns = abs(infrared_ns - visible_ns) * self._rule.later_share
        return not (
            self._rhythms.infrared.may_bring_before(visible_ns + reach_ns)
            or self._rhythms.visible.may_bring_before(infrared_ns + reach_ns)
        )

    def _take(self, found: Both[int]) -> Iterator[Pair[T]]:
        """Take out a pair and all that waited before it: nothing can come between them now."""
        (infrared, visible), (i, v) = self._waiting, found
        pairs = self._rule.all_pairs(Both(infrared[:i], visible[:v]))
        pairs.append(Both(infrared[i], visible[v]))
        for camera, index in found.items():
            del self._waiting[camera][: index + 1]
            self._paired_ns[camera] = pairs[-1][camera].stamp_ns
        self.counts.no_partner += sum(found) + 2 - 2 * len(pairs)
        for one, other in pairs:
            yield Pair(one.item, other.item, skew_ns=one.stamp_ns - other.stamp_ns)

    def _make_room(self, camera: Camera) -> Iterator[Pair[T]]:
        """Shrink a full queue to its size: pair the oldest as things are, or drop it."""
        waiting = self._waiting[camera]
        while len(waiting) > self.queue_size:
            pairs = self._rule.all_pairs(self._waiting)
            if pairs and pairs[0][camera] is waiting[0]:
                indices = [self._index(c, message.stamp_ns) for c, message in pairs[0].items()]
                yield from self._take(Both(*indices))
            else:
                del waiting[0]
                self.counts.no_partner += 1
