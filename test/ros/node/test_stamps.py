"""Stamps to nanoseconds and back."""

from types import SimpleNamespace

import pytest

from dreamif_ros import stamps


@pytest.mark.parametrize("time_ns", [0, 1, 1_500_000_000, 1_700_000_000_123_456_789])
def test_a_stamp_keeps_every_nanosecond(time_ns):
    sec, nanosec = stamps.split_ns(time_ns)
    assert 0 <= nanosec < stamps.NANOSECONDS
    assert stamps.to_ns(SimpleNamespace(sec=sec, nanosec=nanosec)) == time_ns


def test_seconds_are_rounded_to_the_nearest_nanosecond():
    assert stamps.from_seconds(0.1) == 100_000_000
    assert stamps.from_seconds(-1e-9 * 1.6) == -2
    assert stamps.to_seconds(2_500_000_000) == 2.5
