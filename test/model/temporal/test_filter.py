"""Noise goes away where nothing moves; what moves, cuts and cameras that change leave no trace."""

import numpy as np
import pytest
from helpers.videos import SIZE, camera, error, scene

from dreamif_model.temporal.filter import TemporalFilter

INFRARED, VISIBLE = scene(1), np.stack([scene(seed) for seed in (2, 3, 4)], axis=2)
LUMA = np.array((0.299, 0.587, 0.114))


class Cameras:
    """Two noisy cameras and the filter of their images."""

    def __init__(self, sigma=20, **settings):
        self.sigma, self.rng = sigma, np.random.default_rng(7)
        self.filter = TemporalFilter(**settings)

    def show(self, infrared=INFRARED, visible=VISIBLE, frames=1, time_s=None):
        """The last of some frames, as (infrared, visible)."""
        for number in range(frames):
            images = (camera(image, self.sigma, self.rng) for image in (visible, infrared))
            now_s = None if time_s is None else time_s + number / 30
            self.found = self.filter.filter(*images, now_s)
        return self.found.infrared, self.found.visible


@pytest.fixture
def cameras():
    return Cameras()


@pytest.fixture(scope="module")
def alone():
    """The errors that remain in the first frame, of which there is no memory."""
    infrared, visible = Cameras().show()
    return error(infrared, INFRARED), error(visible @ LUMA, VISIBLE @ LUMA)


@pytest.fixture(scope="module")
def averaged():
    """Those after twelve frames."""
    infrared, visible = Cameras().show(frames=12)
    return error(infrared, INFRARED), error(visible @ LUMA, VISIBLE @ LUMA)


def test_noise_goes_away_where_nothing_moves(alone, averaged):
    assert averaged[0] < 0.2 * alone[0]
    assert averaged[1] < 0.25 * alone[1]


