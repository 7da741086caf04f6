"""What README.md and docs/ show runs: Python blocks, and `dreamif` lines as far as they parse.

The Python blocks of a page run in order, in one namespace and a folder with small files. A block
under ``<!-- needs NAME -->`` runs where that module is installed, one under
``<!-- not run: REASON -->`` never does.
"""

import argparse
import importlib.util
import pkgutil
import re
import shlex
from dataclasses import dataclass

import numpy as np
import pytest
from helpers import ROOT

from dreamif_model.image_files import write_image
from dreamif_model.registration.calibration_file import write_calibration
from dreamif_model.registration.geometry import Homography
from dreamif_model.registration.warp import Calibration
from dreamif_ros.bag.image_sources import open_images
from dreamif_ros.bag.make import make_bag
from dreamif_ros.cli import build_parser

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("", "bash", "sh", "console")
SIZE = 48, 64  # of the visible images; infrared is half as large
PAIRS = 4


@dataclass(frozen=True)
class Block:
    """A fenced block: note is what the comment before it says."""

    note: str
    language: str
    text: str
    line: int


def blocks(page):
    content = page.read_text(encoding="utf-8")
    return [
        Block(m[1] or "", m[2], m[3], content.count("\n", 0, m.start(3)))
        for m in FENCE.finditer(content)
    ]


def python_pages():
    return [page for page in PAGES if any(b.language == "python" for b in blocks(page))]


