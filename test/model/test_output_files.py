"""What we write is whole or not there, and replaces nothing that it should not."""

import os
import resource
import signal
import stat

import pytest

from dreamif_model.errors import ConfigError
from dreamif_model.output_files import WriteError, refuse_inputs, whole_file, write_whole


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with whole_file(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
        assert unfinished.suffix == ".json"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_its_rights_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "ours", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_a_failure_leaves_everything_as_it_was(tmp_path):
    path = tmp_path / "result"
    path.write_text("old")

    def fail():
        with whole_file(path) as unfinished:
            unfinished.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_leads_to_is_kept(tmp_path):
    target, link, name = (tmp_path / part for part in ("target", "link", "name"))
    target.write_text("precious")
    link.symlink_to(target)
    os.link(target, name)
    for path in (link, name):
        write_whole(path, "new")
        assert path.read_text() == "new"
        assert not path.is_symlink()
    assert target.read_text() == "precious"


@pytest.mark.parametrize("name", ["none/file", "folder"])
def test_what_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    with pytest.raises(WriteError, match=rf"cannot write {path}: "):
        write_whole(path, "x")
    assert [p.name for p in tmp_path.rglob("*")] == ["folder"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(WriteError, match=r"big\.bin: File too large"):
            write_whole(tmp_path / "big.bin", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["itself", "symbolic", "hard", "another way"])
def test_an_output_that_is_an_input_is_refused(tmp_path, how):
    source, output = tmp_path / "bag.mcap", tmp_path / "output"
    source.write_text("recorded")
    if how == "itself":
        output = source
    elif how == "symbolic":
        output.symlink_to(source)
    elif how == "hard":
        os.link(source, output)
    else:
        output = tmp_path / "." / ".." / tmp_path.name / source.name
    with pytest.raises(ConfigError, match=r"would replace .*bag\.mcap, which is read"):
        refuse_inputs([tmp_path / "new", output], [source])


def test_other_outputs_are_fine(tmp_path):
    (tmp_path / "input").write_text("a")
    (tmp_path / "old").write_text("a")
    refuse_inputs([tmp_path / "new", tmp_path / "old"], [tmp_path / "input", tmp_path / "none"])
