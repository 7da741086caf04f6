"""The soak of benchmarks/soak.py for a while, and whether it would tell what goes wrong."""

import sys
from itertools import islice
from random import Random

import pytest
from helpers import ROOT
from helpers.camera_rig import unaccounted

from dreamif_model.cameras import Camera
from dreamif_ros.fusion.diagnostics import DROPS_OF_MESSAGES, DROPS_OF_PAIRS

sys.path.insert(0, str(ROOT / "benchmarks"))

import faults
import soak

pytestmark = pytest.mark.realtime

NOTHING = dict.fromkeys(
    (
        *(f"{camera} {what}" for camera in Camera for what in ("sent", "lost", "received")),
        *(f"messages {reason}" for reason in (*DROPS_OF_MESSAGES, "waiting")),
        *(f"pairs {reason}" for reason in DROPS_OF_PAIRS),
        *("pairs", "images used alone", "published", "heard", "missed"),
    ),
    0,
)
COUNTS = NOTHING | {  # of which nothing got lost
    **{"infrared sent": 11, "infrared lost": 1, "infrared received": 10},
    **{"visible sent": 9, "visible received": 9},
    **{"pairs": 8, "messages no_partner": 2, "messages waiting": 1, "images used alone": 1},
    **{"published": 7, "pairs superseded": 2, "heard": 6, "missed": 1},
}


@pytest.mark.slow
def test_20_seconds_at_30_hz(tmp_path):
    """Leaks that are smaller than an image are for `make soak`."""
    result = soak.run(20.0, tmp_path / "log")
    assert result.misses() == []
    assert len(result.resident_mb) == 21
    assert result.counts["heard"] > 20 * 10  # of 600, however busy the machine is


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ({}, {}),
        ({"visible sent": 1}, {"visible sent": 1}),
        ({"infrared sent": 1, "infrared received": 1}, {"received": 1}),
        ({"pairs superseded": -1}, {"pairs": 1}),
        ({"published": 1, "pairs": 1}, {"received": -2, "published": 1}),
    ],
)
def test_an_image_that_nobody_counted_is_told(more, missing):
    after = {key: count + more.get(key, 0) for key, count in COUNTS.items()}
    lost = {where: count for where, count in unaccounted(NOTHING, after).items() if count}
    assert lost == missing


def test_a_soak_misses_when_memory_grows_or_an_image_is_lost():
    assert soak.Soak([400.0, 419.9, 410.0], {}, {"pairs": 0}).misses() == []
    assert soak.Soak([400.0, 420.0, 401.0], {}, {"pairs": 2}).misses() == [
        "2 pairs unaccounted for",
        "resident memory grew by 20.0 MB",
    ]


def test_a_seed_gives_every_fault_once_in_each_round():
    count = len(faults.FAULTS)
    first, again, other = (list(islice(soak.schedule(Random(n)), 2 * count)) for n in (1, 1, 2))
    assert first == again != other
    for half in (first[:count], first[count:]):
        assert {name for name, _, _ in half} == set(faults.FAULTS)
    assert {camera for _, camera, _ in first} == set(Camera)
    assert all(2.0 <= seconds <= 6.0 for _, _, seconds in first)


OUTCOMES = [
    faults.Outcome(
        "one gray level", ["infrared_only"], "visible is blank", 0.1, False, {"pairs": 0}
    ),
    faults.Outcome("one gray level", ["visible_only"], "ok", 0.5, False, {"pairs": 2}),
    faults.Outcome("another size", [], "ok", 1.25, True),
]


def test_the_table_of_faults():
    assert faults.as_markdown(OUTCOMES).splitlines()[2:] == [
        "| one gray level | 2 | `infrared_only`, `visible_only` | visible is blank | 0.3 | 0.5 |",
        "| another size | 1 | `fused` | ok | 1.2 | 1.2 |",
    ]


def test_a_fault_is_missed_if_the_node_stays_away_or_an_image_is_lost():
    never = faults.Outcome("another size", ["none"], "ok", None, False)
    assert faults.misses([*OUTCOMES, never]) == [
        "another size: not recovered",
        "one gray level: 2 pairs unaccounted for",
    ]
