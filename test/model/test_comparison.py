import sys
import types

import numpy as np
import pytest
import torch

from dreamif_model.cameras import Camera
from dreamif_model.comparison import BASELINES, CLEAN, OWN_CLEAN, TWO_STAGE, Method, compare
from dreamif_model.degradations.denoisers import BM3D, DENOISERS
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import PairPaths, write_image
from dreamif_model.metrics import evaluate, psnr

NOISE = DegradationSpec.parse(["infrared=stripes:8", "gaussian:25"])


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (2, 64, 72), dtype=np.uint8)


@pytest.fixture
def pair(tmp_path, images):
    pair = PairPaths(tmp_path / "ir.png", tmp_path / "vi.png")
    write_image(pair.infrared, images[0])
    write_image(pair.visible, images[1])
    return pair


def degraded(images, seed=7):
    generator = torch.Generator().manual_seed(seed * 1_000_003)
    return (
        NOISE.apply(images[0], Camera.INFRARED, generator),
        NOISE.apply(images[1], Camera.VISIBLE, generator),
    )


def test_methods_see_degraded_inputs_and_are_scored_against_clean_ones(pair, images):
    seen = []

    def fuse(infrared, visible):
        seen.append((infrared, visible))
        return infrared

    clean, noisy = compare([pair], {"copy": Method(fuse)}, {"noise": NOISE}, seed=7)
    shown = degraded(images)
    np.testing.assert_array_equal(seen, [images, shown])
    assert (clean.condition, noisy.condition) == (CLEAN, "noise")
    np.testing.assert_array_equal(noisy.images["shown visible"], shown[1])
    np.testing.assert_array_equal(noisy.images["copy"], shown[0])
    assert clean.scores["copy"] == evaluate(images[0], *images)
    expected = evaluate(shown[0], *images) | {OWN_CLEAN: psnr(shown[0], images[0])}
    assert noisy.scores["copy"] == expected


def test_restoring_first_is_compared_with_fusing_the_clean_pair(pair, images):
    free = {name: method for name, method in TWO_STAGE.items() if method.restore != BM3D}
    clean, noisy = compare([pair], free, {"noise": NOISE}, seed=7)
    assert clean.scores == {}  # nothing to restore
    restored = [DENOISERS["tv"](image) for image in degraded(images)]
    fused = np.maximum(*restored)
    np.testing.assert_array_equal(noisy.images["tv, max"], fused)
    assert noisy.scores["tv, max"][OWN_CLEAN] == psnr(fused, np.maximum(*images))


def test_a_condition_does_not_depend_on_the_others(pair):
    one = list(compare([pair], BASELINES, {"noise": NOISE}))
    two = list(
        compare([pair], BASELINES, {"blur": DegradationSpec.parse(["blur:2"]), "noise": NOISE})
    )
    assert one[1].scores == two[2].scores


def test_a_condition_may_be_drawn_for_each_pair(pair):
    seeds = []

    def draw(seed):
        seeds.append(seed)
        return NOISE

    drawn, fixed = (
        list(compare([pair] * 2, BASELINES, {"noise": condition}, seed=3))
        for condition in (draw, NOISE)
    )
    assert seeds == [3_000_009, 3_000_010]
    assert [result.scores for result in drawn] == [result.scores for result in fixed]


def test_lpips_joins_the_scores_where_it_is_given(pair, images):
    class Distance:
        def score(self, fused, infrared, visible):
            np.testing.assert_array_equal([infrared, visible], images)
            return float(fused.mean())

    clean, noisy = compare([pair], BASELINES, {"noise": NOISE}, lpips=Distance())
    assert clean.scores["infrared"]["LPIPS"] == images[0].mean()
    assert noisy.scores["max"]["LPIPS"] == noisy.images["max"].mean()


def test_an_image_that_is_too_small_is_named(tmp_path):
    pair = PairPaths(tmp_path / "ir.png", tmp_path / "vi.png")
    for path in (pair.infrared, pair.visible):
        write_image(path, np.zeros((30, 40), np.uint8))
    with pytest.raises(ImageError, match=r"vi\.png: this metric needs 41×41 pixels"):
        list(compare([pair], BASELINES, {}))


def test_baselines():
    infrared, visible = np.array([[0, 255]], np.uint8), np.array([[101, 254]], np.uint8)
    fused = {name: method.fuse(infrared, visible) for name, method in BASELINES.items()}
    assert fused["average"].tolist() == [[50, 254]]  # 50.5 and 254.5, to even
    assert fused["max"].tolist() == [[101, 255]]
    assert (fused["visible"] is visible, fused["infrared"] is infrared) == (True, True)


@pytest.mark.parametrize("name", DENOISERS)
def test_denoisers_take_most_of_the_noise_away(name):
    if name == BM3D:
        pytest.importorskip("bm3d", reason="needs bm3d, which is not for commercial use")
    y, x = np.mgrid[0:96, 0:96]
    clean = (120 + 60 * np.sin(x / 12) * np.cos(y / 15)).astype(np.uint8)
    generator = torch.Generator().manual_seed(0)
    noisy = DegradationSpec.parse(["gaussian:25"]).apply(clean, Camera.VISIBLE, generator)
    assert psnr(DENOISERS[name](noisy), clean) > psnr(noisy, clean) + 6
    assert psnr(DENOISERS[name](clean), clean) > 40  # no noise, next to no change


def test_bm3d_is_told_the_noise_level_of_the_image(monkeypatch):
    told = []
    fake = types.SimpleNamespace(bm3d=lambda gray, sigma: told.append(sigma) or gray / 2)
    monkeypatch.setitem(sys.modules, "bm3d", fake)
    noisy = np.random.default_rng(0).normal(120, 20, (96, 96)).astype(np.uint8)
    np.testing.assert_allclose(DENOISERS[BM3D](noisy), noisy / 2, atol=0.5)
    assert told == [pytest.approx(20 / 255, rel=0.1)]


def test_without_bm3d_the_error_names_its_terms(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(ConfigError, match=r"no commercial use: pip install .*evaluate,bm3d"):
        DENOISERS[BM3D](np.eye(48, dtype=np.uint8))
