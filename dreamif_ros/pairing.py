"""Pairs the messages of two streams by stamp: mutual-nearest, bounded, everything counted.

Knows nothing of ROS: stamps are integer nanoseconds, items are opaque.

Two messages are a pair when each is the other's nearest among those still unpaired, and they
are no more than the slop apart. Whether something nearer may still come is told from the
stream's own rhythm: the next message is not expected before half the shortest recent interval
has passed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")
RHYTHM = 16  # recent intervals that tell a stream's rhythm
LATE_RUN = 16  # messages in a row that came too late: not disorder, but a clock that was set back
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Pair(Generic[A, B]):
    """Two items of the same moment."""

    infrared: A
    visible: B
    skew_ns: int  # infrared stamp minus visible stamp


@dataclass
class PairingCounts:
    """What became of every message that is no longer waiting."""

    paired: int = 0  # pairs, each of two messages
    no_partner: int = 0  # nothing of the other stream was within the slop
    too_old: int = 0  # came after a pair of later stamps had been made
    duplicate: int = 0  # the stamp was already waiting
    cleared: int = 0  # waiting when a stream jumped back in time


@dataclass
class _Stream:
    """Waiting messages of one camera, sorted by stamp, and its rhythm."""

    waiting: list[tuple[int, object]] = field(default_factory=list)
    newest_ns: int | None = None
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=RHYTHM))

    def insert(self, stamp_ns: int, item: object) -> None:
        insort(self.waiting, (stamp_ns, item), key=itemgetter(0))
        if self.newest_ns is not None and stamp_ns > self.newest_ns:
            self.intervals.append(stamp_ns - self.newest_ns)
        self.newest_ns = max(stamp_ns, self.newest_ns or stamp_ns)

    def holds(self, stamp_ns: int) -> bool:
        index = bisect_left(self.waiting, stamp_ns, key=itemgetter(0))
        return index < len(self.waiting) and self.waiting[index][0] == stamp_ns

    def nearest(self, stamp_ns: int) -> int | None:
        """Index of the waiting message nearest to ``stamp_ns``; of two, the earlier."""
        right = bisect_left(self.waiting, stamp_ns, key=itemgetter(0))
        around = [i for i in (right - 1, right) if 0 <= i < len(self.waiting)]
        return min(around, key=lambda i: abs(self.waiting[i][0] - stamp_ns), default=None)

    def may_still_bring(self, stamp_ns: int) -> bool:
        """Whether a message before ``stamp_ns`` may still come, by the stream's rhythm."""
        if self.newest_ns is None:
            return True
        quiet = min(self.intervals) // 2 if len(self.intervals) > 1 else 0
        return self.newest_ns + quiet < stamp_ns


class PairSynchronizer(Generic[A, B]):
    """Feed both streams; take the pairs that each message completes, in order of time.

    slop_s: greatest distance of a pair, in seconds, inclusive. queue_size: messages that wait
    per stream; the oldest goes when one more comes. jump_s: a stamp this far behind the
    stream's newest, or a run of late ones, means that time itself was set back (a looping bag):
    everything is cleared.
    Not thread-safe.
    """

    def __init__(self, slop_s: float = 0.05, queue_size: int = 10, jump_s: float = 1.0) -> None:
        if slop_s < 0 or queue_size < 1:
            raise ValueError(
                f"slop_s must be at least 0 and queue_size at least 1, got {slop_s}, {queue_size}"
            )
        self.counts = PairingCounts()
        self._slop_ns, self._jump_ns = round(slop_s * NANOSECONDS), round(jump_s * NANOSECONDS)
        self._queue_size = queue_size
        self._infrared, self._visible = _Stream(), _Stream()
        self._paired_ns: tuple[int, int] | None = None  # stamps of the newest pair
        self._late = 0  # messages in a row that were too old

    def add_infrared(self, stamp_ns: int, item: A) -> list[Pair[A, B]]:
        """Take one infrared message; return the pairs that are now certain."""
        return self._add(self._infrared, 0, stamp_ns, item)

    def add_visible(self, stamp_ns: int, item: B) -> list[Pair[A, B]]:
        """Take one visible message; return the pairs that are now certain."""
        return self._add(self._visible, 1, stamp_ns, item)

    def clear(self) -> None:
        """Forget all that waits, as after a jump of the clock."""
        self.counts.cleared += len(self._infrared.waiting) + len(self._visible.waiting)
        self._infrared, self._visible = _Stream(), _Stream()
        self._paired_ns, self._late = None, 0

    def _add(self, stream: _Stream, side: int, stamp_ns: int, item: object) -> list[Pair[A, B]]:
        if stream.newest_ns is not None and stamp_ns < stream.newest_ns - self._jump_ns:
            self.clear()
            stream = (self._infrared, self._visible)[side]
        if self._paired_ns is not None and stamp_ns <= self._paired_ns[side]:
            self.counts.too_old += 1
            self._late += 1
            if self._late >= LATE_RUN:
                self.clear()
            return []
        self._late = 0
        if stream.holds(stamp_ns):
            self.counts.duplicate += 1
            return []
        stream.insert(stamp_ns, item)
        pairs = list(self._certain_pairs())
        self._drop_hopeless()
        return pairs

    def _certain_pairs(self) -> Iterator[Pair[A, B]]:
        """Take out, oldest first, every pair that no later message can undo."""
        index = 0
        while index < len(self._infrared.waiting):
            partner = self._certain_partner(index)
            if partner is None:
                index += 1
                continue
            yield self._take(index, partner)
            index = 0

    def _certain_partner(self, index: int) -> int | None:
        """Index of the visible message that waiting infrared ``index`` is certain to pair with."""
        infrared_ns = self._infrared.waiting[index][0]
        partner = self._visible.nearest(infrared_ns)
        if partner is None:
            return None
        visible_ns = self._visible.waiting[partner][0]
        distance = abs(infrared_ns - visible_ns)
        if distance > self._slop_ns or self._infrared.nearest(visible_ns) != index:
            return None
        nearer_may_come = self._visible.may_still_bring(
            infrared_ns + distance
        ) or self._infrared.may_still_bring(visible_ns + distance)
        return None if distance and nearer_may_come else partner

    def _take(self, infrared: int, visible: int) -> Pair[A, B]:
        """Remove a pair and all that waited before it."""
        self.counts.no_partner += infrared + visible
        infrared_ns, infrared_item = self._infrared.waiting[infrared]
        visible_ns, visible_item = self._visible.waiting[visible]
        del self._infrared.waiting[: infrared + 1]
        del self._visible.waiting[: visible + 1]
        self._paired_ns = (infrared_ns, visible_ns)
        self.counts.paired += 1
        return Pair(infrared_item, visible_item, infrared_ns - visible_ns)  # type: ignore[arg-type]

    def _drop_hopeless(self) -> None:
        """Drop what is beyond the queue, or too far behind the other stream to find a partner."""
        for stream, other in (
            (self._infrared, self._visible),
            (self._visible, self._infrared),
        ):
            while stream.waiting and self._is_hopeless(stream, other):
                del stream.waiting[0]
                self.counts.no_partner += 1

    def _is_hopeless(self, stream: _Stream, other: _Stream) -> bool:
        if len(stream.waiting) > self._queue_size:
            return True
        oldest_ns = stream.waiting[0][0]
        nearest = other.nearest(oldest_ns)
        within = nearest is not None and (
            abs(other.waiting[nearest][0] - oldest_ns) <= self._slop_ns
        )
        return not within and not other.may_still_bring(oldest_ns + self._slop_ns + 1)
