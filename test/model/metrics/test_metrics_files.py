"""Metrics of files: reading, worker processes, intervals, and the command."""

import json
import math

import numpy as np
import pytest
import torch

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import read_gray, write_image
from dreamif_model.metrics import METRICS, evaluate, scoring
from dreamif_model.metrics.lpips import _expected
from dreamif_model.metrics.scoring import find_triples, mean_intervals, score_all, score_triple
from dreamif_model.metrics.table import markdown_table
from dreamif_ros import cli


@pytest.fixture
def folder(tmp_path, rng):
    """Three triples of fused/, ir/ and vi/ of 48×64 pixels, the visible ones in colour."""
    for name in ("fused", "ir", "vi"):
        (tmp_path / name).mkdir()
    for stem in "abc":
        infrared = rng.integers(0, 256, (48, 64), dtype=np.uint8)
        visible = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        write_image(tmp_path / "ir" / f"{stem}.png", infrared)
        write_image(tmp_path / "vi" / f"{stem}.png", visible)
        write_image(tmp_path / "fused" / f"{stem}.png", np.maximum(infrared, visible[..., 1]))
    return tmp_path


def triples(folder):
    return find_triples(folder / "fused", folder / "ir", folder / "vi")


def images(folder, stem):
    return [read_gray(folder / name / f"{stem}.png") for name in ("fused", "ir", "vi")]


def command(folder, *options):
    paths = [("--ir", folder / "ir"), ("--vi", folder / "vi"), ("--fused", folder / "fused")]
    return cli.main(["metrics", *(str(word) for pair in paths for word in pair), *options])


def test_files_give_what_their_pixels_give(folder):
    rows = list(score_all(triples(folder), jobs=1))
    assert rows == [evaluate(*images(folder, stem)) for stem in "abc"]


def test_processes_give_the_same_in_the_same_order(folder, monkeypatch):
    """And the error of one image comes through, with its file."""
    monkeypatch.setattr(scoring, "IMAGES_PER_WORKER", 2)
    monkeypatch.setattr(scoring, "usable_cores", lambda: 2)
    pool, started = scoring.ProcessPoolExecutor, []
    monkeypatch.setattr(
        scoring,
        "ProcessPoolExecutor",
        lambda *options: started.append(options[0]) or pool(*options),
    )
    (folder / "fused" / "c.png").write_bytes(b"no image")
    first, second, damaged = triples(folder)
    rows = score_all([first, second, first, second, second, damaged])
    expected = {triple: score_triple(triple) for triple in (first, second)}
    for triple in (first, second, first, second, second):
        assert next(rows) == expected[triple]
    with pytest.raises(ImageError, match=r"cannot read .*fused/c\.png"):
        next(rows)
    assert started == [2]


def test_one_job_and_few_images_start_no_process(folder, monkeypatch):
    monkeypatch.setattr(scoring, "ProcessPoolExecutor", None)
    assert len(list(score_all(triples(folder) * 6, jobs=1))) == 18
    assert len(list(score_all(triples(folder), jobs=8))) == 3
    with pytest.raises(ConfigError, match="jobs is 0"):
        list(score_all(triples(folder), jobs=0))


class TestRefuses:
    def test_16_bit(self, folder):
        write_image(folder / "ir" / "b.png", np.zeros((48, 64), np.uint16))
        with pytest.raises(ImageError, match=r"ir/b\.png is a uint16 image, metrics take 8 bit"):
            list(score_all(triples(folder), jobs=1))

    def test_another_size(self, folder):
        write_image(folder / "vi" / "c.png", np.zeros((48, 63), np.uint8))
        with pytest.raises(ImageError, match=r"vi/c\.png is 63×48, but .*fused/c\.png is 64×48"):
            list(score_all(triples(folder), jobs=1))

    def test_images_that_are_too_small(self, folder):
        for name in ("fused", "ir", "vi"):
            write_image(folder / name / "b.png", np.zeros((40, 64), np.uint8))
        with pytest.raises(ImageError, match=r"fused/b\.png: this metric needs 41×41"):
            list(score_all(triples(folder), jobs=1))

    def test_a_missing_partner(self, folder):
        (folder / "fused" / "b.png").unlink()
        with pytest.raises(ImageError, match=r"1 images have no partner .*ir and .*fused: b"):
            triples(folder)

    def test_an_empty_folder(self, folder):
        for path in (folder / "fused").iterdir():
            path.unlink()
        with pytest.raises(ImageError, match=r"no images .*fused"):
            triples(folder)


def mean_interval(values, **options):
    return mean_intervals({"": values}, **options)[""]


