"""What counts as an image that shows nothing."""

import numpy as np
import pytest

from dreamif_model.blank import is_blank

LEVEL = np.full((480, 640), 80, np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_one_level_is_blank_and_a_scene_is_not(dtype, rng):
    level = LEVEL.astype(dtype)
    assert is_blank(level)
    assert not is_blank(level + rng.integers(0, 10, level.shape).astype(dtype))


def test_noise_of_one_count_and_dead_pixels_are_blank(rng):
    image = LEVEL + rng.integers(0, 2, LEVEL.shape).astype(np.uint8)
    image[rng.random(LEVEL.shape) < 0.005] = 255
    assert is_blank(image)


def test_a_hundredth_of_a_degree_is_blank_a_tenth_is_not(rng):
    degrees = 20 + rng.random((480, 640), np.float32)
    assert is_blank(20 + (degrees - 20) / 200)
    assert not is_blank(20 + (degrees - 20) / 10)


def test_a_small_image_is_judged_by_all_its_pixels(rng):
    """Every eighth row of this one is NaN."""
    degrees = 20 + rng.random((24, 32), np.float32)
    degrees[::8] = np.nan
    assert not is_blank(degrees)


def test_one_pixel_and_an_image_of_nan_are_blank():
    assert is_blank(LEVEL[:1, :1])
    assert is_blank(np.full((48, 64), np.nan, np.float32))


def test_something_small_before_an_even_background_is_a_picture():
    """A person on 0.6 % of a scene without noise; a hot spot where all else is 0."""
    scene = np.full((240, 320), 29815, np.uint16)
    scene[100:140, 60:72] = 31015
    assert not is_blank(scene)
    spots = np.zeros((240, 320), np.uint8)
    spots[100:107, 60:67] = 220  # 0.06 %
    assert not is_blank(spots)


def test_dead_pixels_pairs_and_lines_are_no_picture():
    cap = np.full((240, 320), 29815, np.uint16)
    cap[7, 9], cap[100, 7], cap[50, 50:52], cap[0, 0] = 65535, 0, 0, 65535
    cap[:, 200] = 0
    assert is_blank(cap)
