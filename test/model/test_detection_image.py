"""The picture for detectors, against its formula in plain NumPy."""

import cv2
import numpy as np
import pytest

from dreamif_model.detection_image import detection_luma, surroundings
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.scene import Scene, SceneConfig

PERSON = slice(60, 140), slice(150, 180)


@pytest.fixture(scope="module")
def street():
    """Infrared and visible luma of a drawn street, (480, 640)."""
    drawn = Scene(SceneConfig(seed=2))
    infrared = ThermalNormalizer().normalize(drawn.infrared(1.0))
    return infrared, cv2.cvtColor(drawn.visible(1.0), cv2.COLOR_RGB2GRAY)


def formula(infrared, visible, coverage=1.0):
    """Gray levels, not rounded, with a blur of the whole image."""
    hot = infrared / 255
    hotter = np.maximum(hot - cv2.GaussianBlur(hot, (0, 0), 30 * hot.shape[1] / 640), 0)
    both = 0.6 * visible / 255 + 0.4 * hot
    low, high = np.percentile(both, (0.2, 99.8))
    bright = np.clip((both - low) / max(high - low, 26 / 255), 0, 1)
    return 255 * (0.1 + 0.9 * bright) * np.exp(-5 * coverage * hotter)


def test_the_formula(street):
    """Near it at every pixel: brightness, heat and percentiles are rounded to gray levels."""
    difference = np.abs(detection_luma(*street) - formula(*street))
    assert difference.mean() < 1
    assert np.percentile(difference, 99.9) < 8


@pytest.mark.parametrize("size", [(480, 640), (1024, 1280), (331, 497), (60, 80), (7, 5)])
def test_the_surroundings_are_a_gaussian_blur(street, size):
    image = cv2.resize(street[0], size[::-1], interpolation=cv2.INTER_AREA)
    whole = cv2.GaussianBlur(image.astype(float), (0, 0), 30 * size[1] / 640)
    difference = np.abs(surroundings(image) - whole)
    assert difference.mean() < 1
    assert difference.max() < 8  # at the borders


@pytest.mark.parametrize("level", [40, 110, 150])
def test_a_hot_person_is_darker_than_what_is_around(level):
    """Though the person is as bright as the brightest part of the visible image."""
    infrared, visible = np.full((240, 320), 80, np.uint8), np.full((240, 320), 90, np.uint8)
    visible[:, 160:] = 150
    infrared[PERSON], visible[PERSON] = 220, level
    luma = detection_luma(infrared, visible).astype(int)
    assert luma[PERSON].max() < luma[:, 190:].min()


def test_where_infrared_does_not_reach_nothing_is_darkened(street):
    _, visible = street
    coverage = np.zeros(visible.shape, np.float32)
    coverage[:, 320:] = 1
    luma = detection_luma(visible, visible, coverage)
    expected = formula(visible, visible, coverage)
    assert np.abs(luma - expected).mean() < 1
    assert (luma[:, :300][visible[:, :300] > visible.mean()] > 25).all()


def test_a_veil_costs_no_contrast(street):
    """Fog of one gray level leaves a quarter of the visible contrast."""
    infrared, visible = street
    veiled = np.rint(0.25 * visible + 0.75 * 150).astype(np.uint8)
    assert visible.std() > 3.5 * veiled.std()
    assert detection_luma(infrared, veiled).std() > 0.8 * detection_luma(infrared, visible).std()


def test_noise_of_an_even_image_is_not_stretched(rng):
    visible = rng.integers(98, 103, (96, 128), dtype=np.uint8)
    luma = detection_luma(np.full_like(visible, 60), visible)
    assert luma.max() - luma.min() < 40
