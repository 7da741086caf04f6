import json
import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamif_model.errors import ConfigError, ImageError, WeightsError
from dreamif_model.image_files import read_image, write_image
from dreamif_model.model_files.checkpoints import FORMAT, load_network
from dreamif_model.training import run as training
from dreamif_model.training.data import DataSet
from dreamif_model.training.run import CHECKPOINT, train
from dreamif_model.training.train_config import DEFAULT_LOSS_WEIGHTS, Teacher, TrainConfig
from dreamif_model.training.validation import SIDE
from dreamif_model.training.watch import LOG
from dreamif_model.variants import network_config

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
    again = [json.loads(line) for line in (tmp_path / "parts" / LOG).read_text().splitlines()]
    assert [row["step"] for row in again] == [1, 2, 3, 4]  # not the lost one twice
    for row in rows:
        assert row.keys() >= {"total", "learning_rate", *config.loss_weights}
        assert all(math.isfinite(value) for value in row.values())
    record = json.loads((tmp_path / "whole" / "nano.json").read_text())
    assert (record["config"]["crop"], record["log"]) == (32, rows)


def test_a_half_written_row_of_the_log_is_dropped(pairs, tmp_path):
    (tmp_path / LOG).write_text('{"total": 1.0, "step": 0}\n{"total": 2.0, "st')
    train(tiny(pairs, steps=1), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_in_one_line(pairs, tmp_path, workers):
    for stem in ("1", "2"):
        (pairs.path / "vi" / f"{stem}.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"^cannot read \S+\.png: it is empty") as error:
        train(tiny(pairs, workers=workers), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_losses_and_pictures_of_the_validation_split(pairs, tmp_path):
    """A ramp is held out: what an untrained network does to it is little beside the noise."""
    ramp = np.tile(np.linspace(64, 192, 48).astype(np.uint8), (40, 1))
    write_image(pairs.path / "ir" / "0.png", ramp)
    write_image(pairs.path / "vi" / "0.png", np.dstack([ramp] * 3))
    out = tmp_path / "run"
    train(tiny(pairs, validate_every=2), out)
    rows = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    watched = [row for row in rows if "validation_clean" in row]
    assert [row["step"] for row in watched] == [2, 4]
    assert all(0 < row["validation_clean"] < row["validation_noisy"] for row in watched)
    picture = read_image(out / "pictures" / "0000004.png")
    side = SIDE
    assert picture.shape == (2 * side, 4 * side, 3)  # one pair: clean and noisy
    shown = read_image(pairs.path / "ir" / "0.png")  # the pair that is held out, 40×48
    middle = np.pad(shown, [(0, side - 40), (0, side - 48)], mode="symmetric")
    assert np.array_equal(picture[:side, :side, 0], middle)
    noise = picture[side:, :side, 0].astype(float) - middle
    unclipped = (middle > 100) & (middle < 155)
    assert noise[unclipped].std() == pytest.approx(25, rel=0.05)
    assert list((out / "tensorboard").glob("events*"))


def test_a_run_that_holds_nothing_out_watches_nothing(pairs, tmp_path):
    out = tmp_path / "run"
    train(tiny(replace(pairs, validation=()), steps=2, validate_every=1), out)
    rows = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert not any("validation_clean" in row for row in rows)
    assert not (out / "pictures").exists()


def test_starts_from_given_weights(pairs, tmp_path):
    first = train(tiny(pairs), tmp_path / "first")
    still = tiny(pairs, initial_weights=str(first), learning_rate=0.0, weight_decay=0.0)
    second = train(still, tmp_path / "second")
    expected = load_network("nano", first).state_dict()
    for name, value in load_network("nano", second).state_dict().items():
        assert torch.equal(value, expected[name])


def test_starts_from_older_weights_and_learns_to_use_a_map_of_noise(pairs, tmp_path):
    first = train(tiny(pairs), tmp_path / "first")
    state = load_file(first)
    for name in ("embed_noise.kernel.weight", "embed_noise.kernel.bias"):
        del state[name]
    older = tmp_path / "older.safetensors"
    save_file(state, older, {"format": FORMAT, "variant": "nano", "without": ""})
    learned = tiny(pairs, initial_weights=str(older), stream_probability=1.0, learning_rate=0.01)
    network = load_network("nano", train(learned, tmp_path / "second"))
    assert network.embed_noise.kernel.weight.abs().max() > 1e-4


def test_ablation_is_written_into_the_weights(pairs, tmp_path):
    without = ("cross_enhancement", "self_enhancement")
    path = train(tiny(pairs, without=without), tmp_path)
    network = load_network("nano", path)
    assert network.config == network_config("nano", without)
    parts = (".cross.other.", ".prompts.")
    assert not any(part in name for name in network.state_dict() for part in parts)
    with pytest.raises(ConfigError, match="other parts left out"):
        train(tiny(pairs, initial_weights=str(path)), tmp_path / "whole")


def test_distillation(pairs, tmp_path):
    teacher = train(tiny(pairs), tmp_path / "teacher")
    taught = Teacher("nano", str(teacher), weight=10)
    train(tiny(pairs, teacher=taught), tmp_path / "student")

    def first_row(name):
        return json.loads((tmp_path / name / LOG).read_text().splitlines()[0])

    assert first_row("student")["distillation"] > 0.01
    row = first_row("student")
    parts = sum(DEFAULT_LOSS_WEIGHTS[name] * row[name] for name in DEFAULT_LOSS_WEIGHTS)
    assert row["total"] == pytest.approx(parts + 10 * row["distillation"], rel=1e-4)


def test_the_teacher_sees_clean_images(pairs, tmp_path):
    teacher = train(tiny(pairs), tmp_path / "teacher")
    taught = {"teacher": Teacher("nano", str(teacher)), "initial_weights": str(teacher)}
    for name, share in (("noisy", 1.0), ("clean", 0.0)):
        train(
            tiny(pairs, degrade_probability=share, degradations=("gaussian",), **taught),
            tmp_path / name,
        )
    noisy, clean = (
        json.loads((tmp_path / name / LOG).read_text().splitlines()[0])["distillation"]
        for name in ("noisy", "clean")
    )
    assert clean < 1e-6 < 1e-3 < noisy


GRADIENTS = """
import sys, torch
from pathlib import Path
from dreamif_model.training.data import DataSet
from dreamif_model.training.train_config import DEFAULT_LOSS_WEIGHTS, Teacher, TrainConfig
from dreamif_model.training import run as training

torch.set_num_threads(1)
pairs, out = map(Path, sys.argv[1:])
config = TrainConfig("nano", (DataSet(pairs),), steps=1, batch_size=4, crop=64,
                     gradient_clip=1e6, log_every=1)
with training._processes():
    run = training._Run(config, out)
    run.fit()
    if run.rank == 0:
        torch.save({n: p.grad for n, p in run.network.named_parameters()}, out / "gradients.pt")
"""


def test_two_processes_have_the_gradients_of_one(pairs, tmp_path):
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    gradients, losses = [], []
    for count in (1, 2):
        out = tmp_path / f"{count}"
        out.mkdir()
        command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command += ["--local-addr=127.0.0.1"]  # whatever this machine's name resolves to
        subprocess.run(
            [sys.executable, *command, script, pairs.path, out],
            check=True,
            timeout=120,
            env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            start_new_session=True,  # torchrun ends its whole group where a process of it fails
        )
        gradients.append(torch.load(out / "gradients.pt", weights_only=True))
        losses.append(json.loads((out / LOG).read_text().splitlines()[0])["total"])
    one, two = gradients
    assert one.keys() == two.keys()
    largest = max(gradient.abs().max() for gradient in one.values())
    for name, gradient in one.items():
        assert (gradient - two[name]).abs().max() < 1e-5 * largest, name
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_batch_that_the_processes_cannot_share(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_place", lambda: (0, 2))
    with pytest.raises(ConfigError, match="multiple of the 2 processes, got 3"):
        training._Run(tiny(pairs, batch_size=3), tmp_path)


def test_learning_rate(pairs, tmp_path):
    run = training._Run(tiny(pairs, steps=12, learning_rate=0.1), tmp_path)
    rates = []
    for run.step in (0, 1, 2, 7, 12):
        rates.append(run._learning_rate())
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.0505, 0.001])


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"h\x07.", {"network": {}, "step": 1}, [1], {"network": 5}],
    ids=["empty", "garbage", "pickle", "foreign", "list", "number"],
)
def test_a_checkpoint_that_does_not_fit(pairs, tmp_path, content):
    path = tmp_path / CHECKPOINT
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    words = r"checkpoint\.pt is damaged or not a checkpoint of variant 'nano': remove it"
    with pytest.raises(WeightsError, match=words):
        train(tiny(pairs), tmp_path)


