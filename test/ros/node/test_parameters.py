"""The tables of parameters: checks, YAML, and what a node does with them."""

from array import array

import pytest
import rclpy.parameter
import yaml
from helpers import ROOT

from dreamif_model import ConfigError
from dreamif_ros.detection.parameters import DETECTOR_PARAMETERS
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS, FusionSettings
from dreamif_ros.node import parameters
from dreamif_ros.node.parameters import Parameter
from dreamif_ros.simulation.parameters import SIMULATION_PARAMETERS

TABLES = (FUSION_PARAMETERS, DETECTOR_PARAMETERS, SIMULATION_PARAMETERS)
ROWS = {row.name: row for table in TABLES for row in table}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_defaults_are_allowed_and_described(row):
    assert row.check(row.default) == row.default
    assert row.description.endswith(".")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("variant", "huge", "variant is 'huge': choose one of base, .*, average"),
        ("sync.slop_s", -0.1, "sync.slop_s is -0.1, expected 0 to 10"),
        ("sync.slop_s", float("nan"), "expected 0 to 10"),
        ("sync.slop_s", "far", "must be float, got 'far'"),
        ("sync.queue_size", 0, "expected 1 to 1000"),
        ("sync.queue_size", 1.5, "must be int, got 1.5"),
        ("variant", 3, "must be str, got 3"),
        ("noise", "day", "noise must be float or night, got 'day'"),
        ("noise", 11.0, "noise is 11.0, expected 0 to 10, night"),
    ],
)
def test_a_bad_value_is_refused_with_the_reason(name, value, words):
    with pytest.raises(ConfigError, match=words):
        ROWS[name].check(value)


def test_a_list_of_whole_numbers():
    crop = ROWS["thermal.crop"]
    assert crop.check([0, 2, 0, 0]) == crop.check(array("q", [0, 2, 0, 0])) == (0, 2, 0, 0)


@pytest.mark.parametrize("value", [[0, 2], [0, 0, 0, -1], [0, 0, 0, 0.5], "0,2,0,0", None])
def test_another_list_is_refused(value):
    with pytest.raises(ConfigError, match=r"thermal\.crop must be 4 whole numbers from 0 to 4096"):
        ROWS["thermal.crop"].check(value)


def test_a_whole_number_is_taken_for_a_float():
    assert ROWS["sync.slop_s"].check(1) == 1.0


def test_a_word_is_taken_in_place_of_a_number():
    assert ROWS["noise"].check("night") == "night"
    assert ROWS["noise"].check(2) == 2.0


@pytest.mark.parametrize(
    ("name", "table"), [("fusion", FUSION_PARAMETERS), ("detector", DETECTOR_PARAMETERS)]
)
def test_the_shipped_file_is_the_table(name, table):
    shipped = (ROOT / "config" / f"{name}.yaml").read_text()
    assert shipped == parameters.as_yaml(f"{name}_node", table)
    loaded = yaml.safe_load(shipped)["/**"]["ros__parameters"]
    rows = {row.name: row for row in table}
    checked = {name: rows[name].check(value) for name, value in loaded.items()}
    assert checked == {row.name: row.default for row in table}


@pytest.mark.parametrize("table", [FUSION_PARAMETERS, DETECTOR_PARAMETERS])
def test_the_page_of_the_nodes_has_the_table(table):
    assert parameters.as_markdown(table) in (ROOT / "docs" / "node.md").read_text()


DEFAULTS = {row.name: row.default for row in FUSION_PARAMETERS}


def test_settings_have_the_values_in_their_groups():
    assert parameters.build(FusionSettings, DEFAULTS) == FusionSettings()
    values = DEFAULTS | {"variant": "tiny", "sync.slop_s": 0.1, "thermal.hot_black": True}
    settings = parameters.build(FusionSettings, values)
    assert (settings.variant, settings.sync.slop_s, settings.thermal.hot_black) == (
        "tiny",
        0.1,
        True,
    )
    assert (settings.sync.queue_size, settings.health) == (10, FusionSettings().health)


def changes(**values):
    return [rclpy.parameter.Parameter(n.replace("__", "."), value=v) for n, v in values.items()]


def test_off_without_quotes_is_no_truth_value():
    rows = {row.name: row for row in FUSION_PARAMETERS}
    assert rows["temporal.mode"].check(yaml.safe_load("off")) == "off"
    with pytest.raises(ConfigError, match="must be str, got True"):
        rows["temporal.mode"].check(True)


def test_changes_make_new_settings():
    before = FusionSettings()
    given = changes(sync__slop_s=1, weights="w", use_sim_time=True)
    after = parameters.changed(before, given, configured=False)
    assert (after.sync.slop_s, after.weights) == (1.0, "w")
    assert before == FusionSettings()


def test_a_configured_node_takes_live_changes_only():
    settings = FusionSettings()
    live = parameters.changed(settings, changes(jpeg_quality=50, variant="nano"), configured=True)
    assert live.jpeg_quality == 50  # variant has this value already
    with pytest.raises(ConfigError, match="parameter variant cannot change while the node is con"):
        parameters.changed(settings, changes(variant="tiny"), configured=True)


def test_values_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match=r"thermal low \(0.0\) must be below high \(-5.0\)"):
        parameters.changed(FusionSettings(), changes(thermal__high=-5.0), configured=True)


def test_a_row_without_limits_takes_anything():
    assert Parameter("x", 0.0, "Anything.").check(-1e9) == -1e9
