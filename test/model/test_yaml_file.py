"""YAML of strangers: values as YAML 1.2 has them, bounds, one line for everything else."""

import math

import pytest

from dreamif_model.errors import ConfigError
from dreamif_model.yaml_file import MAX_BYTES, read_yaml


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "settings.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path)

    return read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-012", -12),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-3", 0.001),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("true", True),
        ("yes", "yes"),
        ("2026-12-31", "2026-12-31"),
        ("'2026-13-45'", "2026-13-45"),
        ("190:20:30", "190:20:30"),
        ("1_000", "1_000"),
        ("~", None),
        ("", None),
        ("{a: [1, b], 0: x}", {"a": [1, "b"], 0: "x"}),
        ("'1'", "1"),
        ("!!float 1", 1.0),
    ],
)
def test_values(read, text, value):
    found = read(text)
    assert found == value
    assert type(found) is type(value)


def test_nan(read):
    assert math.isnan(read(".nan"))


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LAUGHS, "aliases"),
        ("a: &x [*x]", "aliases"),
        ("[" * 3000, "nested deeper than 20 levels"),
        ("9" * 5000, "a number of 5000 characters"),
        ("1." + "9" * 5000, "a number of 5002 characters"),
        ("d: 2026-13-45", "2026-13-45 is no date"),
        ("!!int ''", "'' is no number"),
        ("!!float x", "'x' is no number"),
        ("!!bool perhaps", "neither true nor false"),
        ("!!timestamp 2026-13-45", "timestamp is not allowed"),
        ("!!python/object/apply:os.system [true]", "is not allowed"),
        ("!!map [1]", "on something else"),
        ("!!seq x", "on something else"),
        ("? [1, 2]\n: 3", "a list or mapping as a key"),
        ("{a: 1, a: 2}", "'a' is given twice"),
        ('"\\ud800"', "surrogate"),
        ("a: b: c", "mapping values are not allowed"),
        ("[1, 2", "expected ',' or ']'"),
        ("a: 1\n---\nb: 2", "but found another document"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"a: \x00", "is no YAML"),
        ("x" * (MAX_BYTES + 1), f"expected at most {MAX_BYTES}"),
        ("[" + "1," * 30_000 + "]", "more than 20000 values"),
    ],
)
def test_what_is_no_setting_is_one_line_that_names_the_file(read, text, problem):
    with pytest.raises(ConfigError) as caught:
        read(text)
    message = str(caught.value)
    assert problem in message
    assert "settings.yaml" in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(tmp_path / "none.yaml")
