"""``dreamif evaluate`` and ``dreamif train``: tables, seeds, and what they refuse."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch

from dreamif_model.image_files import read_image, write_image
from dreamif_model.model_files.checkpoints import save_weights
from dreamif_model.network import make_network
from dreamif_model.variants import network_config
from dreamif_ros import cli


def test_evaluate_prints_and_writes_the_same_numbers(tmp_path, rng, capfd):
    for name in ("ir", "vi"):
        (tmp_path / name).mkdir()
        image = cv2.GaussianBlur(rng.integers(0, 256, (64, 80), dtype=np.uint8), (0, 0), 2)
        write_image(tmp_path / name / "a.png", np.asarray(image, np.uint8))
    paths = ["--ir", str(tmp_path / "ir"), "--vi", str(tmp_path / "vi")]
    out = tmp_path / "scores.json"
    options = ["--variant", "average", "--json", str(out), "--degrade", "gaussian:25"]
    assert cli.main(["evaluate", *paths, *options]) == 0
    scores = json.loads(out.read_text())
    clean, noisy = scores["results"]
    assert (clean["condition"], noisy["condition"]) == ("clean", "gaussian:25")
    assert list(clean["scores"]) == ["visible", "infrared", "average", "max"]
    assert list(noisy["scores"]) == [*clean["scores"], "nlm, max", "tv, max"]
    clean_table, noisy_table = capfd.readouterr().out.split("gaussian:25, 1 pair\n")
    for result, table in ((clean, clean_table), (noisy, noisy_table)):
        for method, row in result["scores"].items():
            columns = ["AG", "SF", "Qabf", "SSIM", "VIFF"]
            columns += ["PSNR clean"] if result is noisy else []
            cells = " | ".join(f"{row[column]:.3f}" for column in columns)
            assert f"| {method} | {cells} |\n" in table


def test_evaluate_averages_the_seeds_of_a_label_and_draws_sheets(tmp_path, rng, capfd):
    for name in ("ir", "vi"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", rng.integers(0, 256, (48, 64), dtype=np.uint8))
    arguments = ["evaluate", "--ir", str(tmp_path / "ir"), "--vi", str(tmp_path / "vi")]
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = make_network(network_config("nano", ("self_enhancement",)))
        path = tmp_path / f"{seed}.safetensors"
        save_weights(network, "nano", path, ("self_enhancement",))
        arguments += ["--weights", f"no SE={path}"]
    report, out = tmp_path / "scores.json", tmp_path / "report"
    arguments += ["--degrade", "visible=blur:2 infrared=stripes:8", "--out", str(out)]
    assert cli.main([*arguments, "--json", str(report)]) == 0
    (clean, _) = json.loads(report.read_text())["results"]
    values = [row["Qabf"] for name, row in clean["scores"].items() if name.startswith("no SE")]
    assert len(set(values)) == 2
    printed = capfd.readouterr().out
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in printed
    assert (out / "tables.md").read_text().removeprefix("<!-- made by dreamif -->\n") in printed
    sheets = sorted(path.name for path in out.glob("sheet_*.jpg"))
    assert sheets == ["sheet_clean.jpg", "sheet_visible_blur_2_infrared_stripes_8.jpg"]
    # Two inputs, average, max and two networks, 320 pixels each; title bar and one row.
    assert read_image(out / "sheet_clean.jpg").shape == (28 + 240, 6 * 320, 3)


@pytest.mark.parametrize(
    ("options", "label"),
    [
        (["--variant", "nano", "--weights", "mine/nano.safetensors"], "nano"),
        (["--variant", "nano", "--weights", "nano=mine/nano.safetensors"], "nano"),
        (["--weights", "a/x.safetensors", "--weights", "b/x.safetensors"], "x"),
        (["--weights", "x=a/y.safetensors", "--weights", "b/x.safetensors"], "x"),
        (["--weights", "max=a/y.safetensors"], "max"),
    ],
)
def test_evaluate_takes_only_given_labels_for_seeds_of_one_row(folders, options, label, capfd):
    paths = ["--ir", str(folders / "ir" / "a.png"), "--vi", str(folders / "vi" / "a.png")]
    assert cli.main(["evaluate", *paths, *options]) == 2
    error = capfd.readouterr().err
    assert f"there is a row '{label}' already: give --weights LABEL=FILE" in error


def test_evaluate_does_without_the_denoisers(tmp_path, rng, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "skimage", None)
    for name in ("ir", "vi"):
        write_image(tmp_path / f"{name}.png", rng.integers(0, 256, (48, 64), dtype=np.uint8))
    paths = ["--ir", str(tmp_path / "ir.png"), "--vi", str(tmp_path / "vi.png")]
    options = ["--variant", "average", "--degrade", "gaussian:25"]
    assert cli.main(["evaluate", *paths, *options]) == 0
    note, *table = capfd.readouterr().out.splitlines()
    assert note.startswith("without the rows 'nlm, max' and 'tv, max': restoring first needs")
    assert note.endswith("pip install 'dreamif_ros[evaluate]'")
    assert [row.split(" | ")[0] for row in table[-4:]] == [
        "| visible",
        "| infrared",
        "| average",
        "| max",
    ]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("", "expected NAME:STRENGTH"),
        ("gaussian", "expected NAME:STRENGTH"),
        ("gaussian:nan", "the strength of gaussian (σ in gray levels) must be from 0.1 to 255"),
        ("fog:3", "unknown degradation 'fog': choose one of haze"),
        ("radar=gaussian:3", "is for 'radar', expected infrared or visible"),
    ],
)
def test_evaluate_refuses_a_bad_degradation(folders, option, words, capfd):
    (folders / "ir" / "b.png").unlink()
    (folders / "vi" / "b.png").unlink()
    paths = ["--ir", str(folders / "ir"), "--vi", str(folders / "vi"), "--variant", "average"]
    assert cli.main(["evaluate", *paths, "--degrade", option]) == 2
    assert words in capfd.readouterr().err


def test_train_takes_data_seed_and_ablation_from_the_command(folders, capfd):
    config = folders / "train.yaml"
    config.write_text(
        "variant: nano\nsteps: 1\nbatch_size: 1\ncrop: 32\nlog_every: 1\n"
        "data: [{path: does-not-exist}]\n"
    )
    for name in ("c", "d"):  # one pair of two is held out; both of one size
        for kind in ("ir", "vi"):
            (folders / kind / f"{name}.png").write_bytes((folders / "vi" / "a.png").read_bytes())
    for name in ("a", "b"):
        (folders / "ir" / f"{name}.png").unlink()
        (folders / "vi" / f"{name}.png").unlink()
    out = folders / "run"
    arguments = ["train", "--config", str(config), "--out", str(out), "--data", f"{folders}=2"]
    assert cli.main([*arguments, "--seed", "7", "--without", "self_enhancement"]) == 0
    assert f"weights: {out / 'nano.safetensors'}" in capfd.readouterr().out
    record = json.loads((out / "nano.json").read_text())
    assert (record["config"]["seed"], record["config"]["without"]) == (7, ["self_enhancement"])
    assert [(data["weight"], data["training"]) for data in record["data"]] == [(2.0, ["d"])]


def test_train_refuses_a_missing_folder_before_it_writes(tmp_path, capfd):
    config = tmp_path / "c.yaml"
    config.write_text("variant: nano\ndata: [{path: none}]")
    assert cli.main(["train", "--config", str(config), "--out", str(tmp_path / "out")]) == 2
    told = capfd.readouterr().err
    assert f"there is no folder {tmp_path / 'none'} of training pairs: name the folder" in told
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


def test_train_refuses_a_weight_that_is_none(folders, capfd):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["train", "--config", "x", "--out", "y", "--data", f"{folders}=0"])
    assert exit_info.value.code == 2
    assert "must be above 0, got '0'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "0"], "dreamif: --steps must be a whole number, from 1 to 1000000000, got 0"),
        (["--seed", "-1"], "dreamif: --seed must be a whole number, from 0 to 2147483647, got -1"),
    ],
)
def test_train_names_a_bad_option(folders, options, words, capfd):
    arguments = ["train", "--config", "config/train/nano.yaml", "--out", str(folders / "run")]
    assert cli.main([*arguments, *options]) == 2
    assert capfd.readouterr().err.strip() == words
    assert not (folders / "run").exists()
