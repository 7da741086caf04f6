"""Pairs the messages of two streams by stamp: mutual-nearest, bounded, everything counted.

Knows nothing of ROS: stamps are integer nanoseconds, items are opaque.

Two messages are a pair when each is the other's nearest among those still unpaired, and they
are no more than the slop apart. What a pair leaves behind it is paired by the same rule, for
pairs come in order of time. Whether something nearer may still come is told from the stream's
own rhythm: the next message is not expected before its shortest recent interval has passed.

Unless the streams' rates differ, a later message must be clearly nearer to win over an earlier
one: half a period apart, jitter would otherwise change the choice from frame to frame, and
every change costs a pair.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
Message = tuple[int, object]  # stamp in nanoseconds, item

INFRARED, VISIBLE = 0, 1
RHYTHM = 16  # recent intervals that tell a stream's rhythm
KNOWN_RHYTHM = 4  # intervals below which it is not trusted
SAME_RATE = 1.1  # greatest ratio of two rhythms that count as one rate
CLEARLY_NEARER = 2 / 3  # of the earlier partner's distance, at one rate
LATE_RUN = 7  # messages in a row that came too late: the next is a clock that was set back
NANOSECONDS = 1_000_000_000
_stamp = itemgetter(0)


@dataclass(frozen=True)
class Pair(Generic[A, B]):
    """Two items of the same moment."""

    infrared: A
    visible: B
    skew_ns: int  # infrared stamp minus visible stamp


@dataclass
class PairingCounts:
    """What became of every message that is no longer waiting.

    Received are 2 paired + no_partner + too_old + duplicate + cleared + those that wait.
    """

    paired: int = 0  # pairs, each of two messages
    no_partner: int = 0  # left over by a later pair, or by a full queue
    too_old: int = 0  # came after a later message of its stream had been paired
    duplicate: int = 0  # its stamp was already waiting, or was paired last
    cleared: int = 0  # waiting when time was set back
    jumps: int = 0  # not messages: times that time was set back; both streams' is one


@dataclass
class _Rhythm:
    """What a stream's stamps tell of its next one."""

    newest_ns: int | None = None
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=RHYTHM))

    def add(self, stamp_ns: int) -> None:
        if self.newest_ns is None:
            self.newest_ns = stamp_ns
        elif stamp_ns > self.newest_ns:
            self.intervals.append(stamp_ns - self.newest_ns)
            self.newest_ns = stamp_ns

    @property
    def shortest_ns(self) -> int:
        """Shortest recent interval, 0 while it is not known."""
        return min(self.intervals) if len(self.intervals) >= KNOWN_RHYTHM else 0

    def may_bring_before(self, stamp_ns: float) -> bool:
        return self.newest_ns is None or self.newest_ns + self.shortest_ns < stamp_ns