def test_what_is_left_is_told_where_it_is_not_smoothed():
    cameras = Cameras(smooths=False, max_frames=4)
    for frames in (1, 2, 3, 4, 4):
        infrared, visible = cameras.show()
        noise = cameras.found.noise
        for camera_name, image, truth in (
            ("infrared", infrared, INFRARED),
            ("visible", visible @ LUMA, VISIBLE @ LUMA),
        ):
            left = error(image, truth)
            assert np.median(getattr(noise, camera_name)) == pytest.approx(left, rel=0.25), frames
    assert noise.infrared.shape == (SIZE[0] // 4, SIZE[1] // 4)
    moved = INFRARED.copy()
    moved[32:64, 32:64] = 255 - moved[32:64, 32:64]
    cameras.show(infrared=moved)
    told = cameras.found.noise.infrared
    assert told[9:15, 9:15].mean() > 1.6 * np.median(told)  # nothing is remembered of it


def test_a_clean_camera_has_no_noise_to_tell(rng):
    filtered = TemporalFilter(smooths=False)
    for _ in range(3):
        found = filtered.filter(camera(VISIBLE, 0, rng), camera(INFRARED, 20, rng))
    assert not found.noise.visible.any()
    assert np.median(found.noise.infrared) == pytest.approx(20 / 3**0.5, rel=0.2)
    for _ in range(80):
        found = filtered.filter(camera(VISIBLE, 0.5, rng), camera(INFRARED, 0.5, rng))
    assert found.noise is None
    assert (
        TemporalFilter().filter(camera(VISIBLE, 20, rng), camera(INFRARED, 20, rng)).noise is None
    )


def test_colour_loses_its_noise_too(cameras):
    def chroma(image):
        return image.astype(float) - (image @ LUMA)[..., None]

    _, first = cameras.show()
    _, last = cameras.show(frames=11)
    assert error(chroma(last), chroma(VISIBLE)) < 0.6 * error(chroma(first), chroma(VISIBLE))


def test_gray_visible_images_and_odd_sizes_are_taken():
    filtered, rng = TemporalFilter(), np.random.default_rng(0)
    truth = scene(1, (75, 101)), scene(2, (75, 101))
    for _ in range(12):
        visible, infrared, _ = filtered.filter(*(camera(image, 20, rng) for image in truth))
    assert visible.shape == infrared.shape == (75, 101)
    assert max(error(visible, truth[0]), error(infrared, truth[1])) < 8


def test_a_clean_image_is_returned_as_it_is(rng):
    filtered = TemporalFilter()
    for shift in range(20):
        visible, infrared = (
            camera(np.roll(VISIBLE, shift, 1), 0, rng),
            camera(np.roll(INFRARED, shift, 1), 0, rng),
        )
        found = filtered.filter(visible, infrared)
        assert found[0] is visible
        assert found[1] is infrared


def test_a_clean_camera_stays_as_it_is_beside_a_noisy_one():
    filtered, rng = TemporalFilter(), np.random.default_rng(0)
    visible = camera(VISIBLE, 0, rng)
    for _ in range(12):
        found, infrared, _ = filtered.filter(visible, camera(INFRARED, 20, rng))
        assert found is visible
    assert error(infrared, INFRARED) < 7
    assert filtered.noise.visible < 1
    assert filtered.noise.infrared == pytest.approx(20, rel=0.1)


def with_square(column):
    """Infrared with a hot object of 20×20 pixels."""
    image = INFRARED.copy()
    image[40:60, column : column + 20] = 245
    return image


def test_what_moves_leaves_no_trail(cameras):
    for column in range(0, 96, 6):
        found, _ = cameras.show(with_square(column))
    background = found[42:58, 84 - 24 : 84].astype(float)  # what it has just uncovered
    trail = (background - INFRARED[42:58, 60:84]).mean()
    assert abs(trail) < 4
    assert found[42:58, 92:108].mean() == pytest.approx(245, abs=6)


def test_what_appears_is_there_at_once(cameras):
    cameras.show(frames=12)
    found, _ = cameras.show(with_square(60))
    assert found[42:58, 62:78].mean() == pytest.approx(245, abs=5)


def test_a_faint_large_change_is_not_averaged_away(cameras):
    """A step of a half of the noise's σ is there after four frames."""
    cameras.show(frames=12)
    brighter = INFRARED.copy()
    brighter[20:70, 30:90] += 10
    found, _ = cameras.show(brighter, frames=4)
    inner = np.s_[28:62, 38:82]
    assert (found[inner].astype(float) - INFRARED[inner]).mean() == pytest.approx(10, abs=3)


def test_a_cut_forgets_everything(cameras, alone):
    cameras.show(frames=12)
    other = scene(9)
    found, _ = cameras.show(other)
    assert error(found, other) < 1.1 * alone[0]


@pytest.mark.parametrize(("gain", "offset"), [(1, 34), (0.7, 0), (0.7, 40)])
def test_a_new_exposure_carries_the_memory_on(gain, offset, cameras, alone, averaged):
    cameras.show(frames=12)
    changed = gain * INFRARED + offset
    found, _ = cameras.show(changed)
    assert error(found, changed) < 1.25 * averaged[0]
    assert error(found, changed) < 0.75 * alone[0]


def test_a_repeated_frame_tells_nothing_new(cameras):
    cameras.show(frames=3)
    frozen = camera(VISIBLE, 20, cameras.rng), camera(INFRARED, 20, cameras.rng)
    first = cameras.filter.filter(*frozen)
    for _ in range(20):
        again = cameras.filter.filter(*(image.copy() for image in frozen))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_frozen_camera_leaves_the_other_alone(cameras, alone, averaged):
    frozen = camera(INFRARED, 20, cameras.rng)
    for _ in range(12):
        visible, infrared, _ = cameras.filter.filter(camera(VISIBLE, 20, cameras.rng), frozen)
    assert error(visible @ LUMA, VISIBLE @ LUMA) < 1.15 * averaged[1]
    assert error(infrared, INFRARED) > 0.9 * alone[0]


@pytest.mark.parametrize("then_s", [10.0, 5.0, 0.0], ids=["lost seconds", "back", "far back"])
def test_another_time_forgets_everything(then_s, cameras, alone):
    cameras.show(frames=12, time_s=7.0)
    found, _ = cameras.show(time_s=then_s)
    assert error(found, INFRARED) > 0.9 * alone[0]


def test_a_few_lost_frames_do_not(cameras, averaged):
    cameras.show(frames=12, time_s=7.0)
    found, _ = cameras.show(time_s=7.9)
    assert error(found, INFRARED) < 1.1 * averaged[0]


def test_another_size_forgets_everything(cameras):
    cameras.show(frames=5)
    half = cameras.show(INFRARED[::2, ::2], VISIBLE[::2, ::2])
    assert half[0].shape == (48, 64)
    found, _ = cameras.show()
    assert found.shape == SIZE


def test_reset_begins_anew():
    first, second = Cameras(), Cameras()
    first.show(frames=4)
    first.filter.reset()
    first.rng = np.random.default_rng(7)
    for one, other in zip(first.show(frames=3), second.show(frames=3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_frames_are_averaged_where_more_may_be():
    errors = []
    for count in (1, 3, 8):
        found, _ = Cameras(max_frames=count).show(frames=16)
        errors.append(error(found, INFRARED))
    assert errors[1] < 0.75 * errors[0]
    assert errors[2] < 0.85 * errors[1]


@pytest.mark.parametrize("level", [4, 251])
def test_the_bias_of_clipped_noise_is_taken_away(level):
    """A wall that is almost black or white, in front of which the noise is one-sided."""
    infrared = INFRARED.copy()
    infrared[20:80, 20:100] = level
    raw = camera(infrared, 30, np.random.default_rng(0))[30:70, 30:90].mean() - level
    found, _ = Cameras(sigma=30).show(infrared, frames=12)
    assert abs(raw) > 9
    assert abs(found[30:70, 30:90].mean() - level) < 3
