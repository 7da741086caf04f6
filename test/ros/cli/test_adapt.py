"""`dreamif adapt`: what it trains on, what it holds out, and which result it refuses."""

import json
import re

import numpy as np
import pytest
import torch
from helpers.bag_files import Street, street_messages, write_bag

from dreamif_model import FusionPipeline
from dreamif_model.cameras import Both
from dreamif_model.image_files import read_image
from dreamif_model.model_files.checkpoints import load_network
from dreamif_model.registration.calibration_file import write_calibration
from dreamif_model.registration.geometry import Homography
from dreamif_model.registration.warp import Calibration
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_model.training import run as training
from dreamif_model.training.data import DataSet
from dreamif_model.training.fine_tuning import PACKAGED, fine_tuning
from dreamif_ros import adaptation
from dreamif_ros.adaptation import Footage, covered_window, training_folder, written_pairs
from dreamif_ros.bag import read_pairs
from dreamif_ros.bag.recorded_pairs import PairingOptions
from dreamif_ros.cli import main

SIZE = (96, 72)  # of the street
STEPS = 12
NO_BETTER = {"clean": {"packaged": {"loss": 1.0}, "adapted": {"loss": 1.0}}}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Thirty pairs of 16-bit infrared."""
    street = street_messages(3.0, 10.0, Street(SIZE))
    return write_bag(tmp_path_factory.mktemp("bags") / "street", street)


def adapt(*arguments):
    return main(["adapt", *map(str, arguments), "--threads", "1"])


@pytest.fixture(scope="module")
def adapted(bag, tmp_path_factory):
    """The weights of a few steps, the pairs kept."""
    folder = tmp_path_factory.mktemp("adapted")
    out, kept = folder / "mine.safetensors", folder / "pairs"
    options = ("--steps", STEPS, "--learning-rate", 2e-3, "--pairs", 25, "--keep-pairs", kept)
    assert adapt(bag, "--out", out, *options) == 0
    return out


def chosen(bag, count):
    """Pairs spread evenly, infrared as the node would normalize it."""
    normalizer = ThermalNormalizer()
    pairs = [(normalizer.normalize(pair.infrared), pair.visible) for pair in read_pairs(bag)]
    return [pairs[place] for place in np.linspace(0, len(pairs) - 1, count).round().astype(int)]


def test_the_pairs_are_those_of_the_node_spread_evenly(bag, adapted):
    kept = adapted.parent / "pairs" / "street"
    expected = chosen(bag, 25)
    assert sorted(path.name for path in (kept / "ir").iterdir())[-1] == "00024.png"
    for number, (infrared, visible) in enumerate(expected):
        assert np.array_equal(read_image(kept / "ir" / f"{number:05d}.png"), infrared)
        assert np.array_equal(read_image(kept / "vi" / f"{number:05d}.png"), visible)


def test_the_last_tenth_is_held_out(adapted):
    record = json.loads(adapted.with_suffix(".json").read_text())
    (data,) = record["data"]
    assert data["name"] == "street"
    assert data["training"] == [f"{number:05d}" for number in range(22)]
    assert data["validation"] == ["00022", "00023", "00024"]
    (recording,) = record["recordings"]
    assert (recording["pairs"], recording["written"]) == (30, 25)
    assert (recording["held_out"], recording["size"]) == (3, list(SIZE))


def test_the_record_tells_how_the_weights_were_made_and_judged(adapted):
    record = json.loads(adapted.with_suffix(".json").read_text())
    assert next(iter(record)) == "made_by"
    config = record["config"]
    assert (config["steps"], config["learning_rate"]) == (STEPS, 2e-3)
    assert config["initial_weights"] == "nano.safetensors"
    figures = record["held_out"]
    totals = {
        name: figures["clean"][name]["loss"] + figures["noisy"][name]["loss"]
        for name in ("packaged", "adapted")
    }
    assert totals["adapted"] < totals["packaged"]
    for condition, columns in (("clean", 4), ("noisy", 5)):
        for values in figures[condition].values():
            assert len(values) == columns
            assert np.isfinite(list(values.values())).all()


def test_the_weights_are_what_a_pipeline_takes(bag, adapted):
    network, packaged = load_network("nano", adapted), load_network("nano")
    moved = [
        float((value - packaged.state_dict()[name]).abs().max())
        for name, value in network.state_dict().items()
    ]
    assert 0 < max(moved) < 0.01
    infrared, visible = chosen(bag, 2)[0]
    fused = FusionPipeline("nano", "cpu", weights=adapted).fuse(visible, infrared).fused
    assert fused.shape == (SIZE[1], SIZE[0], 3)
    difference = FusionPipeline("nano", "cpu").fuse(visible, infrared).fused.astype(int) - fused
    assert 0 < np.abs(difference).max() < 60


def test_nothing_but_the_training_is_left_beside_the_weights(adapted):
    left = {path.name for path in adapted.parent.iterdir()}
    assert left == {"mine.safetensors", "mine.json", "mine_training", "pairs"}


def test_a_worse_result_is_refused(bag, tmp_path, capsys):
    out = tmp_path / "mine.safetensors"
    assert adapt(bag, "--out", out, "--steps", 2, "--learning-rate", 20) == 1
    assert not out.exists()
    assert not out.with_suffix(".json").exists()
    told = capsys.readouterr()
    rows = re.findall(r"^(clean|noisy), (packaged|adapted) +([\d.]+)", told.out, re.MULTILINE)
    loss = {row[:2]: float(row[2]) for row in rows}
    packaged = loss["clean", "packaged"] + loss["noisy", "packaged"]
    assert loss["clean", "adapted"] + loss["noisy", "adapted"] > packaged + 1
    assert told.err.count("\n") == 1
    assert re.search(rf"mine\.safetensors was not written: .* {packaged:.3f}\d? of", told.err)
    assert list(tmp_path.iterdir()) == [training_folder(out)]


def test_a_second_call_resumes_with_the_same_recordings_only(bag, tmp_path, monkeypatch, capsys):
    out, steps = tmp_path / "mine.safetensors", []
    original = training._Run._train_step

    def count(run, *batch):
        steps.append(run.step)
        return original(run, *batch)

    monkeypatch.setattr(training._Run, "_train_step", count)
    monkeypatch.setattr(adaptation, "compare_with_packaged", lambda *_: NO_BETTER)
    assert adapt(bag, "--out", out, "--steps", 2) == 1
    assert adapt(bag, "--out", out, "--steps", 4) == 1
    assert steps == [0, 1, 2, 3]
    saved = torch.load(training_folder(out) / training.CHECKPOINT, weights_only=True)
    assert saved["step"] == 4
    capsys.readouterr()
    assert adapt(bag, "--out", out, "--steps", 4, "--pairs", 20) == 2
    assert "was begun with other recordings or settings" in capsys.readouterr().err
    assert len(steps) == 4


def test_what_registered_infrared_does_not_reach_is_cut_off(bag, tmp_path):
    """Infrared lies 16 pixels to the right of the visible image, and 8 below it."""
    shift = Homography(np.array([[1.0, 0, 16], [0, 1, 8], [0, 0, 1]]))
    calibration, out = tmp_path / "calibration.yaml", tmp_path / "mine.safetensors"
    write_calibration(Calibration(shift, SIZE, SIZE), calibration)
    footage = Footage(
        {"street": bag}, Both(None, None), PairingOptions(), calibration, ThermalConfig(), 20
    )
    with written_pairs(footage, out) as (written,):
        assert written.size == (80, 64)
        for number, (infrared, visible) in enumerate(chosen(bag, 20)):
            image = read_image(written.folder / "ir" / f"{number:05d}.png")
            assert np.array_equal(image, infrared[:64, :80])
            image = read_image(written.folder / "vi" / f"{number:05d}.png")
            assert np.array_equal(image, visible[8:, 16:])
    assert list(tmp_path.iterdir()) == [calibration]


def test_a_window_has_no_pixel_that_is_not_covered():
    y, x = np.mgrid[:120, :160]
    turned = (np.abs((x - 80) + 0.1 * (y - 60)) < 60) & (np.abs((y - 60) - 0.1 * (x - 80)) < 45)
    window = covered_window(turned)
    assert turned[window].all()
    # The largest upright rectangle in it, by trial of all those around its middle.
    assert turned[window].size >= 0.9 * largest_around_the_middle(turned)
    everything = np.ones((4, 5), bool)
    assert everything[covered_window(everything)].shape == (4, 5)
    assert everything[covered_window(~everything)].size == 0


def largest_around_the_middle(covered):
    height, width = covered.shape
    middles = [
        covered[height // 2 - half : height // 2 + half, width // 2 - wide : width // 2 + wide]
        for half in range(1, height // 2)
        for wide in range(1, width // 2)
    ]
    return max(middle.size for middle in middles if middle.all())


@pytest.mark.parametrize("variant", PACKAGED)
def test_packaged_weights_are_tuned_as_they_were_trained(tmp_path, variant):
    config = fine_tuning(variant, (DataSet(tmp_path),), steps=5)
    assert config.variant == variant
    assert load_network(variant, config.initial_weights).config.luma
    assert "gaussian" in config.degradations
    assert "low_light" not in config.degradations


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--out", "mine.onnx"], 2, "mine.onnx, expected a name that ends in .safetensors"),
        (["--out", "notes.safetensors"], 2, "notes.safetensors exists, and dreamif did not write"),
        (["--out", "no/mine.safetensors"], 2, "make its folder first"),
        (["--pairs", "19"], 2, "19 pairs are too few for 1 recordings: expected 20 or more"),
        (["--minutes", "-1"], 2, "--minutes must be a number, from 0"),
        (["--keep-pairs", "."], 2, "--keep-pairs . exists already: name a new folder"),
        (["--slop", "0", "--infrared-offset", "0.02"], 1, "street has 0 pairs, of which 0 could"),
        (["--vi", "/nothing"], 1, "/nothing"),
        (["--calibration", "none.yaml"], 2, "none.yaml"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    bag, tmp_path, monkeypatch, capsys, options, status, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.safetensors").write_text("mine")
    assert adapt(bag, "--out", "mine.safetensors", *options) == status
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes.safetensors"]


def test_a_recording_that_is_too_short_is_refused(tmp_path, capsys):
    short = write_bag(tmp_path / "short", street_messages(1.9, 10.0, Street(SIZE)))
    assert adapt(short, "--out", tmp_path / "mine.safetensors") == 1
    assert (
        "short has 19 pairs, of which 19 could be written: expected 20" in capsys.readouterr().err
    )


def test_images_that_are_too_small_are_refused(tmp_path, capsys):
    small = write_bag(tmp_path / "small", street_messages(2.0, 10.0, Street((64, 56))))
    assert adapt(small, "--out", tmp_path / "mine.safetensors") == 1
    assert "have 64x56 pixels in common, expected 64x64 or more" in capsys.readouterr().err