def reason_not_to_run(note):
    """Why a block is not run here; empty where it is."""
    if note.startswith("not run: "):
        return note
    if note.startswith("needs "):
        missing = note.removeprefix("needs ").strip()
        return "" if importlib.util.find_spec(missing) else f"{missing} is not installed"
    return ""


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """The working folder, with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    for name in ("thermal", "color"):
        (tmp_path / name).mkdir()
    for index in range(PAIRS):
        infrared = rng.integers(7000, 9000, (SIZE[0] // 2, SIZE[1] // 2), np.uint16)
        write_image(tmp_path / "thermal" / f"{index}.png", infrared)
        visible = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        write_image(tmp_path / "color" / f"{index}.png", visible)
    make_bag(open_images(tmp_path / "thermal", tmp_path / "color", 25.0), tmp_path / "drive_bag")
    (tmp_path / "drive.mcap").write_bytes((tmp_path / "drive_bag" / "drive_bag.mcap").read_bytes())
    doubled = Homography(np.diag([2.0, 2.0, 1.0]))
    calibration = Calibration(doubled, (SIZE[1] // 2, SIZE[0] // 2), (SIZE[1], SIZE[0]))
    write_calibration(calibration, tmp_path / "calibration.yaml")
    return tmp_path


def arrays(rng):
    """Those that the pages do not make themselves."""
    return {
        "rgb": rng.integers(0, 256, (*SIZE, 3), np.uint8),
        "gray": rng.integers(0, 256, (SIZE[0] // 2, SIZE[1] // 2), np.uint8),
    }


def run(page, namespace):
    """Run the blocks of a page; returns why some were not."""
    skipped = []
    for block in blocks(page):
        if block.language != "python":
            continue
        reason = reason_not_to_run(block.note)
        if reason:
            skipped.append(f"{page.name}:{block.line}: {reason}")
            continue
        # Newlines before it, so that a traceback names the page's own line.
        code = compile("\n" * block.line + block.text, str(page), "exec")
        exec(code, namespace)
    return skipped


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", python_pages(), ids=lambda page: page.name)
def test_python_blocks_run(page, rng):
    skipped = run(page, arrays(rng))
    if skipped:
        pytest.skip("the other blocks ran; " + "; ".join(skipped))


def test_there_is_python_to_run():
    assert {"README.md", "python.md", "registration.md"} <= {page.name for page in python_pages()}


def test_python_md_gives_what_it_says(folder, rng, capsys):
    """With pandas or without: the values that the page shows."""
    namespace = arrays(rng)
    run(ROOT / "docs" / "python.md", namespace)
    printed = capsys.readouterr().out
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    said = re.search(r"print\(error\)  # (.*)", page)[1]
    assert f"{said}\n" in printed
    assert re.search(r"infrared dominates \d+% of the picture", printed)
    # `result` is the last of the bag's: the whole picture is covered, the maps add up.
    result = namespace["result"]
    assert result.fused.shape == (*SIZE, 3)
    assert result.fused.dtype == np.uint8
    assert {path.name for path in folder.glob("*.png")} == {f"{i}.png" for i in range(PAIRS)}
    stamps = [1_000_000_000 + 40_000_000 * index for index in range(PAIRS)]
    for stamp in stamps:
        assert f"{stamp} +0.0 ms (48, 64, 3) uint16" in printed
    rows = namespace["rows"]
    assert [row["time_s"] for row in rows] == pytest.approx([0.0, 0.04, 0.08, 0.12])
    assert {row["skew_ms"] for row in rows} == {0.0}
    assert all(0 <= row["dominance_infrared"] <= 1 for row in rows)
    assert all(row["infer_ms"] > 0 for row in rows)
    celsius, fixed = namespace["celsius"], namespace["fixed"]
    scaled = np.clip((celsius - 20) / 20, 0, 1)  # 20 °C is black, 40 °C is white
    levels = fixed.normalizer.normalize(celsius)
    assert levels.dtype == np.uint8
    np.testing.assert_allclose(levels, scaled * 255, rtol=0, atol=0.501)


# -- Names in the text.


NAMED = sorted(
    {
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"`(dreamif_(?:model|ros)(?:\.\w+)+)`", page.read_text("utf-8"))
    }
)


@pytest.mark.parametrize(("page", "name"), NAMED)
def test_names_in_the_text_exist(page, name):
    assert pkgutil.resolve_name(name) is not None, page


def test_the_page_of_the_paper_names_every_equation():
    page = (ROOT / "docs" / "paper.md").read_text("utf-8")
    named = {int(number) for number in re.findall(r"^\| (\d): ", page, re.MULTILINE)}
    assert named == set(range(1, 10))
    assert sum(name == "paper.md" for name, _ in NAMED) >= 20


# -- Command lines.


def shell_lines(page):
    """(line, command) of every `dreamif …` in an indented block or a fenced one of a shell."""
    content = page.read_text(encoding="utf-8")
    lines = content.splitlines()
    fenced = set()
    shell = set()
    for block in blocks(page):
        inside = range(block.line, block.line + block.text.count("\n"))
        fenced.update(inside)
        if block.language in SHELL:
            shell.update(inside)
    for index, line in enumerate(lines):
        indented = line.startswith("    ") and index not in fenced
        if index not in shell and not indented:
            continue
        command = re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?(dreamif .*)", line)
        if command:
            yield index + 1, joined(command[1], lines[index + 1 :])


def joined(first, following):
    """A command that goes on after a backslash, as one line."""
    for line in following:
        if not first.endswith("\\"):
            break
        first = first[:-1] + line.strip()
    return first


def words(command):
    """The words of a command line; a shell variable stands for words defined elsewhere."""
    found = shlex.split(command, comments=True)
    return [word for word in found if not word.startswith("$")]


DOCUMENTED = [
    pytest.param(command, id=f"{page.name}:{line}")
    for page in PAGES
    for line, command in shell_lines(page)
]


def parses(command):
    try:
        build_parser().parse_args(words(command)[1:])
    except SystemExit as ended:
        return ended.code == 0  # --help
    return True


@pytest.mark.parametrize("command", DOCUMENTED)
def test_documented_command_lines_parse(command):
    assert parses(command), command


def test_the_walk_finds_command_lines():
    assert len(DOCUMENTED) >= 20
    assert not parses("dreamif fuse --ir a --vi b --no-such-option")


def parsers(parser):
    """A parser and those of its verbs and actions."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from parsers(verb)


def examples():
    """(command, line) of every example in a help text."""
    for parser in parsers(build_parser()):
        lines = (parser.epilog or "").splitlines()
        for index, line in enumerate(lines):
            if line.startswith("  dreamif "):
                command = joined(line.strip(), lines[index + 1 :])
                yield pytest.param(command, id=command[:60])


@pytest.mark.parametrize("command", list(examples()))
def test_examples_of_the_help_texts_parse(command):
    assert parses(command), command
