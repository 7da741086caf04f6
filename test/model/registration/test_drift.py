"""Where infrared should lie, by one frame and by many; street frames that were moved."""

import numpy as np
import pytest
from helpers.drifting_street import SIZE, corners, laid, moved, street

from dreamif_model import Calibration
from dreamif_model.errors import CalibrationError
from dreamif_model.registration.drift import (
    LOOKS,
    MAX_CORRECTION,
    MAX_START,
    MAX_STEP_PX,
    Drift,
    describe,
    displacement,
    size_px,
)
from dreamif_model.registration.geometry import Homography
from dreamif_model.registration.warp import Registrar

STILL = np.zeros((4, 2))
DIAGONAL = float(np.hypot(*SIZE))


@pytest.fixture(scope="module")
def frames():
    return street(3)


def moves(x, y):
    return np.full((4, 2), (x, y), float)


@pytest.mark.parametrize(
    "how", [{}, {"x": 2, "y": -1}, {"x": -4, "y": 3}, {"degrees": 1}, {"x": 1.5, "degrees": -0.7}]
)
def test_a_street_frame_tells_how_infrared_was_moved(frames, how):
    for visible, infrared in frames[:2]:
        image, matrix = moved(infrared, **how)
        back = np.linalg.inv(matrix[:, :2])
        true = (corners() - matrix[:, 2]) @ back.T - corners()
        assert np.abs(displacement(laid(visible, image)) - true).max() < 0.7


def test_only_what_is_covered_counts(frames):
    """Infrared reaches the left two thirds; beyond, its last column repeats."""
    visible, infrared = frames[0]
    image, _ = moved(infrared, 3, 0)
    image[:, 200:] = image[:, 199:200]
    coverage = np.ones(image.shape, np.float32)
    coverage[:, 200:] = 0
    found = displacement(laid(visible, image, coverage))
    assert np.abs(found.mean(axis=0) - (-3, 0)).max() < 0.5


def test_frames_that_do_not_tell_are_refused(frames, rng):
    visible = frames[0][0]
    noise = rng.integers(7000, 9000, visible.shape[:2], dtype=np.uint16)
    blank = np.full_like(noise, 8000)
    for infrared in (noise, blank, frames[0][1][::-1].copy()):
        with pytest.raises(CalibrationError, match=r"agree no better than chance|two halves"):
            displacement(laid(visible, infrared))


def test_the_score_is_of_the_pair(frames):
    pair = laid(*frames[0])
    copy = pair.copy()
    assert pair.score() == copy.score() > 0.2
    assert not np.shares_memory(copy.visible, pair.visible)
    assert pair.size == SIZE


def drift(*looks):
    found = Drift(SIZE)
    for look in looks:
        found.add(look)
    return found


def test_the_first_looks_are_the_start():
    start = [moves(1.0, -0.5)] * LOOKS
    assert drift(*start[1:]).moves is None
    np.testing.assert_allclose(drift(*start).moves, STILL)
    later = drift(*start, *[moves(-3.0, -0.5)] * LOOKS)
    np.testing.assert_allclose(later.moves, moves(-4.0, 0.0))


def test_a_few_wrong_looks_count_for_nothing():
    wrong = [moves(30.0, 20.0)] * (LOOKS // 2)
    np.testing.assert_allclose(drift(*[STILL] * LOOKS, *wrong).moves, STILL)
    found = drift(*[STILL] * LOOKS, *wrong, moves(30.0, 20.0))
    np.testing.assert_allclose(found.moves, moves(30.0, 20.0))


def test_a_start_that_is_far_off_is_a_drift():
    found = drift(*[moves(10.0, 0.0)] * LOOKS)
    assert size_px(found.moves) == pytest.approx(10 - MAX_START * DIAGONAL)
    assert found.moves[0, 0] > 0


def test_a_correction_takes_small_steps_to_the_drift():
    found = drift(*[STILL] * LOOKS, *[moves(3.0, 0.0)] * LOOKS)
    steps = [None]
    for _ in range(10):
        steps.append(found.correction(steps[-1]))
    np.testing.assert_allclose(steps[1], moves(MAX_STEP_PX, 0.0))
    np.testing.assert_allclose(steps[2], moves(2 * MAX_STEP_PX, 0.0))
    np.testing.assert_allclose(steps[-1], moves(2.0, 0.0))  # what is left is below the noise


def test_a_correction_is_bounded():
    found, before = drift(*[STILL] * LOOKS, *[moves(0.0, -30.0)] * LOOKS), None
    for _ in range(100):
        before = found.correction(before)
    np.testing.assert_allclose(before, moves(0.0, -MAX_CORRECTION * DIAGONAL))


def test_there_is_no_correction_before_the_start_is_known():
    np.testing.assert_array_equal(drift(moves(5.0, 5.0)).correction(None), STILL)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (moves(-3.9, -1.2), "4.1 px (3.9 px left, 1.2 px up)"),
        (moves(2.0, 0.0), "2.0 px (2.0 px right)"),
        (np.array([[0, 4], [0, -4], [0, -4], [0, 4.0]]), "2.0 px (turned or scaled by 4.0 px at"),
        (STILL, "0.0 px (nowhere)"),
    ],
)
def test_words(found, words):
    assert describe(found).startswith(words)


def test_an_adjusted_calibration_lays_infrared_elsewhere(rng):
    plain = Calibration(Homography(np.eye(3)), (64, 48), (64, 48))
    infrared = rng.random((48, 64), np.float32)
    adjusted = Registrar(plain).moved(
        Calibration(plain.geometry, (64, 48), (64, 48), adjustment=moves(5.0, 3.0))
    )
    warped = adjusted.warp((48, 64), (48, 64))(infrared)
    np.testing.assert_allclose(warped[3:, 5:], infrared[:-3, :-5], atol=1e-5)


def test_an_adjustment_goes_with_the_size_of_the_images():
    adjusted = Calibration(Homography(np.eye(3)), (64, 48), (64, 48), adjustment=moves(4.0, 0.0))
    found = adjusted.to_infrared(np.array([[30.0, 20.0]]), (128, 96), (128, 96))
    np.testing.assert_allclose(found, [[22.0, 20.0]], atol=1e-4)


def test_nothing_is_told_where_infrared_reaches_nothing(frames):
    nothing = np.zeros(frames[0][1].shape, np.float32)
    with pytest.raises(CalibrationError, match="agree no better than chance"):
        displacement(laid(*frames[0], nothing))
