import numpy as np
import pytest

from dreamif_model.thermal.pixel_repair import STUCK_FRAMES, PixelRepair

MIN_STEP = {np.uint8: 10, np.uint16: 10, np.float32: 0.1}
NOISE = 8  # counts, σ


@pytest.fixture(params=[np.uint8, np.uint16, np.float32])
def dtype(request):
    return request.param


def scene(rng, dtype=np.uint16):
    """A slope with noise and an edge; of degrees, hundredths."""
    counts = np.linspace(7400, 7600, 80) + rng.normal(0, NOISE, (60, 80))
    counts[:, 40:] += 900
    if dtype == np.uint16:
        return counts.round().astype(dtype)
    if dtype == np.uint8:
        return ((counts - 7000) / 8).round().astype(dtype)
    return (counts / 100).astype(dtype)


def repaired(image):
    return PixelRepair().repair(image, MIN_STEP[image.dtype.type])


def test_noise_and_edges_are_kept(rng, dtype):
    image = scene(rng, dtype)
    assert np.array_equal(repaired(image), image)


@pytest.mark.parametrize("row", [0, 1, 30, 59])
@pytest.mark.parametrize("column", [0, 20, 39, 40, 79])
def test_dead_and_hot_pixels_become_as_their_neighbours(rng, dtype, row, column):
    """In the middle, at the border and beside the edge."""
    image = scene(rng, dtype)
    for value in (0, 250):
        broken = image.copy()
        broken[row, column] = value if dtype != np.uint16 else 200 * value
        result = repaired(broken)
        around = image[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        assert around.min() <= result[row, column] <= around.max()
        result[row, column] = image[row, column]
        assert np.array_equal(result, image)


@pytest.mark.parametrize("size", [(2, 2), (1, 3), (3, 1), (3, 3), (2, 5)])
@pytest.mark.parametrize("heat", [200, 2000])
def test_small_hot_objects_are_kept(rng, size, heat):
    image = scene(rng)
    image[20 : 20 + size[0], 10 : 10 + size[1]] += heat
    assert np.array_equal(repaired(image), image)


def test_the_tip_of_a_blurred_spot_is_kept():
    """Hotter than all around it, as the middle of anything small and hot is in a lens."""
    y, x = np.mgrid[-15:16, -15:16]
    spot = (7500 + 2000 * np.exp(-(x**2 + y**2) / (2 * 1.0**2))).astype(np.uint16)
    assert np.array_equal(repaired(spot), spot)


def filmed(rng, frames, stuck):
    """The last of the frames of a noisy still scene in which some pixels never change."""
    repair = PixelRepair()
    for _ in range(frames):
        image = scene(rng)
        image[stuck] = 7465  # within the range of the scene around
        result = repair.repair(image, MIN_STEP[np.uint16])
    return image, result


@pytest.mark.parametrize(
    "stuck",
    [np.s_[20, 20], np.s_[20, 20:22], np.s_[20:22, 20:22]],
    ids=["one", "pair", "four"],
)
def test_stuck_pixels_are_found_in_time(rng, stuck):
    before, result = filmed(rng, STUCK_FRAMES, stuck)
    assert np.array_equal(result, before)
    before, result = filmed(rng, STUCK_FRAMES + 1, stuck)
    assert (result[stuck] != 7465).all()
    assert (abs(result[stuck].astype(float) - 7450) < 3 * NOISE).all()
    result[stuck] = 7465
    assert np.array_equal(result, before)


def test_dead_pixels_side_by_side_are_found_in_time(rng):
    repair = PixelRepair()
    for _ in range(STUCK_FRAMES + 1):
        image = scene(rng)
        image[30, 60:62] = 0
        result = repair.repair(image, MIN_STEP[np.uint16])
    assert (result[30, 60:62] > 8000).all()


def test_a_frozen_picture_is_not_broken(rng):
    repair, image = PixelRepair(), scene(rng)
    results = [repair.repair(image, MIN_STEP[np.uint16]) for _ in range(2 * STUCK_FRAMES)]
    assert np.array_equal(results[-1], image)


def test_flat_images_of_all_sizes_are_kept(dtype):
    for shape in ((1, 1), (1, 9), (9, 1), (2, 2)):
        flat = np.full(shape, 7, dtype)
        assert np.array_equal(repaired(flat), flat)
