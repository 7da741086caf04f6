"""What we write is whole or not there, and replaces nothing that it should not."""

import errno
import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from dreamif_model.errors import ConfigError
from dreamif_model.output_files import (
    WriteError,
    is_ours,
    refuse_foreign,
    refuse_inputs,
    sole_writer,
    unfinished_folder,
    whole_file,
    write_whole,
)


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


def test_the_files_of_an_input_folder_are_inputs(tmp_path):
    (tmp_path / "bag" / "part").mkdir(parents=True)
    (tmp_path / "bag" / "part" / "0.mcap").write_text("recorded")
    refuse_inputs([tmp_path / "bag" / "new.json"], [tmp_path / "bag"])
    with pytest.raises(ConfigError, match=r"would replace .*0\.mcap, which is read"):
        refuse_inputs([tmp_path / "bag" / "part" / "0.mcap"], [tmp_path / "bag"])


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        (b"", True),  # as mktemp leaves it
        (b'{\n  "made_by": "dreamif",\n  "a": 1', True),
        (b'[\n  {\n    "made_by": "dreamif"', True),
        (b'{"a": 1, "made_by": "dreamif"}', False),
        (b"# How an infrared image lies; read by Dream-IF.\nmodel: x", True),
        (b"# for Dream-IF\nmodel: x", False),
        (b"<!-- made by dreamif -->\n", True),
        (b"my notes about Dream-IF", False),
    ],
)
def test_files_of_others_are_replaced_on_demand_only(tmp_path, content, ours):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert is_ours(path) == ours
    refuse_foreign([path, tmp_path / "none"], force=True)
    if ours:
        refuse_foreign([path, tmp_path / "none"], force=False)
    else:
        with pytest.raises(ConfigError, match=r"dreamif did not write it: .*--force replaces it"):
            refuse_foreign([path], force=False)


def test_a_stream_is_written_in_place(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    refuse_foreign([pipe], force=False)
    write_whole(pipe, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with open(os.devnull) as nothing:  # noqa: PTH123
        write_whole(Path(f"/proc/self/fd/{nothing.fileno()}"), "nothing")


def test_the_second_writer_of_a_folder_is_refused(tmp_path):
    with sole_writer(tmp_path):
        second = sole_writer(tmp_path)
        with pytest.raises(ConfigError, match=f"another dreamif is writing into {tmp_path}"):
            second.__enter__()
        assert list(tmp_path.iterdir()) == []
    with sole_writer(tmp_path):
        pass


def test_an_unfinished_folder_is_never_named(tmp_path):
    def fail(error):
        with unfinished_folder(tmp_path / "out") as folder:
            (folder / "out").mkdir()
            raise error(folder)

    with pytest.raises(ConfigError, match=f"^{tmp_path}/out/film.mkv is too large$"):
        fail(lambda folder: ConfigError(f"{folder}/out/film.mkv is too large"))
    with pytest.raises(WriteError, match=f"^cannot write {tmp_path}/out: Full$"):
        fail(lambda _: OSError(errno.ENOSPC, "Full"))
    with pytest.raises(FileNotFoundError):
        fail(lambda _: OSError(errno.ENOENT, "None", "an input"))
    assert list(tmp_path.iterdir()) == []
