"""The packaged weights do what the README says, on pairs that training never saw."""

import json

import numpy as np
import pytest
import yaml

from dreamif_model import FusionPipeline
from dreamif_model.benchmark.complexity import complexity
from dreamif_model.comparison import BASELINES, compare, network_method
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.image_files import find_pairs
from dreamif_model.thermal import ThermalNormalizer
from dreamif_model.variants import WEIGHTS_FOLDER, network_config
from dreamif_ros.scene.scene import Scene, SceneConfig

VARIANTS = ("nano", "nano_permissive", "tiny")
# Times the Qabf of the mean and the maximum. The lean nano pays for its speed here, and
# nano_permissive for its few data: see their cards.
EDGES_UNDER_NOISE = {"nano": 1.35, "nano_permissive": 1.2, "tiny": 1.5}


@pytest.fixture(scope="module")
def scores(pairs_root):
    """Mean of each metric by condition and method on held-out RoadScene and TNO pairs."""
    pairs = [
        pair
        for name in ("roadscene", "tno")
        for pair in find_pairs(pairs_root / name / "ir", pairs_root / name / "vi")[::8][::2]
    ]
    methods = {name: BASELINES[name] for name in ("average", "max")}
    methods |= {name: network_method(FusionPipeline(name, "cpu")) for name in VARIANTS}
    noise = {"gaussian:25": DegradationSpec.parse(["gaussian:25"])}
    results = list(compare(pairs, methods, noise))

    def mean(condition, method, metric):
        return np.mean([r.scores[method][metric] for r in results if r.condition == condition])

    return mean


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["AG", "SF", "Qabf", "VIFF"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_clean_pairs_are_fused_better_than_by_the_mean(scores, variant, metric):
    assert scores("clean", variant, metric) > scores("clean", "average", metric)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["Qabf", "SSIM"])
@pytest.mark.parametrize("baseline", ["average", "max"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_noise_is_removed_while_fusing(scores, variant, baseline, metric):
    fused = scores("gaussian:25", variant, metric)
    margin = EDGES_UNDER_NOISE[variant] if metric == "Qabf" else 1.5
    assert fused > margin * scores("gaussian:25", baseline, metric)


def gradients_between_cells(image, stem):
    """Mean gradient between the network's cells, relative to the mean of all, down and across."""
    for axis in (0, 1):
        lines = np.abs(np.diff(image.astype(float), axis=axis)).mean(axis=1 - axis)
        yield lines[stem - 1 :: stem].mean() / lines[: len(lines) // stem * stem].mean()


@pytest.mark.parametrize("noise", ["gaussian:35", "poisson:60", "speckle:0.25"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_pattern_of_cells_is_printed(variant, noise):
    """On the simulated street, whose pictures have no blocks of a codec."""
    pipeline = FusionPipeline(variant, "cpu")
    spec = DegradationSpec.parse([noise])
    stem = network_config(variant).stem
    found = []
    for seed in range(4):
        scene = Scene(SceneConfig(seed, visible_size=(320, 240), infrared_size=(320, 240)))
        generator = spec.generator(seed)
        infrared = ThermalNormalizer().normalize(scene.infrared(1.0))
        fused = pipeline.fuse(
            visible=spec.apply(scene.visible(1.0), "visible", generator),
            infrared=spec.apply(infrared, "infrared", generator),
        ).fused
        found.append(list(gradients_between_cells(fused[..., 1], stem)))
    assert np.mean(found, axis=0).max() <= 1.05


@pytest.mark.parametrize("variant", VARIANTS)
def test_their_cards_tell_their_size(variant):
    cost = complexity(variant, 640, 480)
    size = f"{cost.parameters:,} parameters, {cost.macs / 1e9:.2f} GMAC for one 640×480 pair"
    assert size in (WEIGHTS_FOLDER / f"{variant}.md").read_text()


@pytest.mark.parametrize("variant", VARIANTS)
def test_their_making_is_recorded(variant):
    record = json.loads((WEIGHTS_FOLDER / f"{variant}.json").read_text())
    assert record["command"].startswith(f"dreamif train --config config/train/{variant}.yaml")
    assert_made_as(f"{variant}.yaml", record)


def assert_made_as(config_file, record):
    config = yaml.safe_load((WEIGHTS_FOLDER.parents[1] / "config/train" / config_file).read_text())
    for name in config.keys() - {"data", "initial_weights"}:
        assert record["config"][name] == config[name], name
    assert record["log"][-1]["step"] == config["steps"]
