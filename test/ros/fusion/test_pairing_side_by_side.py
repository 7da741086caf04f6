"""Ours beside the real message_filters on the same traces: pairs, mean skew, latency.

What holds is in the tests' names; benchmarks/pairing.py prints the figures.
"""

from importlib.util import find_spec

import pytest
from helpers.pairing_traces import (
    MS,
    PERIOD_MS,
    in_order,
    mean_latency_ms,
    mean_skew_ms,
    play,
    trace,
)

from dreamif_ros.fusion.synchronizers import make_synchronizer

pytestmark = pytest.mark.skipif(
    find_spec("message_filters") is None, reason="needs message_filters, as ROS installations have"
)

SEEDS = range(3)
WIDE_S, NARROW_S = 0.05, 0.016  # longer than a period, shorter than half a period of 30 Hz
OFFSETS_MS = [0, 3, 8, 12, 20, 25, 30]
HALF_MS = [16, 16.6, 17]
RATES = [{"infrared_ms": 1000 / hertz} for hertz in (9, 15, 25, 29.9)]
EPSILON_MS = 1e-9  # the mean of the same skews in another order


def ours_and_theirs(arrivals, slop_s):
    return tuple(play(make_synchronizer(p, slop_s), arrivals) for p in ("nearest", "approximate"))


@pytest.mark.parametrize("offset", OFFSETS_MS + HALF_MS)
@pytest.mark.parametrize("jitter", [0, 1])
def test_steady_cameras_no_pair_fewer_but_one_at_the_ends_never_more_skew_and_no_wait(
    offset, jitter
):
    """One: the first visible and the last infrared, where the nearest is a frame away."""
    for seed in SEEDS:
        arrivals = trace(seed, offset_ms=offset, jitter_ms=jitter)
        ours, theirs = ours_and_theirs(arrivals, WIDE_S)
        assert len(ours) >= len(theirs) - (offset > PERIOD_MS / 2)
        assert mean_skew_ms(ours) <= mean_skew_ms(theirs) + EPSILON_MS
        assert mean_latency_ms(ours, arrivals) < 1.0  # until the rhythm is known


@pytest.mark.parametrize("offset", HALF_MS)
@pytest.mark.parametrize("jitter", [2, 3])
def test_half_a_period_apart_strong_jitter_costs_at_most_a_twentieth(offset, jitter):
    """Jitter of a tenth of the period: either neighbour may then be the clearly nearer one."""
    for seed in SEEDS:
        ours, theirs = ours_and_theirs(trace(seed, offset_ms=offset, jitter_ms=jitter), WIDE_S)
        assert len(ours) >= 0.95 * len(theirs)
        assert mean_skew_ms(ours) <= mean_skew_ms(theirs) + 0.3


@pytest.mark.parametrize("setting", [{"offset_ms": o} for o in OFFSETS_MS] + RATES, ids=str)
@pytest.mark.parametrize("jitter", [0, 2])
@pytest.mark.parametrize("drops", [0, 0.2])
def test_within_half_a_period_never_a_pair_fewer_and_never_more_skew(setting, jitter, drops):
    """Whatever the rates, and with a fifth of the frames missing."""
    for seed in SEEDS:
        arrivals = trace(seed, jitter_ms=jitter, drops=drops, **setting)
        ours, theirs = ours_and_theirs(arrivals, NARROW_S)
        assert len(ours) >= len(theirs)
        assert mean_skew_ms(ours) <= mean_skew_ms(theirs) + EPSILON_MS
        assert mean_latency_ms(ours, arrivals) < PERIOD_MS


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("jitter", [0, 2])
def test_different_rates_never_a_pair_fewer_and_never_more_skew(rate, jitter):
    for seed in SEEDS:
        arrivals = trace(seed, offset_ms=5, jitter_ms=jitter, **rate)
        ours, theirs = ours_and_theirs(arrivals, WIDE_S)
        assert len(ours) >= len(theirs)
        assert mean_skew_ms(ours) <= mean_skew_ms(theirs) + EPSILON_MS
        assert mean_latency_ms(ours, arrivals) < 8.0


@pytest.mark.parametrize("offset", OFFSETS_MS)
def test_missing_frames_never_a_near_pair_fewer_and_never_more_skew(offset):
    """Up to a tenth fewer pairs in total: theirs also pairs frames that are a period apart.

    After a missing frame theirs pairs with the frame of another moment, and keeps on doing so.
    """
    for seed in SEEDS:
        arrivals = trace(seed, offset_ms=offset, jitter_ms=1, drops=0.2)
        ours, theirs = ours_and_theirs(arrivals, WIDE_S)
        for limit_ms in (1, 2, 4, 8, 12, 14):
            near, their_near = (sum(e.skew_ns <= limit_ms * MS for e in p) for p in (ours, theirs))
            assert near >= their_near
        assert len(ours) >= 0.9 * len(theirs)
        assert mean_skew_ms(ours) <= mean_skew_ms(theirs) + EPSILON_MS


@pytest.mark.parametrize("offset", [0, 3, 12])
@pytest.mark.parametrize("slop_s", [WIDE_S, NARROW_S])
def test_out_of_order_never_fewer_than_their_pairs_that_are_in_order(offset, slop_s):
    """Theirs gives out pairs of the past too: ours are in order of time."""
    for seed in SEEDS:
        arrivals = trace(seed, offset_ms=offset, jitter_ms=1, transport_ms=60)
        ours, theirs = ours_and_theirs(arrivals, slop_s)
        assert in_order(ours) == ours
        assert len(in_order(theirs)) < len(theirs)
        assert len(ours) >= len(in_order(theirs))
        assert mean_skew_ms(ours) <= mean_skew_ms(theirs) + 0.1


@pytest.mark.parametrize("offset", [0, 3, 12, 30])
def test_a_camera_that_always_comes_late_makes_no_difference(offset):
    for seed in SEEDS:
        arrivals = trace(seed, offset_ms=offset, jitter_ms=1, infrared_delay_ms=80)
        ours, theirs = ours_and_theirs(arrivals, WIDE_S)
        assert len(ours) >= len(theirs)
        assert mean_skew_ms(ours) <= mean_skew_ms(theirs) + EPSILON_MS
        assert mean_latency_ms(ours, arrivals) < 1.0