def test_load(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(
        "variant: nano\nsteps: 7\nlearning_rate: 0.01\n"
        'data: [{path: a, weight: 2, validation: ["010"]}, {path: b}, {path: c, validation: []}]\n'
    )
    config = TrainConfig.load(path, steps=9)
    assert (config.variant, config.steps, config.learning_rate) == ("nano", 9, 0.01)
    assert config.batch_size == TrainConfig.batch_size
    named, own, none = config.data
    assert named == DataSet(tmp_path / "a", 2.0, ("010",))
    assert (own, own.validation) == (DataSet(tmp_path / "b"), None)
    assert (none, none.validation) == (DataSet(tmp_path / "c", validation=()), ())
    elsewhere = TrainConfig.load(path, data_root=tmp_path / "data")
    assert elsewhere.data[1] == DataSet(tmp_path / "data" / "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping"),
        ("- variant", "expected a mapping"),
        ("a: [", "line 1: "),
        ("data: [{path: pairs}]", "variant is missing"),
        ("variant: nano", "data is missing"),
        (YAML + "step: 5", "unknown keys: step; known: variant, data, without"),
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
        (YAML + "steps: many", "steps must be a whole number, from 1 to 1000000000, got 'many'"),
        (YAML + "steps: 2.5", "steps must be a whole number"),
        (YAML + "steps: true", "steps must be a whole number"),
        (YAML + "steps: 0", "steps must be a whole number, from 1 to 1000000000, got 0"),
        (YAML + "learning_rate: .inf", "learning_rate must be a number, from 0 to 100, got inf"),
        (YAML + "learning_rate: 1e308", "from 0 to 100, got 1e+308"),
        (YAML + f"steps: 1{'0' * 400}", "a number of 401 characters, expected at most 40"),
        (YAML + f"crop: {2**40}", "crop must be a whole number, from 1 to 8192"),
        (YAML + f"batch_size: {2**40}", "batch_size must be a whole number, from 1 to 65536"),
        (YAML + "crop: 8192\nbatch_size: 65536", "pixels a step, expected at most 67108864"),
        (YAML + "degradations: [[gaussian]]", "degradations must be a list of haze"),
        (YAML + "variant: tiny", "'variant' is given twice"),
        (YAML + "seed: 4294967296", "seed must be a whole number, from 0 to 2147483647"),
        (YAML + "learning_rate: .nan", "learning_rate must be a number"),
        (YAML + "degrade_probability: 1.5", "from 0 to 1, got 1.5"),
        (YAML + "crop: 50", "crop must be a multiple of 32 for nano, got 50"),
        (YAML + "precision: fp8", "precision must be one of fp32, bf16, got 'fp8'"),
        (YAML + "degradations: [fog]", "degradations must be a list of haze, rain"),
        (YAML + "degradations: []", "degradations is empty"),
        (YAML + "without: decoder", "without must be a list of relative_dominance, cross"),
        (
            YAML + "without: [relative_dominance]\ninitial_weights: 3",
            "initial_weights must be text",
        ),
        (YAML + "teacher: tiny", "expected a mapping of teacher's settings"),
        (YAML + "teacher: {variant: mega}", "unknown network variant 'mega'"),
        (YAML + "teacher: {variant: tiny, weight: -1}", "teacher.weight must be a number"),
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


def test_numbers_are_those_of_yaml_1_2(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(YAML + "learning_rate: 2e-3\nwarmup_steps: 012\n")
    config = TrainConfig.load(path)
    assert (config.learning_rate, config.warmup_steps) == (0.002, 12)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml"):
        TrainConfig.load(tmp_path / "none.yaml")


def test_the_average_of_a_short_run_has_forgotten_its_random_start():
    """A weight that jumps from 0 to 1 at once: after 100 steps nearly all of the average is 1."""
    average = [torch.zeros(3)]
    for count in range(1, 101):
        training._blend(0.999, average, [torch.ones(3)], torch.tensor(count))
    assert (average[0] > 0.9999).all()
    slow = [torch.zeros(3)]
    training._blend(0.999, slow, [torch.ones(3)], torch.tensor(100_000))
    torch.testing.assert_close(slow[0], torch.full((3,), 0.001))
