"""The arguments of the launch files, and that docs/launch.md has them."""

import pytest
from helpers import ROOT

from dreamif_model import ConfigError
from dreamif_ros.launching import arguments
from dreamif_ros.launching.arguments import (
    CAMERAS,
    COMMON,
    DEMO,
    FILES,
    FUSION,
    REPLAY,
    parameters_of,
)


def value(files, name, text):
    (argument,) = (argument for argument in (*files, *COMMON) if argument.name == name)
    return argument.values(text)


def table(heading):
    """The table under a heading of the page."""
    page = (ROOT / "docs" / "launch.md").read_text()
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "".join(line + "\n" for line in section.splitlines() if line.startswith("|"))


@pytest.mark.parametrize("name", FILES)
def test_the_page_has_the_arguments_of_each_launch_file(name):
    assert table(f"`{name}.launch.py`") == arguments.as_markdown(FILES[name])


def test_the_page_has_the_common_arguments():
    assert table("Arguments of every launch file") == arguments.as_markdown(COMMON)


def test_there_are_the_launch_files_that_the_page_describes():
    assert {path.name for path in (ROOT / "launch").glob("*.py")} == {
        f"{n}.launch.py" for n in FILES
    }


@pytest.mark.parametrize("name", FILES)
def test_arguments_have_one_name_each_and_a_description(name):
    found = [*FILES[name], *COMMON]
    names = [argument.name for argument in found]
    assert len(set(names)) == len(names)
    assert all(argument.description.endswith(".") for argument in found)
    assert all(argument.default in argument.choices for argument in found if argument.choices)


@pytest.mark.parametrize(
    ("files", "name", "text", "expected"),
    [
        (FUSION, "sync_slop", "1", {"sync.slop_s": 1.0}),
        (FUSION, "registration_file", "12", {"registration.file": "12"}),
        (FUSION, "use_sim_time", "True", {"use_sim_time": True}),
        (FUSION, "use_sim_time", "false", {"use_sim_time": False}),
        (FUSION, "backend", "", {}),
        (DEMO, "rate_hz", "5", {"visible.rate_hz": 5.0, "infrared.rate_hz": 5.0}),
        (DEMO, "noise", "2", {"noise": 2.0}),
        (DEMO, "noise", "night", {"noise": "night"}),
        (CAMERAS, "infrared_width", "320", {"image_width": 320}),
    ],
)
def test_an_argument_sets_parameters(files, name, text, expected):
    assert value(files, name, text) == expected


@pytest.mark.parametrize(
    ("files", "name", "text", "words"),
    [
        (FUSION, "sync_slop", "soon", "sync_slop is 'soon', expected 0 to 10 s"),
        (FUSION, "sync_slop", "11", "sync_slop is '11', expected 0 to 10 s"),
        (FUSION, "view_port", "70000", "view_port is '70000', expected 0 to 65535"),
        (REPLAY, "rate", "0", r"rate is '0', expected 0\.01 to 100"),
        (CAMERAS, "visible_width", "1.5", "visible_width is '1.5', expected 1 to 8192 px"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_the_argument(files, name, text, words):
    with pytest.raises(ConfigError, match=f"^{words}$"):
        value(files, name, text)


def test_choices_are_those_of_the_parameter():
    choices = {argument.name: argument.choices for argument in COMMON}
    assert choices["precision"] == ("", "auto", "fp32", "fp16", "bf16")
    assert choices["image_transport"] == ("", "raw", "compressed")
    assert choices["rviz"] == ("true", "false", "True", "False")


def test_defaults_change_no_parameter():
    given = {argument.name: argument.default for argument in COMMON}
    assert parameters_of(arguments.FUSION_OVERRIDES, given) == {}
