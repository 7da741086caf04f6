"""Files and folders that options name are checked before any work; JSON has no NaN."""

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from dreamif_model import ConfigError
from dreamif_ros.cli import main, printable
from dreamif_ros.cli.options import check_outputs, check_writable, make_folder
from dreamif_ros.json_file import write_json


def test_a_file_that_can_be_written_is_taken_and_not_made(tmp_path):
    check_writable("--json", tmp_path / "new.json")
    check_writable("--json", Path("/dev/stdout"))
    check_writable("--json", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "is a folder, expected a file"),
        ("missing/new.json", "make its folder first"),
        ("file/new.json", "make its folder first"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path, name, words):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"--json {tmp_path / name}:? {words}"):
        check_writable("--json", tmp_path / name)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ConfigError, match="may not be written"):
        check_writable("--json", tmp_path / "new.json")


@pytest.mark.parametrize("name", ["file", "file/out"])
def test_a_file_where_a_folder_is_asked_for_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"--out {tmp_path}/file is a file, expected a folder"):
        make_folder("--out", tmp_path / name)


def test_a_folder_is_made(tmp_path):
    make_folder("--out", tmp_path / "a" / "b")
    make_folder("--out", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


@dataclass
class Row:
    path: Path
    values: tuple[float, ...]


def test_what_json_has_no_number_for_is_null(tmp_path):
    write_json(tmp_path / "a.json", {1: Row(Path("x"), (1.5, math.nan, math.inf))})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {
        "made_by": "dreamif",
        "1": {"path": "x", "values": [1.5, None, None]},
    }
    assert text.endswith("}\n")


def test_what_is_read_or_foreign_is_no_output(tmp_path):
    bag, notes, new = tmp_path / "bag.mcap", tmp_path / "notes.txt", tmp_path / "new.json"
    bag.write_text("recorded")
    notes.write_text("mine")
    check_outputs({"--json": new, "--picture": None}, [bag, None], force=False)
    with pytest.raises(ConfigError, match=r"would replace .*bag\.mcap"):
        check_outputs({"--json": bag}, [bag], force=True)
    with pytest.raises(ConfigError, match=r"notes\.txt exists, and dreamif did not write it"):
        check_outputs({"--json": notes}, [bag], force=False)
    check_outputs({"--json": notes}, [bag], force=True)
    with pytest.raises(ConfigError, match=r"new\.json would be written twice"):
        check_outputs({"--json": new, "--picture": new}, [], force=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--config", "c.yaml", "--out", ""], "--out: is empty: name a file or folder"),
        (["fuse", "--ir", "", "--vi", "b", "--out", "c"], "--ir: is empty"),
        (["view", "--port", f"1{'0' * 400}"], "--port: '1000"),
        (["summary", "--size", "9" * 5000 + "x480"], "--size is '999"),
        (["summary", "\x1b[31mred"], "unrecognized arguments: \\x1b[31mred"),
        (["metrics", "--ir", "i", "--vi", "v", "--fused", "f", "--still", "4"], "with --sequence"),
        (["metrics", "--ir", "no\nne\x07", "--vi", "v", "--fused", "f"], "no ne\\x07"),
    ],
)
def test_nonsense_is_refused_in_one_printable_line(capsys, arguments, words):
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    told = capsys.readouterr().err
    assert status in (1, 2)
    assert told.startswith("dreamif: ")
    assert words in told
    assert told[:-1].isprintable()
    assert len(told) < 1600


def test_what_a_terminal_would_obey_is_escaped():
    assert printable("grün\x1b[2J\u202e\ud800") == "grün\\x1b[2J\\u202e\\ud800"
