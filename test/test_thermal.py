import math
from itertools import pairwise

import numpy as np
import pytest

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer


def normalizer(**settings):
    return ThermalNormalizer(ThermalConfig(**settings))


def ramp(low, high, dtype=np.uint16):
    """64×64, of which every fourth row and column already spans low to high evenly."""
    return np.linspace(low, high, 64 * 64).reshape(64, 64).round().astype(dtype)


def test_passthrough_divides_by_the_range_of_the_type():
    normalize = normalizer(mode="passthrough").normalize
    result = normalize(np.array([[0, 51, 255]], np.uint8))
    assert result.dtype == np.float32
    assert result == pytest.approx(np.array([[0, 0.2, 1]]))
    assert normalize(np.array([[0, 13107, 65535]], np.uint16)) == pytest.approx(
        np.array([[0, 0.2, 1]])
    )


def test_fixed_maps_low_to_high_and_clips():
    normalize = normalizer(mode="fixed", low=7000, high=8000).normalize
    counts = np.array([[0, 7000, 7250, 8000, 65535]], np.uint16)
    assert normalize(counts) == pytest.approx(np.array([[0, 0, 0.25, 1, 1]]))


def test_percentile_maps_the_1st_to_the_99th_and_a_half():
    counts = ramp(7000, 8000)
    low, high = np.percentile(counts[::4, ::4], (1, 99.5))
    result = normalizer(mode="percentile").normalize(counts)
    expected = np.clip((counts - low) / (high - low), 0, 1)
    assert result == pytest.approx(expected, abs=1e-5)
    assert (result.min(), result.max()) == (0, 1)


def test_auto_is_passthrough_for_8_bit_and_percentile_for_16():
    eight, sixteen = ramp(50, 200, np.uint8), ramp(7000, 8000)
    assert np.array_equal(
        normalizer().normalize(eight), normalizer(mode="passthrough").normalize(eight)
    )
    assert np.array_equal(
        normalizer().normalize(sixteen), normalizer(mode="percentile").normalize(sixteen)
    )


def bounds(normalized, probe):
    """The range a frame was mapped with, from two of its unclipped pixels."""
    gain = (normalized[0, 1] - normalized[0, 0]) / (probe[0, 1] - probe[0, 0])
    low = probe[0, 0] - normalized[0, 0] / gain
    return low, low + 1 / gain


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0])
def test_step_response(smoothing):
    """After n frames of a new scene the range has gone 1 - (1 - smoothing)^n of the way."""

    def frame(low, high):
        counts = ramp(low, high).astype(np.int64)
        counts[0, :2] = 9400, 9600  # inside every range, and off the sampled columns but one
        return counts.astype(np.uint16)

    normalize = normalizer(mode="percentile", smoothing=smoothing).normalize
    first, second = frame(9000, 10000), frame(8000, 12000)
    old = np.percentile(first[::4, ::4], (1, 99.5))
    new = np.percentile(second[::4, ::4], (1, 99.5))
    normalize(first)
    for count in range(1, 5):
        share = 1 - (1 - smoothing) ** count
        expected = old + share * (new - old)
        assert bounds(normalize(second), second.astype(float)) == pytest.approx(expected, rel=1e-3)


def test_min_span_limits_the_stretch():
    counts = np.full((8, 8), 7000, np.uint16)
    counts[0, 0] = 7010
    result = normalizer(mode="percentile", min_span=100).normalize(counts)
    # Almost all of the range is missing; it is added on both sides.
    assert result[1, 1] == pytest.approx(0.5, abs=0.06)
    assert result[0, 0] - result[1, 1] == pytest.approx(0.1, abs=1e-4)


def test_flat_image_is_finite():
    result = normalizer(mode="percentile", min_span=1e-3).normalize(np.full((5, 7), 40, np.uint16))
    assert np.isfinite(result).all()


def test_the_input_is_left_alone():
    counts = ramp(7000, 8000)
    before = counts.copy()
    counts.flags.writeable = False
    normalizer().normalize(counts)
    assert np.array_equal(counts, before)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32, bool])
def test_refuses_other_types(dtype):
    with pytest.raises(ImageError, match=f"uint8 or uint16, got {np.dtype(dtype)}"):
        normalizer().normalize(np.zeros((4, 4), dtype))


@pytest.mark.parametrize("shape", [(4,), (4, 4, 3), (4, 4, 1), (0, 4), (4, 0)])
def test_refuses_other_shapes(shape):
    with pytest.raises(ImageError, match=r"\(h, w\) and not empty, got "):
        normalizer().normalize(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "minmax"}, "'minmax' is unknown: choose one of auto, passthrough"),
        ({"low": 10.0, "high": 10.0}, "must be below high"),
        ({"low": math.nan}, "must be below high"),
        ({"smoothing": 0.0}, r"in \(0, 1\], got 0"),
        ({"smoothing": 1.1}, r"in \(0, 1\], got 1.1"),
        ({"smoothing": math.nan}, r"in \(0, 1\], got nan"),
        ({"min_span": 0.0}, "min_span must be above 0"),
        ({"min_span": -1.0}, "min_span must be above 0"),
    ],
)
def test_refuses_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        ThermalConfig(**settings)


def entering(rng, width, height):
    """Frames of a static scene into which a hot object moves from the left."""
    background = rng.normal(7500, 150, (120, 160)).round().astype(np.uint16)
    frames = [background.copy() for _ in range(30)]
    for step, frame in enumerate(frames[5:], start=1):
        frame[40 : 40 + height, max(0, 4 * step - width) : 4 * step] = 9500
    return frames


def largest_change(images):
    """Between two frames, of the part of the scene that the object does not reach."""
    still = [image[80:] for image in images]
    return max(np.abs(b - a).mean() for a, b in pairwise(still))


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (8, 8),  # fewer pixels than percentile 99.5 looks at
        (40, 40),  # 8 % of the picture, far hotter than anything in it
    ],
)
def test_background_is_five_times_steadier_than_with_min_max(rng, width, height):
    frames = entering(rng, width, height)
    normalize = normalizer().normalize
    smooth = largest_change([normalize(frame) for frame in frames])
    minmax = largest_change([(f.astype(float) - f.min()) / np.ptp(f) for f in frames])
    assert minmax > 0.2
    assert smooth * 5 <= minmax


def test_the_range_follows_a_lasting_change_slowly(rng):
    frames = entering(rng, 40, 40)
    normalize = normalizer().normalize
    first, *_, last = [normalize(frame)[80:].mean() for frame in frames]
    assert last < first - 0.1