class Synchronizer(ABC, Generic[A, B]):
    """Feed both streams; take the pairs that each message completes.

    slop_s: greatest distance of a pair, in seconds. queue_size: messages that wait per stream;
    the oldest goes when one more comes. Both can be set at any time and hold from the next
    message on; ValueError for what is out of range. jump_s: a stamp this far behind its
    stream's newest means that time itself was set back (a looping bag): what waits of the
    stream is cleared, and pairing goes on. Not thread-safe.
    """

    def __init__(self, slop_s: float = 0.05, queue_size: int = 10, jump_s: float = 1.0) -> None:
        self.slop_s, self.queue_size = slop_s, queue_size
        self.counts = PairingCounts()
        self._jump_ns = round(jump_s * NANOSECONDS)
        self._rhythms = [_Rhythm(), _Rhythm()]
        self._jumps = [0, 0]

    @property
    def slop_s(self) -> float:
        """Greatest distance of a pair, in seconds: 0 or more."""
        return self._slop_s

    @slop_s.setter
    def slop_s(self, value: float) -> None:
        if not 0 <= value < math.inf:  # false for NaN
            raise ValueError(f"slop_s is {value}, expected seconds, at least 0 and finite")
        self._slop_s = value

    @property
    def queue_size(self) -> int:
        """Messages of each stream that may wait: 1 or more."""
        return self._queue_size

    @queue_size.setter
    def queue_size(self, value: int) -> None:
        if value < 1:
            raise ValueError(f"queue_size is {value}, expected at least 1")
        self._queue_size = value

    @property
    @abstractmethod
    def waiting(self) -> tuple[int, int]:
        """How many messages wait: infrared, visible."""

    def add_infrared(self, stamp_ns: int, item: A) -> list[Pair[A, B]]:
        """Take one infrared message; return the pairs that are now certain."""
        return self._add(INFRARED, stamp_ns, item)

    def add_visible(self, stamp_ns: int, item: B) -> list[Pair[A, B]]:
        """Take one visible message; return the pairs that are now certain."""
        return self._add(VISIBLE, stamp_ns, item)

    def clear(self) -> None:
        """Forget all that waits and every stamp seen, as after a jump of the node's clock."""
        for side in (INFRARED, VISIBLE):
            self._clear(side)

    def _add(self, side: int, stamp_ns: int, item: object) -> list[Pair[A, B]]:
        if self._is_set_back(side, stamp_ns):
            # Both streams' jump is one: the second only catches up with the first.
            self._jumps[side] += 1
            self.counts.jumps = max(self._jumps)
            self._clear(side)
        self._rhythms[side].add(stamp_ns)
        pairs = self._pairs_with(side, stamp_ns, item)
        if pairs:
            self._jumps = [self.counts.jumps] * 2
        self.counts.paired += len(pairs)
        return pairs

    def _is_set_back(self, side: int, stamp_ns: int) -> bool:
        newest_ns = self._rhythms[side].newest_ns
        return newest_ns is not None and stamp_ns < newest_ns - self._jump_ns

    def _clear(self, side: int) -> None:
        self.counts.cleared += self.waiting[side]
        self._rhythms[side] = _Rhythm()
        self._forget(side)

    @abstractmethod
    def _pairs_with(self, side: int, stamp_ns: int, item: object) -> list[Pair[A, B]]:
        """Take one message and return the pairs that are now certain; count what is dropped."""

    @abstractmethod
    def _forget(self, side: int) -> None:
        """Drop what waits of one stream."""


@dataclass(frozen=True)
class _Nearest:
    """The rule of pairing, over messages that are sorted by stamp."""

    slop_ns: int
    later_share: float  # a later partner wins when nearer than this share of the earlier's distance

    def partner(self, stamp_ns: int, others: Sequence[Message]) -> int | None:
        """Index of the message that goes best with a stamp; None without one within the slop."""
        later = bisect_right(others, stamp_ns, key=_stamp)
        before_ns = stamp_ns - others[later - 1][0] if later > 0 else math.inf
        after_ns = others[later][0] - stamp_ns if later < len(others) else math.inf
        if min(before_ns, after_ns) > self.slop_ns:
            return None
        takes_later = before_ns > self.slop_ns or after_ns < self.later_share * before_ns
        return later if takes_later else later - 1

    def mutual(
        self, infrared: Sequence[Message], visible: Sequence[Message]
    ) -> Iterator[tuple[int, int]]:
        """Indices of those that are each other's best, in order of time."""
        for index, (stamp_ns, _) in enumerate(infrared):
            partner = self.partner(stamp_ns, visible)
            if partner is not None and self.partner(visible[partner][0], infrared) == index:
                yield index, partner

    def all_pairs(
        self, infrared: Sequence[Message], visible: Sequence[Message]
    ) -> list[tuple[Message, Message]]:
        """Every pair when nothing more comes: the mutual ones, then those of what they leave."""
        pairs = []
        spans = [(infrared, visible)]
        while spans:
            infrared, visible = spans.pop()
            for i, v in self.mutual(infrared, visible):
                pairs.append((infrared[i], visible[v]))
                spans += [(infrared[:i], visible[:v]), (infrared[i + 1 :], visible[v + 1 :])]
                break
        return sorted(pairs, key=lambda pair: pair[0][0])


