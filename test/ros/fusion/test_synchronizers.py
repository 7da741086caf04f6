"""The policies of pairing; those of message_filters with the real one, where it is installed."""

import gc
import sys
import weakref
from importlib.util import find_spec

import pytest
from helpers.pairing_traces import counted, feed
from hypothesis import given
from hypothesis import strategies as st

from dreamif_model import ConfigError
from dreamif_model.cameras import Camera
from dreamif_ros.fusion.synchronizers import MessageFiltersSynchronizer, make_synchronizer
from dreamif_ros.pairing import PairSynchronizer

FILTERS = ("approximate", "exact")


needs_message_filters = pytest.mark.skipif(
    find_spec("message_filters") is None, reason="needs message_filters, as ROS installations have"
)


def test_nearest_is_ours_with_the_limits_that_were_asked_for():
    synchronizer = make_synchronizer("nearest", slop_s=0.02, queue_size=3)
    assert isinstance(synchronizer, PairSynchronizer)
    assert (synchronizer.slop_s, synchronizer.queue_size) == (0.02, 3)
    assert isinstance(make_synchronizer(), PairSynchronizer)


def test_an_unknown_policy_is_refused_with_the_known_ones():
    words = "sync.policy is 'newest': choose one of nearest, approximate, exact"
    with pytest.raises(ConfigError, match=words):
        make_synchronizer("newest")


@pytest.mark.parametrize("policy", FILTERS)
def test_without_message_filters_the_error_says_what_to_install(policy, monkeypatch):
    monkeypatch.setitem(sys.modules, "message_filters", None)
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    words = f"'{policy}', which needs.*apt install ros-jazzy-message-filters, or set.*nearest"
    with pytest.raises(ConfigError, match=words):
        make_synchronizer(policy)


@needs_message_filters
def test_approximate_pairs_at_once_what_is_less_than_the_slop_apart():
    synchronizer = make_synchronizer("approximate", slop_s=0.05)
    assert feed(synchronizer, [("i", 149), ("v", 100)]) == [(149, 100)]
    assert feed(synchronizer, [("i", 350), ("v", 300)]) == []  # equal is too far for it
    assert (synchronizer.counts.paired, tuple(synchronizer.waiting)) == (1, (1, 1))


@needs_message_filters
def test_exact_pairs_equal_stamps_only():
    synchronizer = make_synchronizer("exact", slop_s=0.05)
    assert feed(synchronizer, [("i", 100), ("v", 101), ("v", 100)]) == [(100, 100)]
    assert tuple(synchronizer.waiting) == (0, 1)


@needs_message_filters
def test_the_skew_has_its_sign():
    synchronizer = make_synchronizer("approximate")
    synchronizer.add(Camera.INFRARED, 1_000_000_003, "i")
    (pair,) = synchronizer.add(Camera.VISIBLE, 1_000_000_010, "v")
    assert (pair.infrared, pair.visible, pair.skew_ns) == ("i", "v", -7)


@needs_message_filters
@given(
    st.sampled_from(FILTERS),
    st.lists(st.tuples(st.sampled_from("iv"), st.integers(-5, 300)), max_size=60),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
)
def test_every_message_is_counted_once_by_message_filters_too(policy, messages, queue_sizes):
    """Negative stamps, duplicates, jumps and a queue that changes among them."""
    synchronizer = MessageFiltersSynchronizer(policy, slop_s=0.02, jump_s=0.1)
    pairs = []
    for number, queue_size in enumerate(queue_sizes):
        synchronizer.queue_size = queue_size
        pairs += feed(synchronizer, messages[number :: len(queue_sizes)])
    assert counted(synchronizer) == len(messages)
    assert synchronizer.counts.paired == len(pairs)
    assert all(abs(i - v) < 20 for i, v in pairs)


@needs_message_filters
def test_a_slop_that_changes_holds_from_the_next_message_on():
    synchronizer = make_synchronizer("approximate", slop_s=0.001)
    assert feed(synchronizer, [("i", 100), ("v", 105)]) == []
    synchronizer.slop_s = 0.02
    assert feed(synchronizer, [("v", 106)]) == [(100, 106)]


@needs_message_filters
@pytest.mark.parametrize("policy", FILTERS)
def test_a_looping_bag_goes_on_and_each_loop_is_one_jump(policy):
    loop = [("i", 4960)] + [(side, 5000 + 40 * k) for k in range(40) for side in "iv"]
    synchronizer = make_synchronizer(policy, slop_s=0.01)
    assert len(feed(synchronizer, loop * 3)) == 120
    assert (synchronizer.counts.jumps, synchronizer.counts.cleared) == (2, 2)


@needs_message_filters
def test_clear_empties_its_queues():
    synchronizer = make_synchronizer("approximate")
    feed(synchronizer, [("i", 100), ("i", 200)])
    synchronizer.clear()
    assert feed(synchronizer, [("v", 100)]) == []
    assert (synchronizer.counts.cleared, tuple(synchronizer.waiting)) == (2, (0, 1))


@needs_message_filters
@pytest.mark.parametrize("policy", FILTERS)
def test_stamps_that_ros_cannot_hold_have_no_partner_and_leave_no_lock_held(policy):
    synchronizer = make_synchronizer(policy)
    beyond_ms = 2**31 * 1000
    assert feed(synchronizer, [("i", -1), ("v", -1), ("i", beyond_ms), ("v", beyond_ms)]) == []
    assert synchronizer.counts.no_partner == 4
    synchronizer.clear()
    assert feed(synchronizer, [("i", 100), ("v", 100)]) == [(100, 100)]


class Item:
    pass


@pytest.mark.parametrize(
    "policy",
    ["nearest", *(pytest.param(policy, marks=needs_message_filters) for policy in FILTERS)],
)
def test_no_item_lives_longer_than_it_waits(policy):
    synchronizer = make_synchronizer(policy, queue_size=2)
    alive = []
    gc.disable()  # freed at once, not some time
    try:
        for k in range(10):
            item = Item()
            alive.append(weakref.ref(item))
            camera = Camera.INFRARED if k % 5 else Camera.VISIBLE
            synchronizer.add(camera, (100 + 40 * (k - (k == 1))) * 1_000_000, item)
            del item
        assert sum(reference() is not None for reference in alive) == sum(synchronizer.waiting)
    finally:
        gc.enable()
