"""The packaged weights do what the README says, on pairs that training never saw."""

import json

import pytest
import yaml

from dreamif_model import FusionPipeline
from dreamif_model.checkpoints import WEIGHTS_FOLDER
from dreamif_model.data import find_pairs
from dreamif_model.degradation_spec import DegradationSpec
from dreamif_model.evaluation import BASELINES, compare, network_method


@pytest.fixture(scope="module")
def methods():
    return BASELINES | {"nano": network_method(FusionPipeline("nano", "cpu"))}


@pytest.fixture(scope="module")
def validation(pairs_root):
    """The held-out RoadScene and TNO pairs: every eighth."""
    return [
        pair
        for name in ("roadscene", "tno")
        for pair in find_pairs(pairs_root / name / "ir", pairs_root / name / "vi")[::8]
    ]


@pytest.mark.slow
def test_clean_pairs_are_fused_better_than_by_the_mean(validation, methods):
    scores = compare(validation, methods)
    for metric in ("AG", "SF", "Qabf", "VIFF"):
        assert scores["nano"][metric] > scores["average"][metric], (metric, scores)


@pytest.mark.slow
def test_noise_is_removed_while_fusing(validation, methods):
    scores = compare(validation[::2], methods, DegradationSpec.parse(["gaussian:25"]))
    for metric in ("Qabf", "SSIM"):
        for baseline in ("average", "max"):
            assert scores["nano"][metric] > 1.5 * scores[baseline][metric], (metric, scores)


def test_their_making_is_recorded():
    record = json.loads((WEIGHTS_FOLDER / "nano.json").read_text())
    assert record["command"].startswith("dreamif train --config config/train/nano.yaml")
    config = yaml.safe_load((WEIGHTS_FOLDER.parents[1] / "config/train/nano.yaml").read_text())
    assert record["config"]["seed"] == config["seed"]
    assert record["log_end"][-1]["step"] == record["config"]["steps"] == config["steps"]
