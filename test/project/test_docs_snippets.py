"""The Python blocks of the documentation run, and the names in its text exist.

The Python blocks of a page run in order, in one namespace and a folder with small files. A block
under ``<!-- needs NAME -->`` runs where that module is installed, one under
``<!-- not run: REASON -->`` never does.
"""

import importlib.util
import pkgutil
import re

import numpy as np
import pytest
from helpers import ROOT
from helpers.pages import PAGES, PAIRS, SIZE, blocks

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


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
