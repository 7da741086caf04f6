"""Mutual-nearest pairing against a brute-force matcher over the whole trace."""

from itertools import pairwise
from unittest.mock import patch

import pytest
from helpers.pairing_traces import (
    MS,
    PERIOD_MS,
    counted,
    feed,
    in_order,
    mean_latency_ms,
    mean_skew_ms,
    play,
    trace,
)
from hypothesis import example, given
from hypothesis import strategies as st

from dreamif_ros import pairing
from dreamif_ros.pairing import PairSynchronizer

CLOSING = [("i", 100_000), ("v", 100_000)]  # settles what waits


def brute_force(infrared, visible, slop, later_share):
    """Take any two that are each other's choice, then the same among those on either side of it.

    The choice of a message is the nearest within the slop; of the nearest before and the nearest
    after, the one after only if it is nearer than `later_share` of the other's distance.
    """

    def choice(stamp, others):
        before = max((o for o in others if stamp - slop <= o <= stamp), default=None)
        after = min((o for o in others if stamp < o <= stamp + slop), default=None)
        if before is None or after is None:
            return after if before is None else before
        return after if after - stamp < later_share * (stamp - before) else before

    for i in infrared:
        v = choice(i, visible)
        if v is not None and choice(v, infrared) == i:
            earlier = [s for s in infrared if s < i], [s for s in visible if s < v]
            later = [s for s in infrared if s > i], [s for s in visible if s > v]
            return [
                *brute_force(*earlier, slop, later_share),
                (i, v),
                *brute_force(*later, slop, later_share),
            ]
    return []


def in_order_of_time(pairs):
    return all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(pairs))


stamps = st.lists(st.integers(0, 400), max_size=25, unique=True).map(sorted)


@given(
    stamps,
    stamps,
    st.integers(0, 80),
    st.sampled_from([pairing.CLEARLY_NEARER, 1.0]),
    st.randoms(use_true_random=False),
)
@example([90, 105], [100, 106], 50, 1.0, None)  # what a pair leaves before it is paired,
@example([80, 96, 103], [90, 100, 105], 50, 1.0, None)  # and what that leaves before it
@example([51], [0, 91], 50, 2 / 3, None)  # the earlier is beyond the slop
def test_the_pairs_are_those_of_brute_force_however_the_streams_interleave(
    infrared, visible, slop, later_share, random
):
    """Each stream is in order; either may come before the other by any time.

    No rhythm is trusted: every pair waits until it is certain.
    """
    messages = [("i", s) for s in infrared] + [("v", s) for s in visible]
    sides = [side for side, _ in messages]
    if random:
        random.shuffle(sides)
    left = {"i": iter(infrared), "v": iter(visible)}
    synchronizer = PairSynchronizer(slop_s=slop / 1000, queue_size=1000)
    with patch.multiple(pairing, KNOWN_RHYTHM=10**6, CLEARLY_NEARER=later_share):
        pairs = feed(synchronizer, [(side, next(left[side])) for side in sides] + CLOSING)
    assert pairs[:-1] == brute_force(infrared, visible, slop, later_share)
    assert synchronizer.counts.paired == len(pairs)
    assert tuple(synchronizer.waiting) == (0, 0)
    assert counted(synchronizer) == len(messages) + 2


