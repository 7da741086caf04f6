"""Mutual-nearest pairing against a brute-force matcher over the whole trace."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamif_ros.pairing import PairSynchronizer

MS = 1_000_000


def feed(synchronizer, messages):
    """Feed (arrival order) `("i" | "v", stamp_ms)`; returns the pairs as stamps in ms."""
    pairs = []
    for side, stamp in messages:
        add = synchronizer.add_infrared if side == "i" else synchronizer.add_visible
        pairs += [(pair.infrared, pair.visible) for pair in add(stamp * MS, stamp)]
    return pairs


def brute_force(infrared, visible, slop):
    """Every pair of which each is the other's nearest (of two, the earlier), within the slop."""

    def nearest(stamp, others):
        return min(others, key=lambda other: (abs(other - stamp), other), default=None)

    return [
        (i, v)
        for i in infrared
        for v in visible
        if nearest(i, visible) == v and nearest(v, infrared) == i and abs(i - v) <= slop
    ]


def counted(synchronizer, waiting=0):
    counts = synchronizer.counts
    dropped = counts.no_partner + counts.too_old + counts.duplicate + counts.cleared
    return 2 * counts.paired + dropped + waiting


@st.composite
def camera(draw, start, span_ms=600):
    """Stamps in ms of a camera with a steady rhythm and jitter up to a tenth of its period."""
    period = draw(st.integers(20, 120))
    first = start + draw(st.integers(0, 60))
    jitter = st.integers(-period // 10, period // 10)
    return [first + k * period + draw(jitter) for k in range(span_ms // period)]


@given(camera(start=1000), camera(start=1000), st.integers(0, 80))
def test_every_mutual_nearest_pair_is_made(infrared, visible, slop):
    """Beyond the brute-force pairs only leftovers are paired, in order, each message once."""
    messages = sorted(
        [("i", s) for s in infrared] + [("v", s) for s in visible], key=lambda m: m[1]
    )
    closing = [("i", 5000), ("v", 5000)]  # settles what waits
    synchronizer = PairSynchronizer(slop_s=slop / 1000, queue_size=1000, jump_s=100)
    pairs = feed(synchronizer, messages + closing)
    assert set(brute_force(infrared, visible, slop)) <= set(pairs)
    assert all(abs(i - v) <= slop for i, v in pairs)
    for before, after in pairwise(pairs):
        assert before[0] < after[0]
        assert before[1] < after[1]
    assert counted(synchronizer) == len(messages) + 2


@given(
    st.lists(st.tuples(st.sampled_from("iv"), st.integers(0, 300)), max_size=60),
    st.integers(1, 5),
)
def test_every_message_is_counted_whatever_the_order(messages, queue_size):
    synchronizer = PairSynchronizer(slop_s=0.02, queue_size=queue_size, jump_s=0.1)
    pairs = feed(synchronizer, messages)
    waiting = len(synchronizer._infrared.waiting) + len(synchronizer._visible.waiting)
    assert counted(synchronizer, waiting) == len(messages)
    assert waiting <= 2 * queue_size
    assert all(abs(i - v) <= 20 for i, v in pairs)


def test_equal_stamps_pair_at_once():
    assert feed(PairSynchronizer(), [("i", 100), ("v", 100)]) == [(100, 100)]


def test_a_near_partner_one_message_away_wins_over_a_far_one():
    messages = [("v", 100), ("i", 130), ("v", 133), ("i", 163), ("v", 166)]
    pairs = feed(PairSynchronizer(slop_s=0.05), messages)
    assert pairs[0] == (130, 133)


def test_a_steady_offset_is_paired_without_waiting_for_the_next_frame():
    synchronizer = PairSynchronizer(slop_s=0.05)
    for k in range(5):  # learn the rhythm of 33 ms
        feed(synchronizer, [("v", 100 + 33 * k), ("i", 105 + 33 * k)])
    assert feed(synchronizer, [("v", 265), ("i", 270)]) == [(270, 265)]


def test_nine_hertz_thermal_with_thirty_hertz_visible():
    visible = [("v", 1000 + round(k * 1000 / 30)) for k in range(90)]
    infrared = [("i", 1000 + round(k * 1000 / 9)) for k in range(27)]
    messages = sorted(visible + infrared, key=lambda m: m[1])
    pairs = feed(PairSynchronizer(slop_s=0.02), messages)
    assert len(pairs) >= 26
    assert max(abs(i - v) for i, v in pairs) <= 17


def test_the_slop_is_inclusive():
    late = [("i", 900), ("v", 900)]
    assert feed(PairSynchronizer(slop_s=0.05), [("i", 100), ("v", 150), *late])[0] == (100, 150)
    assert feed(PairSynchronizer(slop_s=0.05), [("i", 100), ("v", 151), *late])[0] == (900, 900)


def test_a_jump_back_in_time_clears_and_pairing_goes_on():
    synchronizer = PairSynchronizer()
    first = feed(synchronizer, [("i", 9000), ("v", 9000), ("i", 9033)])
    again = feed(synchronizer, [("i", 1000), ("v", 1000), ("i", 1033), ("v", 1033)])
    assert (first, again) == ([(9000, 9000)], [(1000, 1000), (1033, 1033)])
    assert synchronizer.counts.cleared == 1


def test_a_small_step_back_in_time_does_not_stall_pairing():
    synchronizer = PairSynchronizer(jump_s=1.0)
    recording = [(side, 1000 + 40 * k) for k in range(20) for side in "iv"]  # 0.8 s, looped
    pairs = feed(synchronizer, recording * 10)
    assert len(pairs) >= 100
    assert synchronizer.counts.cleared == 0  # nothing waited
    assert counted(synchronizer) == 400


def test_duplicates_and_latecomers_are_counted():
    synchronizer = PairSynchronizer()
    feed(synchronizer, [("i", 100), ("i", 100), ("v", 100), ("v", 90)])
    assert (synchronizer.counts.duplicate, synchronizer.counts.too_old) == (1, 1)


def test_a_silent_partner_leaves_a_bounded_queue():
    synchronizer = PairSynchronizer(queue_size=3)
    assert feed(synchronizer, [("i", 33 * k) for k in range(20)]) == []
    assert synchronizer.counts.no_partner == 17


@pytest.mark.parametrize("arguments", [{"slop_s": -0.1}, {"queue_size": 0}])
def test_bad_limits_are_refused(arguments):
    with pytest.raises(ValueError, match="slop_s must be at least 0"):
        PairSynchronizer(**arguments)
