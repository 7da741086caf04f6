"""Pixels of a wrong offset: found while the camera turns, and never before a scene at rest."""

from copy import deepcopy

import numpy as np
import pytest
from helpers.videos import camera, scene

from dreamif_model.temporal.filter import TemporalFilter
from dreamif_model.temporal.stuck import StuckPixels

HEIGHT, WIDTH = 96, 128
WORLD = scene(3, (HEIGHT, 600))
WRONG = {(20, 30): 25.0, (50, 90): -18.0, (70, 64): 40.0}  # row, column: gray levels
FRAMES = 280  # of a pan to the end of the world and back


def pan(frame):
    """What is seen: 3 px a frame to the right, and back from the end."""
    reach = WORLD.shape[1] - WIDTH
    x = reach - abs(3 * frame % (2 * reach) - reach)
    return WORLD[:, x : x + WIDTH].copy()


def with_offsets(view):
    for place, offset in WRONG.items():
        view[place] += offset
    return view


def after(pixels, views, sigma=3.0):
    """The last frame as it came, and as it was corrected."""
    rng = np.random.default_rng(0)
    for view in views:
        frame = camera(view, sigma, rng)
        found = pixels.filter(frame)
    return frame, found


@pytest.fixture(scope="module")
def learned():
    """What a pan taught."""
    pixels = StuckPixels()
    return pixels, *after(pixels, (with_offsets(pan(number)) for number in range(FRAMES)))


def test_wrong_offsets_are_found_and_taken_away(learned):
    pixels, frame, found = learned
    expected = {row * WIDTH + column: offset for (row, column), offset in WRONG.items()}
    assert pixels.offsets == {place: pytest.approx(o, abs=3) for place, o in expected.items()}
    changed = {tuple(place) for place in np.argwhere(found != frame).tolist()}
    assert changed == WRONG.keys()
    for place, offset in WRONG.items():
        assert float(found[place]) == pytest.approx(float(frame[place]) - offset, abs=3)


def test_what_was_learned_stays_when_the_camera_rests(learned):
    pixels, *_ = learned
    frame, found = after(pixels, [with_offsets(pan(7))] * 100)
    assert {tuple(place) for place in np.argwhere(found != frame).tolist()} == WRONG.keys()


@pytest.mark.parametrize("sigma", [0.0, 3.0, 10.0])
def test_a_sensor_without_such_pixels_is_left_as_it_is(sigma):
    frame, found = after(StuckPixels(), map(pan, range(FRAMES)), sigma)
    assert found is frame


def test_lamps_in_a_scene_at_rest_stay():
    """For as long as it takes: things that move, another gain and offset, and noise."""
    rng = np.random.default_rng(1)

    def views():
        for number in range(600):
            view = with_offsets(WORLD[:, :WIDTH].copy()) * rng.uniform(0.8, 1.1)
            x = number % (WIDTH - 30)
            view[30:90, x : x + 30] = 190  # someone walks by
            yield view + rng.uniform(-20, 20)

    pixels = StuckPixels()
    frame, found = after(pixels, views())
    assert found is frame
    assert pixels.offsets == {}


def test_what_is_fixed_to_the_camera_stays():
    """An aerial is as warm before any background."""

    def views():
        for number in range(FRAMES):
            view = pan(number)
            view[40, 60] = 220
            yield view

    frame, found = after(StuckPixels(), views())
    assert found is frame


def test_it_goes_on_learning_after_the_camera_turned_far_at_once():
    elsewhere = [WORLD[::-1, :WIDTH]] * 10
    pixels = StuckPixels()
    after(pixels, elsewhere)
    after(pixels, (with_offsets(pan(number)) for number in range(FRAMES)))
    assert len(pixels.offsets) == len(WRONG)


def test_a_stream_corrects_them_until_it_is_reset():
    memory, rng = TemporalFilter(), np.random.default_rng(0)
    for number in range(FRAMES):
        frame = camera(with_offsets(pan(number)), 3, rng)
        found = memory.without_stripes(frame)
    places = tuple(np.transpose(list(WRONG)))
    offsets = frame[places].astype(float) - found[places]
    assert offsets == pytest.approx(list(WRONG.values()), abs=4)
    memory.reset()
    assert memory.without_stripes(frame) is frame


def test_small_images_and_another_size_are_taken(learned):
    tiny = np.zeros((5, 7), np.uint8)
    pixels = StuckPixels()
    assert all(pixels.filter(tiny) is tiny for _ in range(9))
    smaller = learned[1][:90]
    assert deepcopy(learned[0]).filter(smaller) is smaller  # of another camera nothing is known