class PairSynchronizer(Synchronizer[A, B]):
    """Mutual-nearest: the pairs' stamps increase in both streams, until time is set back.

    The slop is inclusive. Equal stamps are paired at once, others when nothing nearer is to be
    expected, at the latest when a queue is full. A run of messages that all came too late
    counts as time that was set back by less than jump_s.
    """

    def __init__(self, slop_s: float = 0.05, queue_size: int = 10, jump_s: float = 1.0) -> None:
        super().__init__(slop_s, queue_size, jump_s)
        self._waiting: tuple[list[Message], list[Message]] = ([], [])  # sorted by stamp
        self._paired_ns: list[int | None] = [None, None]  # stamps of the newest pair
        self._late = [0, 0]  # messages in a row that were too old

    @property
    def waiting(self) -> tuple[int, int]:
        """How many messages wait: infrared, visible."""
        return len(self._waiting[INFRARED]), len(self._waiting[VISIBLE])

    def _is_set_back(self, side: int, stamp_ns: int) -> bool:
        late_run = self._late[side] >= LATE_RUN and self._is_late(side, stamp_ns)
        return late_run or super()._is_set_back(side, stamp_ns)

    def _is_late(self, side: int, stamp_ns: int) -> bool:
        paired_ns = self._paired_ns[side]
        return paired_ns is not None and stamp_ns < paired_ns

    def _forget(self, side: int) -> None:
        self._waiting[side].clear()
        self._paired_ns[side], self._late[side] = None, 0

    def _pairs_with(self, side: int, stamp_ns: int, item: object) -> list[Pair[A, B]]:
        if self._holds(side, stamp_ns):
            self.counts.duplicate += 1
            return []
        if self._is_late(side, stamp_ns):
            self.counts.too_old += 1
            self._late[side] += 1
            return []
        self._late[side] = 0
        insort(self._waiting[side], (stamp_ns, item), key=_stamp)
        return [*self._certain_pairs(), *self._make_room(side)]

    def _holds(self, side: int, stamp_ns: int) -> bool:
        waiting, index = self._waiting[side], self._index(side, stamp_ns)
        waits = index < len(waiting) and waiting[index][0] == stamp_ns
        return waits or stamp_ns == self._paired_ns[side]

    def _index(self, side: int, stamp_ns: int) -> int:
        return bisect_left(self._waiting[side], stamp_ns, key=_stamp)

    @property
    def _rule(self) -> _Nearest:
        """The rule of pairing with the slop and the rhythms of now."""
        shorter, longer = sorted(rhythm.shortest_ns for rhythm in self._rhythms)
        rates_differ = 0 < SAME_RATE * shorter < longer  # as far as known
        return _Nearest(round(self.slop_s * NANOSECONDS), 1.0 if rates_differ else CLEARLY_NEARER)

    def _certain_pairs(self) -> Iterator[Pair[A, B]]:
        """Take out every pair that no later message is expected to undo."""
        rule = self._rule
        while found := next(filter(self._is_certain, rule.mutual(*self._waiting)), None):
            yield from self._take(*found)

    def _is_certain(self, pair: tuple[int, int]) -> bool:
        infrared_ns, visible_ns = (w[i][0] for w, i in zip(self._waiting, pair, strict=True))
        reach_ns = abs(infrared_ns - visible_ns) * self._rule.later_share
        return not (
            self._rhythms[INFRARED].may_bring_before(visible_ns + reach_ns)
            or self._rhythms[VISIBLE].may_bring_before(infrared_ns + reach_ns)
        )

    def _take(self, infrared: int, visible: int) -> Iterator[Pair[A, B]]:
        """Take out a pair and all that waited before it: nothing can come between them now."""
        waiting = self._waiting
        pairs = self._rule.all_pairs(waiting[INFRARED][:infrared], waiting[VISIBLE][:visible])
        pairs.append((waiting[INFRARED][infrared], waiting[VISIBLE][visible]))
        del waiting[INFRARED][: infrared + 1], waiting[VISIBLE][: visible + 1]
        self._paired_ns = [stamp_ns for stamp_ns, _ in pairs[-1]]
        self.counts.no_partner += infrared + visible + 2 - 2 * len(pairs)
        for (infrared_ns, one), (visible_ns, other) in pairs:
            yield Pair(one, other, infrared_ns - visible_ns)  # type: ignore[arg-type]

    def _make_room(self, side: int) -> Iterator[Pair[A, B]]:
        """Bring a full queue back to its size: the oldest is paired as things are, or dropped."""
        waiting = self._waiting[side]
        while len(waiting) > self.queue_size:
            pairs = self._rule.all_pairs(*self._waiting)
            if pairs and pairs[0][side] is waiting[0]:
                infrared, visible = pairs[0]
                yield from self._take(
                    self._index(INFRARED, infrared[0]), self._index(VISIBLE, visible[0])
                )
            else:
                del waiting[0]
                self.counts.no_partner += 1
