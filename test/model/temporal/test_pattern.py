"""Stripes go away; columns of a scene stay."""

import cv2
import numpy as np
import pytest
from helpers.videos import camera, error, scene

from dreamif_model.temporal.pattern import StripeFilter

SIZE = (192, 256)


@pytest.fixture
def stripes(rng):
    return 8 * rng.standard_normal((1, SIZE[1]))


def left_over(found, truth):
    """σ of the columns' mean error, less what changes slowly along the row."""
    means = (found.astype(float) - truth).mean(axis=0)[None]
    return float((means - cv2.blur(means, (9, 1))).std())


@pytest.mark.parametrize("turned", [False, True], ids=["columns", "rows"])
def test_stripes_of_a_noisy_camera_go_away_at_once(turned, stripes, rng):
    truth, filtered = scene(size=SIZE), StripeFilter()
    frame = camera(truth + stripes, 10, rng)
    cleaned = filtered.filter(frame.T.copy() if turned else frame)
    cleaned = cleaned.T if turned else cleaned
    assert left_over(frame, truth) > 6
    assert left_over(cleaned, truth) < 2.5
    assert filtered.level == pytest.approx(8, rel=0.25)


def test_stripes_that_drift_are_followed(stripes, rng):
    truth, filtered = scene(size=SIZE), StripeFilter()
    other = 8 * rng.standard_normal(stripes.shape)
    for number in range(120):
        angle = number / 100
        pattern = np.cos(angle) * stripes + np.sin(angle) * other
        cleaned = filtered.filter(camera(truth + pattern, 10, rng))
        assert left_over(cleaned, truth) < 3, number


def test_after_a_shutter_the_old_stripes_leave_no_ghost(stripes, rng):
    truth, filtered = scene(size=SIZE), StripeFilter()
    for _ in range(40):
        filtered.filter(camera(truth + stripes, 10, rng))
    others = 8 * rng.standard_normal(stripes.shape)
    assert left_over(filtered.filter(camera(truth + others, 10, rng)), truth) < 2.5
    for _ in range(3):
        cleaned = filtered.filter(camera(truth, 10, rng))
    assert left_over(cleaned, truth) < 1


def test_a_scene_that_stands_still_for_minutes_is_not_burnt_in(stripes, rng):
    """5000 frames are almost three minutes at 30 Hz; then the scene is another."""
    stripes, size = stripes[:, :128], (96, 128)
    truth, filtered = scene(1, size), StripeFilter()
    frames = [camera(truth + stripes, 10, rng) for _ in range(10)]
    for number in range(5000):
        filtered.filter(frames[number % 10])
    other = scene(2, size)
    frame = camera(other + stripes, 10, rng)
    assert left_over(filtered.filter(frame), other) < 3
    assert error(filtered.filter(frame), other) < 1.1 * error(camera(other, 10, rng), other)


def bars(widths):
    """Bars of random brightness across the whole height, as optics show them."""
    rng = np.random.default_rng(5)
    count = SIZE[1] // min(widths) + 1
    columns = np.repeat(rng.uniform(60, 200, count), rng.choice(widths, count))[: SIZE[1]]
    return cv2.GaussianBlur(np.tile(columns, (SIZE[0], 1)), (0, 0), 1.2)


@pytest.mark.parametrize("widths", [(4,), (3, 5, 9), (12, 20)])
@pytest.mark.parametrize("sigma", [0, 5])
def test_nothing_is_taken_from_real_columns(widths, sigma, rng):
    filtered = StripeFilter()
    for _ in range(20):
        frame = camera(bars(widths), sigma, rng)
        assert filtered.filter(frame) is frame
    assert filtered.level == 0


def test_clean_scenes_and_noise_alone_are_returned_as_they_are(rng):
    for sigma in (0, 35):
        filtered = StripeFilter()
        for _ in range(20):
            frame = camera(scene(size=SIZE), sigma, rng)
            assert filtered.filter(frame) is frame


def test_images_of_another_size_and_tiny_ones_are_taken(stripes, rng):
    filtered = StripeFilter()
    filtered.filter(camera(scene(size=SIZE) + stripes, 10, rng))
    tiny = np.zeros((8, 6), np.uint8)
    assert filtered.filter(tiny) is tiny
    assert filtered.level == 0
