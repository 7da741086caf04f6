"""Pans are followed to a fraction of a pixel; cameras at rest are left alone."""

import cv2
import numpy as np
import pytest
from helpers.videos import camera, error, scene

from dreamif_model.temporal.filter import TemporalFilter

SIZE = (240, 320)
WORLD = scene(3, (480, 640))


def frame(shift, roll=0.0):
    """A view of the world, moved by pixels and degrees."""
    matrix = cv2.getRotationMatrix2D((160, 120), roll, 1)
    matrix[:, 2] -= 100 + np.array(shift)
    return cv2.warpAffine(WORLD, matrix, SIZE[::-1], flags=cv2.INTER_CUBIC)


def filtered(views, sigma, rng):
    """What the filter makes of both cameras' views; infrared is seen the other way round."""
    memory = TemporalFilter()
    for view in views:
        images = camera(view, sigma, rng), camera(255 - view, sigma, rng)
        visible, infrared, _ = memory.filter(*images)
    return memory, visible, infrared


def place(memory):
    return memory._tracker.place


@pytest.mark.parametrize("sigma", [5, 25])
def test_a_pan_is_followed_and_averaged(sigma, rng):
    views = [frame((2.5 * n, 0.7 * n), 0.1 * n) for n in range(20)]
    memory, visible, infrared = filtered(views, sigma, rng)
    _, alone, _ = filtered(views[-1:], sigma, rng)
    assert error(visible, views[-1]) < 0.65 * error(alone, views[-1])
    assert error(infrared, 255 - views[-1]) < 0.65 * error(alone, views[-1])
    velocity = memory._tracker._velocity
    middle = np.array((159.5, 119.5, 1))
    expected = (
        cv2.getRotationMatrix2D((160, 120), 0.1 * 18, 1),
        cv2.getRotationMatrix2D((160, 120), 0.1 * 19, 1),
    )
    before, now = (np.vstack((m, (0, 0, 1))) for m in expected)
    before[:2, 2] -= 100 + np.array((2.5, 0.7)) * 18
    now[:2, 2] -= 100 + np.array((2.5, 0.7)) * 19
    truth = before @ np.linalg.inv(now)  # of the frame's pixels
    assert np.abs((velocity - truth) @ middle).max() < 0.3


def test_cameras_at_rest_stay_where_they_are(rng):
    memory, _, _ = filtered([frame((0, 0))] * 20, 25, rng)
    assert place(memory).is_centred


def test_what_moves_in_front_of_cameras_at_rest_moves_nothing(rng):
    views = []
    for number in range(20):
        view = frame((0, 0)).copy()
        view[60:180, 8 * number : 8 * number + 60] = 250
        views.append(view)
    memory, _, _ = filtered(views, 15, rng)
    assert place(memory).is_centred


def test_after_a_pan_the_cameras_come_to_rest(rng):
    pan = [frame((3.0 * n, 0)) for n in range(12)]
    memory, visible, _ = filtered(pan, 10, rng)
    assert not place(memory).is_centred
    memory, visible, _ = filtered([*pan, *[pan[-1]] * 16], 10, rng)
    assert place(memory).is_centred
    assert error(visible, pan[-1]) < 3.5


def test_a_long_pan_leaves_the_canvas_and_goes_on(rng):
    views = [frame((n * 3.0 - 90, 0)) for n in range(60)]
    _, visible, _ = filtered(views, 15, rng)
    _, alone, _ = filtered(views[-1:], 15, rng)
    assert error(visible, views[-1]) < 0.65 * error(alone, views[-1])
