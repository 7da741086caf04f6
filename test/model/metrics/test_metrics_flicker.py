import math

import numpy as np
import pytest

from dreamif_model.errors import ImageError
from dreamif_model.metrics.flicker import flicker

SHAPE = (24, 32)


def full(*values):
    """One frame: fused, infrared and visible, each of one value."""
    return tuple(np.full(SHAPE, value, np.uint8) for value in values)


def test_a_still_sequence_has_no_flicker():
    result = flicker([full(9, 9, 9)] * 3)
    assert (result.ratio, result.still_share, result.frames) == (0, 1, 3)


def test_change_relative_to_that_of_the_inputs():
    """Inputs change by 1 and 2, the fused image by 3: 3 / 2, of all pixels and both steps."""
    frames = [full(10, 50, 80), full(13, 51, 82), full(10, 52, 80)]
    result = flicker(frames)
    assert result.ratio == pytest.approx(1.5)
    assert (result.fused_change, result.input_change) == (3, 2)


def test_8_bit_frames_do_not_wrap_around():
    assert flicker([full(250, 1, 1), full(5, 2, 1)]).ratio == pytest.approx(245)


def test_a_copy_changes_as_much_as_its_source(rng):
    still = np.full(SHAPE, 120.0)
    noisy = [still + rng.normal(0, 3, SHAPE) for _ in range(4)]
    assert flicker([(noise, noise, still) for noise in noisy], 9).ratio == pytest.approx(1)
    halves = [((noise + still) / 2, noise, still) for noise in noisy]
    assert flicker(halves, 9).ratio == pytest.approx(0.5)


def test_moving_parts_do_not_count(rng):
    """Where an input moves the fused image may do as it likes."""
    noise = rng.normal(0, 1, (2, 60, 80))
    before, after = np.full((60, 80), 50.0), np.full((60, 80), 50.0) + noise[0]
    infrared = [before, after.copy()]
    infrared[1][:, :40] += 100
    quiet = [before, after.copy()]
    loud = [before, after.copy()]
    loud[1][:, :36] += 70  # well inside the moving half
    results = [
        flicker(zip(fused, infrared, [before, before], strict=True)) for fused in (quiet, loud)
    ]
    assert results[0] == results[1]
    assert results[0].ratio == pytest.approx(1)
    assert 0.4 < results[0].still_share < 0.5


def test_the_threshold_is_of_the_smoothed_change():
    frames = [full(0, 0, 0), full(1, 4, 0)]
    assert flicker(frames, threshold=4).still_share == 1
    nothing = flicker(frames, threshold=3.9)
    assert nothing.still_share == 0
    assert math.isnan(nothing.ratio)
    # One pixel that jumps is noise, not motion: smoothed it changes little.
    spike = np.zeros(SHAPE)
    spike[10, 10] = 30
    zero = np.zeros(SHAPE)
    result = flicker([(zero, zero, zero), (spike, spike, zero)])
    assert (result.still_share, result.ratio) == (1, 1)


def test_flicker_over_inputs_that_do_not_change_at_all_is_infinite():
    result = flicker([full(10, 50, 80), full(12, 50, 80)])
    assert result.ratio == math.inf
    assert (result.fused_change, result.input_change) == (2, 0)


def test_frames_are_taken_one_by_one():
    """Endless memory is not needed: no frame but the last two is alive."""
    import weakref

    alive = []

    def frames():
        for value in range(6):
            frame = tuple(np.full(SHAPE, value, np.float64) for _ in range(3))
            alive.append(weakref.ref(frame[0]))
            assert sum(ref() is not None for ref in alive) <= 3
            yield frame
            del frame

    assert flicker(frames()).ratio == pytest.approx(1)


@pytest.mark.parametrize("frames", [[], [full(1, 2, 3)]])
def test_too_few_frames(frames):
    with pytest.raises(ImageError, match=f"needs 2 or more, got {len(frames)}"):
        flicker(frames)


def test_frames_of_other_sizes():
    smaller = tuple(image[:-1] for image in full(1, 2, 3))
    with pytest.raises(ImageError, match=r"frame 2 .*\(23, 32\).*\(24, 32\)"):
        flicker([full(1, 2, 3), smaller])
    with pytest.raises(ImageError, match="one size"):
        flicker([(smaller[0], *full(2, 3))])
