"""The tables of diagnostics: the document has them, and the running nodes publish their keys."""

import pytest
from helpers import ROOT
from helpers.camera_rig import camera_rig
from helpers.ros_processes import spin_until

from dreamif_ros.detection import diagnostics as detection
from dreamif_ros.fusion import diagnostics as fusion
from dreamif_ros.node import diagnostic_status
from dreamif_ros.node.diagnostic_status import Condition, Key
from dreamif_ros.node.managed_node import COMMON_KEYS, LOST_MEMORY

FUSION_KEYS = (
    *COMMON_KEYS,
    *fusion.ENGINE_KEYS,
    *fusion.NODE_KEYS,
    *fusion.STREAM_KEYS,
)
DETECTOR_KEYS = (*COMMON_KEYS, *detection.MODEL_KEYS, *detection.STREAM_KEYS)
CONDITIONS = (
    [LOST_MEMORY],
    fusion.NODE_CONDITIONS,
    fusion.CAMERA_CONDITIONS,
    detection.CONDITIONS,
)
# On CUDA, with a memory of earlier frames, not on Humble, and with a calibration: those of the last
# line are looked at in test_distances.py and test_drift_check.py.
SOMETIMES = {"device memory (MiB)", "noise (σ, gray levels)"} | {
    *(f"temporal {p} (ms)" for p in ("p50", "p99")),
    *(f"{camera} lost" for camera in ("infrared", "visible")),
    *(key.name for key in (*fusion.DISTANCE_KEYS, *fusion.DRIFT_KEYS)),
}


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs" / "node.md").read_text()


@pytest.mark.parametrize("keys", [FUSION_KEYS, fusion.CAMERA_KEYS, DETECTOR_KEYS])
def test_the_page_of_the_nodes_has_every_key(page, keys):
    assert f"\n\n{diagnostic_status.keys_as_markdown(keys)}" in page
    names = [key.name for key in keys]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("conditions", CONDITIONS)
def test_the_page_of_the_nodes_has_every_condition(page, conditions):
    assert f"\n\n{diagnostic_status.conditions_as_markdown(conditions)}" in page


def test_keys_of_one_meaning_share_a_row():
    keys = [Key("a (s)", "first", int), Key("b (s)", "first", int), Key("c", "second", int)]
    expected = "| `a (s)`, `b (s)` | first |\n| `c` | second |\n"
    assert diagnostic_status.keys_as_markdown(keys).endswith(expected)


def test_a_key_without_a_value_is_left_out():
    keys = [Key("there", "", lambda value: value), Key("missing", "", lambda _: None)]
    assert diagnostic_status.read_keys(keys, 3) == {"there": 3}


CHECKS = (
    Condition("too large", "", lambda value: value > 2),
    Condition("NAME is odd", "", lambda value: [f"{value} is odd"] if value % 2 else []),
    Condition("negative", "", lambda value: value < 0, is_error=True),
)


@pytest.mark.parametrize(
    ("value", "level", "message"),
    [
        (2, 0, "ok"),
        (4, 1, "too large"),
        (5, 1, "too large; 5 is odd"),
        (-1, 2, "-1 is odd; negative"),
    ],
)
def test_the_level_is_that_of_the_worst_condition(value, level, message):
    found = diagnostic_status.judged_status("/node", {}, CHECKS, value)
    assert (ord(found.level), found.message) == (level, message)


@pytest.mark.realtime
def test_a_running_node_publishes_every_key(tmp_path):
    tables = {"/fusion_node": FUSION_KEYS}
    tables |= dict.fromkeys(("/fusion_node: infrared", "/fusion_node: visible"), fusion.CAMERA_KEYS)
    with camera_rig(tmp_path / "log") as rig:

        def missing():
            published = {n: {v.key for v in s.values} for n, s in rig.statuses.items()}
            return {
                (name, key.name)
                for name, keys in tables.items()
                for key in keys
                if key.name not in published.get(name, ()) and key.name not in SOMETIMES
            }

        assert spin_until(rig.node, lambda: not missing(), 20.0), missing()
        documented = {key.name for keys in tables.values() for key in keys}
        published = {value.key for s in rig.statuses.values() for value in s.values}
        assert published <= documented
