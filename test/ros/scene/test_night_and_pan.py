"""The street at high gain, and seen by cameras that turn."""

import cv2
import numpy as np
import pytest

from dreamif_ros.scene import Scene, SceneConfig

SMALL = (320, 240)
SIZES = {"visible_size": SMALL, "infrared_size": SMALL}
FRAME_S = 1 / 30


@pytest.fixture(scope="module")
def night():
    return Scene(SceneConfig(noise="night", **SIZES))


@pytest.fixture(scope="module")
def clean():
    return Scene(SceneConfig(noise=0.0, **SIZES))


@pytest.fixture(scope="module")
def pan():
    return Scene(SceneConfig(noise=0.0, motion="pan", **SIZES))


def noise(noisy, clean, camera, time_s):
    """What the sensor adds; colour as float (H, W, 3)."""
    images = (getattr(scene, camera)(time_s).astype(float) for scene in (noisy, clean))
    return next(images) - next(images)


def test_infrared_at_night_has_noise_and_stripes_of_the_strengths_that_are_set(night, clean):
    found = noise(night, clean, "infrared", 0.0)
    columns = found.mean(axis=0)
    rows = found.mean(axis=1)
    assert columns.std() == pytest.approx(70, rel=0.15)  # counts
    assert rows.std() == pytest.approx(40, rel=0.2)
    left = found - columns - rows[:, None] + found.mean()
    assert left.std() == pytest.approx(np.hypot(130, 15), rel=0.05)
    assert abs(np.corrcoef(columns[1:], columns[:-1])[0, 1]) < 0.15


@pytest.mark.parametrize(("later_s", "correlation"), [(0.5, 1.0), (15.0, 0.0), (30.0, -1.0)])
def test_stripes_at_night_drift_within_a_minute(night, clean, later_s, correlation):
    first, then = (
        noise(night, clean, "infrared", time_s).mean(axis=0) for time_s in (0.0, later_s)
    )
    assert np.corrcoef(first, then)[0, 1] == pytest.approx(correlation, abs=0.2)
    assert then.std() == pytest.approx(70, rel=0.2)


def test_visible_at_night_is_noisiest_in_the_dark(night, clean):
    image = clean.visible(0.0)
    found = noise(night, clean, "visible", 0.0)
    dark, bright = ((image > low) & (image < high) for low, high in ((25, 45), (120, 180)))
    assert found[dark].std() == pytest.approx(18, abs=5)
    assert 4 < found[bright].std() < 0.7 * found[dark].std()


def test_noise_at_night_is_another_in_each_frame(night, clean):
    first, then = (noise(night, clean, "visible", time_s)[..., 1] for time_s in (0.0, FRAME_S))
    assert abs(np.corrcoef(first.ravel(), then.ravel())[0, 1]) < 0.1


def test_a_pan_begins_where_cameras_that_stand_still_look(pan, clean):
    for camera in ("visible", "infrared"):
        turned, still = (getattr(scene, camera)(0.0).astype(float) for scene in (pan, clean))
        assert np.abs(turned - still).mean() < 0.01 * still.std()
    assert pan.boxes(0.0) == clean.boxes(0.0)
    assert pan.signs == clean.signs


@pytest.mark.parametrize(("time_s", "direction"), [(0.6, -1), (2.0, 1), (5.0, -1)])
def test_a_pan_moves_the_picture_by_four_pixels_a_frame_at_640(pan, time_s, direction):
    """Left while the cameras turn right; both cameras alike."""
    window = cv2.createHanningWindow(SMALL, cv2.CV_64F)
    for camera in ("visible", "infrared"):
        before, after = (
            np.asarray(getattr(pan, camera)(t), float) for t in (time_s, time_s + FRAME_S)
        )
        if before.ndim == 3:
            before, after = before[..., 1], after[..., 1]
        (x, _), _ = cv2.phaseCorrelate(before.copy(), after.copy(), window)
        assert x == pytest.approx(direction * 2, abs=0.5)  # half the size


def test_a_pan_comes_back_and_rolls(pan):
    camera = pan._visible_camera
    assert camera.now(0.0).rotation == pytest.approx(camera.now(4 * 15 / 12.5 * 15).rotation)
    up_s = 9 / 4  # a quarter of the roll's period
    tilt = camera.now(up_s).rotation @ (0.0, 1.0, 0.0)
    assert np.degrees(abs(np.arctan2(tilt[0], -tilt[1]))) == pytest.approx(2.0, abs=0.5)


@pytest.mark.parametrize("time_s", [0.7, 3.1])
def test_boxes_follow_the_pan(pan, time_s):
    """In the box of a person is what is warmer than any building."""
    celsius = pan.infrared(time_s) / 100.0 - 273.15
    people = [b for b in pan.boxes(time_s) if b.label == "person" and b.height > 20]
    assert len(people) >= 3
    for box in people:
        rows = slice(int(box.y), int(box.y + box.height) + 1)
        columns = slice(int(box.x), int(box.x + box.width) + 1)
        assert celsius[rows, columns].max() > 22


def test_what_cannot_be_simulated_is_refused():
    with pytest.raises(ValueError, match=r"noise is 'day', expected .* or \"night\""):
        SceneConfig(noise="day")
    with pytest.raises(ValueError, match="motion is 'tilt', expected one of still, pan"):
        SceneConfig(motion="tilt")