@st.composite
def cameras(draw, span_ms=1500):
    """Two cameras' stamps in ms, in order of time, and the jitter: up to a twentieth."""
    periods = draw(st.integers(20, 120)), draw(st.integers(20, 120))
    jitter = draw(st.integers(0, min(periods) // 20))
    offs = st.integers(-jitter, jitter)
    first = 1000 + draw(st.integers(0, 60)), 1000
    infrared, visible = (
        [first[k] + n * periods[k] + draw(offs) for n in range(span_ms // periods[k])]
        for k in (0, 1)
    )
    return infrared, visible, jitter


@given(cameras(), st.integers(0, 80))
def test_clear_mutual_nearest_pairs_are_made_although_the_rhythm_is_trusted(drawn, slop):
    """Clear: any other partner is half as far again, and more than the jitter can hide."""
    infrared, visible, jitter = drawn

    def clear(i, v):
        rivals = [abs(i - other) for other in visible if other != v]
        rivals += [abs(other - v) for other in infrared if other != i]
        distance = abs(i - v)
        return distance <= slop and all(rival > 1.5 * distance + 6 * jitter for rival in rivals)

    messages = sorted(
        [("i", s) for s in infrared] + [("v", s) for s in visible], key=lambda m: m[1]
    )
    synchronizer = PairSynchronizer(slop_s=slop / 1000, queue_size=1000)
    pairs = feed(synchronizer, messages + CLOSING)
    assert {(i, v) for i in infrared for v in visible if clear(i, v)} <= set(pairs)
    assert all(abs(i - v) <= slop for i, v in pairs)
    assert in_order_of_time(pairs)


@given(
    st.lists(st.tuples(st.sampled_from("iv"), st.integers(0, 3000)), max_size=80),
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 5)), min_size=1, max_size=4),
)
def test_whatever_comes_every_message_is_counted_once(messages, limits):
    """Out of order, duplicate, back in time, with limits that change on the way."""
    synchronizer = PairSynchronizer(jump_s=0.4)
    received, pairs = 0, []
    for number, (slop, queue_size) in enumerate(limits):
        synchronizer.slop_s, synchronizer.queue_size = slop / 1000, queue_size
        part = messages[number :: len(limits)]
        made = feed(synchronizer, part)
        received += len(part)
        pairs += made
        assert counted(synchronizer) == received
        assert all(abs(i - v) <= slop for i, v in made)
        assert max(synchronizer.waiting) <= max(size for _, size in limits)
    assert synchronizer.counts.paired == len(pairs)
    if not synchronizer.counts.jumps:
        assert in_order_of_time(pairs)


def test_equal_stamps_pair_at_once():
    assert feed(PairSynchronizer(), [("i", 100), ("v", 100)]) == [(100, 100)]


def test_a_near_partner_one_message_away_wins_over_a_far_one():
    messages = [("v", 100), ("i", 130), ("v", 133), ("i", 163), ("v", 166)]
    pairs = feed(PairSynchronizer(slop_s=0.05), messages)
    assert pairs[0] == (130, 133)


def test_what_a_pair_leaves_before_it_is_paired_first():
    messages = [("i", 90), ("v", 100), ("i", 105), ("v", 106), *CLOSING]
    pairs = feed(PairSynchronizer(slop_s=0.05), messages)
    assert pairs[:2] == [(90, 100), (105, 106)]


@pytest.mark.parametrize("offset", [0, 3, 8, 12, 16, 17, 25, 30])
def test_a_steady_offset_is_paired_without_waiting_for_the_next_frame(offset):
    arrivals = trace(offset_ms=offset)
    settled = arrivals[20:]  # the rhythm is known
    synchronizer = PairSynchronizer(slop_s=0.05)
    play(synchronizer, arrivals[:20])
    emissions = play(synchronizer, settled[:-2])
    assert len(emissions) >= 199
    assert mean_latency_ms(emissions, arrivals) == 0
    assert mean_skew_ms(emissions) == pytest.approx(min(offset, PERIOD_MS - offset), abs=0.7)


@pytest.mark.parametrize("seed", range(5))
def test_half_a_period_apart_jitter_costs_no_pair(seed):
    """The pure nearest would change from frame to frame, and lose one in eight."""
    synchronizer = PairSynchronizer(slop_s=0.05)
    emissions = play(synchronizer, trace(seed, offset_ms=PERIOD_MS / 2, jitter_ms=1.0))
    assert len(emissions) == 211


def test_nine_hertz_thermal_with_thirty_hertz_visible():
    arrivals = trace(seconds=3.0, infrared_ms=1000 / 9)
    emissions = play(PairSynchronizer(slop_s=0.02), arrivals)
    assert len(emissions) == 27 + 1
    assert max(e.skew_ns for e in emissions[5:]) <= 17 * MS


def test_at_different_rates_the_nearest_is_taken_however_little_nearer():
    """18.5 ms after a visible frame is 14.8 ms before the next."""
    arrivals = trace(seconds=3.0, infrared_ms=1000 / 9, offset_ms=18.5)
    emissions = play(PairSynchronizer(slop_s=0.05), arrivals)
    assert max(e.skew_ns for e in emissions[5:]) <= 15 * MS


def test_after_a_missing_frame_the_next_is_expected_as_ever():
    """The rhythm is the shortest interval: of visible, 299 is due, not 333."""
    synchronizer = PairSynchronizer(slop_s=0.05)
    feed(synchronizer, [(side, stamp) for stamp in (34, 67, 100, 133, 166, 233) for side in "iv"])
    assert feed(synchronizer, [("v", 266), ("i", 290)]) == []
    assert feed(synchronizer, [("v", 299)]) == [(290, 299)]


def test_the_slop_is_inclusive():
    late = [("i", 900), ("v", 900)]
    assert feed(PairSynchronizer(slop_s=0.05), [("i", 100), ("v", 150), *late])[0] == (100, 150)
    assert feed(PairSynchronizer(slop_s=0.05), [("i", 100), ("v", 151), *late])[0] == (900, 900)


def test_a_stream_out_of_order_is_waited_for():
    """Infrared came 33 ms late once: 133 may still get a nearer partner until 166 is there."""
    messages = [("i", 133), ("i", 100), ("v", 100), ("v", 166), ("v", 133), ("i", 120)]
    synchronizer = PairSynchronizer()
    assert feed(synchronizer, messages) == [(100, 100)]
    assert feed(synchronizer, [("i", 166)]) == [(133, 133)]
    assert synchronizer.counts.no_partner == 1  # 120, passed over by 133


def test_transport_that_changes_the_order_costs_no_pairs():
    """Pairs are lost before the first message out of order only; the last one may still wait."""
    for seed in range(5):
        arrivals = trace(seed, offset_ms=5, transport_ms=60)
        synchronizer = PairSynchronizer()
        emissions = play(synchronizer, arrivals)
        assert len(emissions) >= len(arrivals) / 2 - 3
        assert in_order(emissions) == emissions
        assert counted(synchronizer) == len(arrivals)


def test_a_stream_in_order_again_is_no_longer_waited_for():
    """The second pair comes after the third and is lost: the first time nobody waits."""
    synchronizer = PairSynchronizer()
    messages = [(side, 1000 + 40 * k) for k in range(80) for side in "iv"]
    messages[2:4], messages[4:6] = messages[4:6], messages[2:4]  # the second pair and the third
    late = [len(feed(synchronizer, [message])) for message in messages]
    assert sum(late) == 79
    assert late[-1] == 1  # with the pair's own second message


def looped(start=5000, frames=40, times=3):
    return [(side, start + 40 * k) for _ in range(times) for k in range(frames) for side in "iv"]


def test_a_looping_bag_loses_nothing_and_each_loop_is_one_jump():
    synchronizer = PairSynchronizer()
    assert len(feed(synchronizer, looped(times=3))) == 120
    assert synchronizer.counts.jumps == 2


def test_streams_that_jump_back_at_different_moments_are_one_jump():
    """Visible is still five frames in the old time; infrared waits for it."""
    old, new = [9000 + 40 * k for k in range(20)], [1000 + 40 * k for k in range(20)]
    infrared = [("i", stamp) for stamp in old[:15] + new]
    visible = [("v", stamp) for stamp in old + new]
    messages = [m for both in zip(infrared[:15], visible[:15], strict=True) for m in both]
    messages += infrared[15:20] + visible[15:20]
    messages += [m for both in zip(visible[20:35], infrared[20:35], strict=True) for m in both]
    synchronizer = PairSynchronizer()
    pairs = feed(synchronizer, messages)
    assert pairs[15:] == [(stamp, stamp) for stamp in new[:15]]
    assert (synchronizer.counts.jumps, synchronizer.counts.cleared) == (1, 5)


def test_a_small_step_back_in_time_does_not_stall_pairing():
    synchronizer = PairSynchronizer(jump_s=1.0)
    pairs = feed(synchronizer, looped(start=1000, frames=20, times=10))  # 0.8 s
    assert len(pairs) >= 20 + 9 * 12
    assert synchronizer.counts.jumps == 9
    assert counted(synchronizer) == 400


def test_latecomers_among_others_are_no_step_back_in_time():
    synchronizer = PairSynchronizer()
    messages = [(side, 1000 + 40 * k) for k in range(20) for side in "iv"]
    late = [("i", 900)]  # by more than the slop: no pair waits for it
    assert len(feed(synchronizer, [m for each in messages for m in (each, *late)])) == 20
    assert (synchronizer.counts.jumps, synchronizer.counts.too_old) == (0, 39)


def test_a_jump_forward_pairs_at_once():
    synchronizer = PairSynchronizer()
    messages = [("i", 1000), ("v", 1000), ("i", 1040), ("i", 9_000_000), ("v", 9_000_000)]
    assert feed(synchronizer, messages) == [(1000, 1000), (9_000_000, 9_000_000)]
    assert (synchronizer.counts.jumps, synchronizer.counts.no_partner) == (0, 1)


HOUR = 3_600_000


@pytest.mark.parametrize(
    ("wild", "jumps"),
    [
        ([("i", HOUR)], 1),
        ([("v", HOUR)], 1),
        ([("i", HOUR), ("v", HOUR)], 1),
        ([("i", 0)], 1),
        ([("i", 0), ("v", 0)], 1),
    ],
)
def test_a_wild_stamp_costs_at_most_its_own_message(wild, jumps):
    usual = [(side, 5000 + 33 * k + (5 if side == "i" else 0)) for k in range(40) for side in "vi"]
    synchronizer = PairSynchronizer()
    pairs = feed(synchronizer, usual[:41] + wild + usual[41:])
    regular = [pair for pair in pairs if 5000 <= pair[0] < HOUR]
    assert len(regular) >= 39
    assert all(i - v == 5 for i, v in regular)
    assert synchronizer.counts.jumps == jumps


def test_each_camera_s_wild_stamp_is_a_jump_of_its_own():
    usual = [(side, 5000 + 33 * k) for k in range(40) for side in "vi"]
    synchronizer = PairSynchronizer()
    feed(synchronizer, [*usual[:20], ("i", HOUR), *usual[20:40], ("v", HOUR), *usual[40:]])
    assert synchronizer.counts.jumps == 2


def test_clear_forgets_what_waits_and_is_no_jump():
    synchronizer = PairSynchronizer()
    feed(synchronizer, [("i", 9000), ("v", 9000), ("i", 9033)])
    synchronizer.clear()
    assert feed(synchronizer, [("v", 5000), ("i", 5000)]) == [(5000, 5000)]
    assert (synchronizer.counts.cleared, synchronizer.counts.jumps) == (1, 0)


def test_duplicates_and_latecomers_are_counted():
    synchronizer = PairSynchronizer()
    feed(synchronizer, [("i", 100), ("i", 100), ("v", 100), ("v", 100), ("v", 90)])
    assert (synchronizer.counts.duplicate, synchronizer.counts.too_old) == (2, 1)


def test_a_silent_partner_leaves_a_bounded_queue():
    synchronizer = PairSynchronizer(queue_size=3)
    assert feed(synchronizer, [("i", 33 * k) for k in range(20)]) == []
    assert (synchronizer.counts.no_partner, tuple(synchronizer.waiting)) == (17, (3, 0))


def test_a_partner_that_stalls_does_not_keep_its_last_pair():
    """Something nearer could still come for the pair, until the queue is full."""
    synchronizer = PairSynchronizer(slop_s=0.05, queue_size=3)
    assert feed(synchronizer, [("v", 0), ("i", 10), ("i", 43), ("i", 76)]) == []
    assert feed(synchronizer, [("i", 109)]) == [(10, 0)]
    assert tuple(synchronizer.waiting) == (3, 0)


def test_limits_hold_from_the_next_message_on():
    synchronizer = PairSynchronizer(slop_s=0.001, queue_size=10)
    assert feed(synchronizer, [("i", 100 + k) for k in range(10)] + [("v", 90)]) == []
    synchronizer.slop_s, synchronizer.queue_size = 0.02, 2
    assert (synchronizer.slop_s, synchronizer.queue_size) == (0.02, 2)
    assert feed(synchronizer, [("i", 110)]) == [(100, 90)]
    assert tuple(synchronizer.waiting) == (2, 0)


@pytest.mark.parametrize(
    ("limit", "value"),
    [("slop_s", -0.1), ("slop_s", float("nan")), ("slop_s", float("inf")), ("queue_size", 0)],
)
def test_bad_limits_are_refused_by_name_and_value(limit, value):
    with pytest.raises(ValueError, match=f"{limit} is {value}, expected"):
        PairSynchronizer(**{limit: value})
    synchronizer = PairSynchronizer()
    with pytest.raises(ValueError, match=f"{limit} is {value}, expected"):
        setattr(synchronizer, limit, value)