class TestInterval:
    def test_is_that_of_the_normal_distribution_for_many_values(self, rng):
        values = rng.normal(5, 2, 400)
        error = values.std() / 20
        expected = (values.mean() - 1.96 * error, values.mean() + 1.96 * error)
        assert mean_interval(values) == pytest.approx(expected, abs=0.03 * error * 1.96)

    def test_of_two_values(self):
        """A quarter of the resamples is twice the first, a quarter twice the second."""
        assert mean_interval([1, 3]) == (1, 3)
        assert mean_interval([4, 4, 4]) == pytest.approx((4, 4))

    def test_is_the_same_each_time_and_another_for_another_seed(self):
        values = [1.0, 2.0, 4.0, 8.0, 9.0, 11.5]
        assert mean_interval(values) == mean_interval(values)
        assert mean_interval(values, resamples=99) != mean_interval(values, resamples=99, seed=1)

    @pytest.mark.parametrize("values", [[3.0], [1.0, math.inf], [1.0, math.nan]])
    def test_is_not_made_up(self, values):
        assert mean_interval(values) is None


def test_the_command_prints_and_writes_the_same(folder, capfd):
    out = folder / "scores.json"
    assert command(folder, "--json", str(out), "--sequence") == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[0] == "3 images"
    report = json.loads(out.read_text())
    assert [image["name"] for image in report["images"]] == ["a", "b", "c"]
    rows = [evaluate(*images(folder, stem)) for stem in "abc"]
    assert [{k: v for k, v in image.items() if k != "name"} for image in report["images"]] == rows
    assert list(report["metrics"]) == [name for name in METRICS if METRICS[name].score]
    for line, (name, entry) in zip(printed[2:], report["metrics"].items(), strict=False):
        values = [row[name] for row in rows]
        assert entry["mean"] == pytest.approx(np.mean(values))
        assert entry["interval"] == pytest.approx(mean_interval(values))
        low, high = entry["interval"]
        assert line.split() == [
            name,
            METRICS[name].arrow,
            f"{entry['mean']:.4f}",
            f"{low:.4f}",
            "…",
            f"{high:.4f}",
        ]
    assert report["metrics"]["Nabf"]["better"] == "lower"
    assert report["metrics"]["VIFF"]["range"] == [0, None]
    assert report["settings"]["interval"] == {
        "percent": 95,
        "bootstrap_resamples": 10_000,
        "seed": 0,
    }
    # Noise on noise: hardly a pixel is still, and the row says what was measured.
    assert report["flicker"]["frames"] == 3
    assert f"{report['flicker']['still_share']:.1%} of the pixels are still" in printed[-1]


def test_one_image_has_no_interval_and_infinity_is_null(folder, capfd):
    same = str(folder / "ir" / "a.png")
    out = folder / "scores.json"
    paths = ["--ir", same, "--vi", same, "--fused", same]
    assert cli.main(["metrics", *paths, "--json", str(out)]) == 0
    printed = capfd.readouterr().out
    assert "1 image\n" in printed
    assert "one image has no interval" in printed
    assert "…" not in printed
    report = json.loads(out.read_text())
    assert report["metrics"]["SSIM"]["mean"] == pytest.approx(2)
    assert report["metrics"]["SSIM"]["interval"] is None
    assert report["metrics"]["PSNR"]["mean"] is None
    assert "inf" in printed


def test_flicker_of_a_sequence(folder, capfd):
    """Inputs change by one gray level, the fused image by three."""
    for i, stem in enumerate("abc"):
        for name, step in (("fused", 3), ("ir", 1), ("vi", 0)):
            write_image(folder / name / f"{stem}.png", np.full((48, 64), 99 + i * step, np.uint8))
    assert command(folder, "--sequence") == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[-2].split() == ["flicker", "↓", "3.0000"]
    assert "100.0% of the pixels are still" in printed[-1]
    assert command(folder, "--sequence", "--still", "0.5") == 0
    assert "nan" in capfd.readouterr().out.splitlines()[-2]


def test_lpips_with_weight_files(folder, capfd):
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape, generator=generator).abs() / 50
        for name, shape in _expected().items()
    }
    torch.save(state, folder / "weights.pth")
    assert command(folder, "--lpips", str(folder / "weights.pth")) == 0
    row = capfd.readouterr().out.splitlines()[-1].split()
    assert row[:2] == ["LPIPS", "↓"]
    assert 0 < float(row[2]) < 10


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--jobs", "0"], 2, "--jobs is 0, expected 1 or more"),
        (["--still", "-1"], 2, "--still is -1, expected 0 to 255"),
        (["--json", "/absent/scores.json"], 2, "make its folder first"),
        (["--lpips", "/absent.pth"], 1, "no LPIPS weights at /absent.pth"),
        (["--fused", "/absent"], 1, "no such file or folder: /absent"),
    ],
)
def test_a_wrong_call_and_a_failure_are_one_line(folder, options, status, words, capfd):
    assert command(folder, *options) == status
    errors = capfd.readouterr().err.strip().splitlines()
    assert errors[-1].startswith("dreamif: ")
    assert words in errors[-1]


def test_help_tells_every_metric_with_range_and_direction(capfd):
    with pytest.raises(SystemExit):
        cli.main(["metrics", "--help"])
    printed = capfd.readouterr().out
    for name, metric in METRICS.items():
        assert f"  {name:<9}{metric.arrow} {metric.range:<12}{metric.meaning}" in printed


def test_the_documentation_has_the_table(request):
    assert markdown_table() in (request.config.rootpath / "docs" / "evaluation.md").read_text()
