"""Made-up traces of two cameras' messages, and what a synchronizer makes of one."""

import random
from dataclasses import dataclass
from statistics import mean

from dreamif_model.cameras import Camera

MS = 1_000_000  # nanoseconds
PERIOD_MS = 1000 / 30
CAMERAS = {"i": Camera.INFRARED, "v": Camera.VISIBLE}  # by the letters of a trace


@dataclass(frozen=True)
class Arrival:
    """A message that comes at a time, both in nanoseconds."""

    time_ns: int
    side: str  # "i" or "v"
    stamp_ns: int


@dataclass(frozen=True)
class Emission:
    """A pair that was given out at a time."""

    time_ns: int
    infrared_ns: int
    visible_ns: int

    @property
    def skew_ns(self):
        return abs(self.infrared_ns - self.visible_ns)


def trace(
    seed=0,
    seconds=7.0,
    offset_ms=0.0,
    jitter_ms=0.0,
    drops=0.0,
    infrared_ms=PERIOD_MS,
    visible_ms=PERIOD_MS,
    infrared_delay_ms=0.0,
    transport_ms=0.0,
):
    """Two cameras with periods, in order of arrival; a common frame well after settles the rest.

    Infrared stamps are `offset_ms` later. Stamps are off by up to `jitter_ms`, arrivals late by
    up to `transport_ms`, both uniformly; of each stream a share `drops` is missing.
    """
    rng = random.Random(seed)

    def camera(side, period_ms, first_ms, delay_ms):
        for index in range(round(seconds * 1000 / period_ms)):
            stamp_ms = first_ms + index * period_ms + rng.uniform(-jitter_ms, jitter_ms)
            if rng.random() >= drops:
                arrival_ms = stamp_ms + delay_ms + rng.uniform(0, transport_ms)
                yield Arrival(round(arrival_ms * MS), side, round(stamp_ms * MS))

    infrared = camera("i", infrared_ms, 1000 + offset_ms, infrared_delay_ms)
    visible = camera("v", visible_ms, 1000, 0)
    end_ns = round((1000 + seconds * 1000 + 300) * MS)
    closing = [Arrival(end_ns, side, end_ns) for side in "iv"]
    return sorted([*infrared, *visible], key=lambda arrival: arrival.time_ns) + closing


def play(synchronizer, arrivals):
    """Feed a trace; the pairs with the time of the message that gave them out."""
    emissions = []
    for arrival in arrivals:
        for pair in synchronizer.add(CAMERAS[arrival.side], arrival.stamp_ns, arrival.stamp_ns):
            emissions.append(Emission(arrival.time_ns, pair.infrared, pair.visible))
    return emissions


def mean_skew_ms(emissions):
    return mean(emission.skew_ns for emission in emissions) / MS


def mean_latency_ms(emissions, arrivals):
    """From the later message of a pair to the pair."""
    came = {(arrival.side, arrival.stamp_ns): arrival.time_ns for arrival in arrivals}
    return (
        mean(e.time_ns - max(came["i", e.infrared_ns], came["v", e.visible_ns]) for e in emissions)
        / MS
    )


def in_order(emissions):
    """Without the pairs of which one message is older than one of a pair before."""
    kept = []
    for emission in emissions:
        if not kept or (
            emission.infrared_ns > kept[-1].infrared_ns
            and emission.visible_ns > kept[-1].visible_ns
        ):
            kept.append(emission)
    return kept


def feed(synchronizer, messages):
    """Feed (arrival order) `("i" | "v", stamp_ms)`; returns the pairs as stamps in ms."""
    pairs = []
    for side, stamp in messages:
        pairs += map(tuple, synchronizer.add(CAMERAS[side], round(stamp * MS), stamp))
    return pairs


def counted(synchronizer):
    """How many messages the counts and the queues account for."""
    counts = synchronizer.counts
    dropped = counts.no_partner + counts.too_old + counts.duplicate + counts.cleared
    return 2 * counts.paired + dropped + sum(synchronizer.waiting)
