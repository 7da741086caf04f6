"""The noise level is found whatever the scene does, and near black too."""

import numpy as np
import pytest
from helpers.videos import camera, scene

from dreamif_model.temporal.noise import NOISY, ClippedNoise, NoiseMeter, noise_level

SIZE = (192, 256)


def floats(image):
    return image.astype(np.float32)


@pytest.mark.parametrize("sigma", [3, 10, 35])
@pytest.mark.parametrize("level", [None, 0, 20, 250])
def test_the_level_is_found_on_a_scene_and_where_noise_is_clipped(sigma, level, rng):
    truth = scene(size=SIZE) if level is None else np.full(SIZE, level, np.float32)
    frames = [floats(camera(truth, sigma, rng)) for _ in range(2)]
    assert noise_level(frames[1], frames[0]) == pytest.approx(sigma, rel=0.1)
    assert noise_level(frames[1]) == pytest.approx(sigma, rel=0.15)


def test_texture_that_stands_still_is_no_noise(rng):
    texture = floats(rng.integers(0, 256, SIZE))
    assert noise_level(texture) > 50
    assert noise_level(texture, texture.copy()) == 0


def test_motion_is_no_noise(rng):
    before, after = (floats(camera(scene(seed, SIZE), 4, rng)) for seed in (1, 2))
    assert noise_level(after, before) == pytest.approx(4, rel=0.15)


def test_one_gray_level_has_no_noise():
    assert noise_level(np.zeros(SIZE, np.float32)) == 0
    assert noise_level(np.full(SIZE, 77, np.float32)) < 0.01


@pytest.mark.parametrize("level", [0, 15, 60, 200, 255])
def test_mean_and_variance_of_clipped_noise_are_those_of_a_simulation(level, rng):
    sigma = 30.0
    noise = ClippedNoise(sigma)
    seen = (level + sigma * rng.standard_normal(400_000)).clip(0, 255)
    at = round(float(seen.mean()))
    assert noise.bias[at] == pytest.approx(seen.mean() - level, abs=0.8)
    assert noise.variance[at] == pytest.approx(seen.var(), rel=0.06)


def test_a_meter_follows_a_camera_that_becomes_noisy_and_clean_again(rng):
    meter, truth = NoiseMeter(), scene(size=SIZE)
    for _ in range(9):
        meter.measure(floats(camera(truth, 0, rng)))
    assert not meter.noisy
    assert meter.noise.sigma < 0.5
    for _ in range(80):
        meter.measure(floats(camera(truth, 20, rng)))
    assert meter.noisy
    assert meter.noise.sigma == pytest.approx(20, rel=0.05)
    for _ in range(160):
        meter.measure(floats(camera(truth, 0, rng)))
    assert not meter.noisy
    assert meter.noise.sigma < NOISY
