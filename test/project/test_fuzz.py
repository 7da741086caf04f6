"""`make fuzz` for a few cases of each target, and that its loop finds what it looks for."""

import re
import subprocess
import sys

import pytest
from helpers import ROOT

from dreamif_model import ImageError

CASES = {"weights": 40}  # each builds a network
DEFAULT_CASES = 300


@pytest.fixture(scope="module")
def fuzzer():
    """The module fuzz/run.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "fuzz"))
        import run

        yield run
    for name in ("run", "targets"):
        sys.modules.pop(name)


def names():
    return re.findall(r'^    "(\w+)": Target\(', (ROOT / "fuzz" / "targets.py").read_text(), re.M)


def test_all_targets_are_tried(fuzzer):
    assert names() == list(fuzzer.TARGETS)


@pytest.mark.parametrize("name", names())
def test_damaged_files_give_a_result_or_an_error_of_ours(name, tmp_path):
    cases = CASES.get(name, DEFAULT_CASES)
    command = [sys.executable, ROOT / "fuzz" / "run.py", name, "--out", tmp_path]
    limit = ["--cases", str(cases), "--seconds", "240"]
    done = subprocess.run([*command, *limit], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    tried, read = re.search(r"(\d+) cases, seed 0: (\d+) read", done.stdout).groups()
    assert int(tried) == cases
    assert 0 < int(read) < cases


def found(fuzzer, read, tmp_path, capsys, cases=20):
    """The findings, and what was printed, of a reader."""
    target = fuzzer.Target(lambda: {"file.txt": b"valid"}, read)
    number = fuzzer.fuzz("broken", target, tmp_path / "out", seed=1, cases=cases, seconds=60)
    return number, capsys.readouterr().out


def refuse(path):
    if path.read_bytes() != b"valid":
        raise ImageError("damaged")


def fail(path):
    assert path.read_bytes() == b"valid", "never checked"


def fill_memory(_):
    bytearray(4 << 30)


def never_end(_):
    while True:
        pass


def test_errors_of_ours_are_no_findings(fuzzer, tmp_path, capsys):
    assert found(fuzzer, refuse, tmp_path, capsys)[0] == 0


def test_other_errors_are_found_once_and_kept(fuzzer, tmp_path, capsys):
    number, printed = found(fuzzer, fail, tmp_path, capsys)
    assert number == 1
    assert "broken: AssertionError at test_fuzz.py:" in printed
    (kept,) = (tmp_path / "out").glob("finding-*")
    with pytest.raises(AssertionError):
        fail(kept)


def test_memory_and_time_are_limited(fuzzer, tmp_path, capsys, monkeypatch):
    number, printed = found(fuzzer, fill_memory, tmp_path, capsys, cases=1)
    assert (number, "MemoryError" in printed) == (1, True)
    monkeypatch.setattr(fuzzer, "CPU_S", 0.1)
    number, printed = found(fuzzer, never_end, tmp_path, capsys, cases=1)
    assert (number, "TooSlowError" in printed) == (1, True)


def test_a_case_depends_on_its_seed_and_number_only(fuzzer, tmp_path):
    samples = {"a.txt": b"one 1", "b.txt": b"two 2"}
    cases = [
        fuzzer.write_case(samples, tmp_path / folder, fuzzer.random.Random(seed))
        for folder, seed in (("a", "3/x/7"), ("b", "3/x/7"), ("c", "3/x/8"))
    ]
    first, again, other = [(path.name, path.read_bytes()) for path in cases]
    assert first == again != other
