import json
import math

import numpy as np
import pytest
import torch

from dreamif_model import training
from dreamif_model.checkpoints import load_network
from dreamif_model.data import DataSet, write_image
from dreamif_model.errors import ConfigError, WeightsError
from dreamif_model.training import CHECKPOINT, LOG, TrainConfig, train

YAML = "variant: nano\ndata: [{path: pairs}]\n"


@pytest.fixture
def pairs(tmp_path, rng):
    folder = tmp_path / "pairs"
    for name, shape in (("ir", (40, 48)), ("vi", (40, 48, 3))):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            write_image(folder / name / f"{i}.png", pixels)
    return DataSet(folder)


def tiny(pairs, **settings):
    return TrainConfig(
        **{"variant": "nano", "data": (pairs,), "steps": 4, "batch_size": 2, "crop": 32}
        | {"warmup_steps": 2, "log_every": 1, "checkpoint_every": 2}
        | settings
    )


class InterruptedRunError(Exception):
    """Stands for a crash."""


def interrupt_at(monkeypatch, step):
    original = training._Run._train_step

    def train_step(run, *batch):
        if run.step == step:
            raise InterruptedRunError
        return original(run, *batch)

    monkeypatch.setattr(training._Run, "_train_step", train_step)


def test_resume_equals_an_uninterrupted_run(pairs, tmp_path, monkeypatch):
    config = tiny(pairs)
    whole = load_network("nano", train(config, tmp_path / "whole")).state_dict()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)  # one step after the checkpoint is lost
        with pytest.raises(InterruptedRunError):
            train(config, tmp_path / "parts")
    saved = torch.load(tmp_path / "parts" / CHECKPOINT, weights_only=True)
    assert saved["step"] == 2
    resumed = load_network("nano", train(config, tmp_path / "parts")).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    # The weights did move on after the checkpoint.
    early = saved["average"]["module.output.weight"]
    assert not torch.equal(early, resumed["output.weight"])

    rows = [json.loads(line) for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        assert row.keys() >= {"total", "learning_rate", *config.loss_weights}
        assert all(math.isfinite(value) for value in row.values())
    record = json.loads((tmp_path / "whole" / "nano.json").read_text())
    assert (record["config"]["crop"], record["log_end"]) == (32, rows)


def test_learning_rate(pairs, tmp_path):
    run = training._Run(tiny(pairs, steps=12, learning_rate=0.1), tmp_path)
    rates = []
    for run.step in (0, 1, 2, 7, 12):
        rates.append(run._learning_rate())
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.0505, 0.001])


@pytest.mark.parametrize("content", [b"", b"garbage", None], ids=["empty", "garbage", "foreign"])
def test_a_checkpoint_that_does_not_fit(pairs, tmp_path, content):
    path = tmp_path / CHECKPOINT
    if content is None:
        torch.save({"network": {}, "step": 1}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"checkpoint\.pt is damaged or not a checkpoint of"):
        train(tiny(pairs), tmp_path)


def test_load(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(
        "variant: nano\nsteps: 7\nlearning_rate: 0.01\n"
        'data: [{path: a, weight: 2, validation: ["010"]}, {path: b}]\n'
    )
    config = TrainConfig.load(path, steps=9)
    assert (config.variant, config.steps, config.learning_rate) == ("nano", 9, 0.01)
    assert config.batch_size == TrainConfig.batch_size
    assert config.data == (DataSet(tmp_path / "a", 2.0, ("010",)), DataSet(tmp_path / "b"))
    elsewhere = TrainConfig.load(path, data_root=tmp_path / "data")
    assert elsewhere.data[1] == DataSet(tmp_path / "data" / "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping"),
        ("- variant", "expected a mapping"),
        ("a: [", "cannot read"),
        ("data: [{path: pairs}]", "variant is missing"),
        ("variant: nano", "data is missing"),
        (YAML + "step: 5", "unknown keys: step; known: variant, data, steps"),
        ("variant: mega\ndata: [{path: p}]", "unknown network variant 'mega'"),
        ("variant: average\ndata: [{path: p}]", "unknown network variant 'average'"),
        ("variant: [nano]\ndata: [{path: p}]", "variant must be a name"),
        ("variant: nano\ndata: pairs", "data must be a list"),
        ("variant: nano\ndata: []", "data must name at least one"),
        ("variant: nano\ndata: [pairs]", "expected a mapping of data entry"),
        ("variant: nano\ndata: [{weight: 1}]", "path is missing"),
        ("variant: nano\ndata: [{path: 5}]", "path must be a folder, got 5"),
        ("variant: nano\ndata: [{path: p, wieght: 1}]", "unknown keys: wieght"),
        ("variant: nano\ndata: [{path: p, weight: 0}]", "weight must be a number"),
        ("variant: nano\ndata: [{path: p, validation: [010101]}]", "quoted file stems"),
        ("variant: nano\ndata: [{path: p, validation: a}]", "quoted file stems"),
        (YAML + "steps: many", "steps must be a whole number from 1 to inf, got 'many'"),
        (YAML + "steps: 2.5", "steps must be a whole number"),
        (YAML + "steps: true", "steps must be a whole number"),
        (YAML + "steps: 0", "steps must be a whole number from 1"),
        (YAML + "learning_rate: 1e-3", "write 1.0e-3"),
        (YAML + "learning_rate: .nan", "learning_rate must be a number"),
        (YAML + "degrade_probability: 1.5", "from 0 to 1, got 1.5"),
        (YAML + "crop: 50", "crop must be a multiple of 16 for nano, got 50"),
        (YAML + "loss_weights: 3", "loss_weights must give a number for each of pixel"),
        (YAML + "loss_weights: {pixel: 1}", "loss_weights must give a number for each of pixel"),
    ],
)
def test_refuses(tmp_path, text, message):
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        TrainConfig.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml"):
        TrainConfig.load(tmp_path / "none.yaml")
