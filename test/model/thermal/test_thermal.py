import math

import numpy as np
import pytest

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_model.thermal import normalizer as thermal
from dreamif_model.thermal.gray_range import PATIENCE, SteadyRange


def normalizer(**settings):
    return ThermalNormalizer(ThermalConfig(**settings))


def levels(*shares):
    """Gray levels, rounded, of shares of white."""
    return np.rint(255 * np.array([shares])).astype(np.uint8)


def difference(a, b):
    """The largest, in gray levels."""
    return abs(a.astype(int) - b.astype(int)).max()


def ramp(low, high, dtype=np.uint16):
    """64×64, of which every fourth row and column already spans low to high evenly."""
    return np.linspace(low, high, 64 * 64).reshape(64, 64).round().astype(dtype)


def test_passthrough_divides_by_the_range_of_the_type():
    normalize = normalizer(mode="passthrough").normalize
    result = normalize(np.array([[0, 51, 255]], np.uint8))
    assert result.dtype == np.uint8
    assert np.array_equal(result, levels(0, 0.2, 1))
    assert np.array_equal(normalize(np.array([[0, 13107, 65535]], np.uint16)), levels(0, 0.2, 1))


def test_fixed_maps_low_to_high_and_clips():
    normalize = normalizer(mode="fixed", low=7000, high=8000).normalize
    counts = np.array([[0, 7000, 7250, 8000, 65535]], np.uint16)
    assert np.array_equal(normalize(counts), levels(0, 0, 0.25, 1, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("low", "high"), [(-50.5, 300.0), (20.3, 100.7), (-90, -10), (1e5, 2e5)])
def test_fixed_is_the_line_rounded_and_clipped(dtype, low, high):
    """Wherever the range lies, also out of what the type holds."""
    values = np.arange(256).reshape(16, 16).astype(dtype)
    line = (values.astype(float) - low) / (high - low)
    result = normalizer(mode="fixed", low=low, high=high).normalize(values)
    assert abs(result - 255 * line.clip(0, 1)).max() <= 0.5 + 1e-4


def test_percentile_maps_the_1st_to_the_99th_and_a_half():
    counts = ramp(7000, 8000)
    low, high = np.percentile(counts[::4, ::4], (1, 99.5))
    result = normalizer(mode="percentile").normalize(counts)
    expected = 255 * np.clip((counts - low) / (high - low), 0, 1)
    assert abs(result - expected).max() <= 0.5 + 1e-3
    assert (result.min(), result.max()) == (0, 255)


def test_auto_is_passthrough_for_8_bit_and_percentile_for_16():
    eight, sixteen = ramp(50, 200, np.uint8), ramp(7000, 8000)
    assert np.array_equal(
        normalizer().normalize(eight), normalizer(mode="passthrough").normalize(eight)
    )
    assert np.array_equal(
        normalizer().normalize(sixteen), normalizer(mode="percentile").normalize(sixteen)
    )


@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0])
def test_step_response(smoothing):
    """After n frames of a new scene the range has gone 1 - (1 - smoothing)^n of the way."""
    normalize = normalizer(mode="percentile", smoothing=smoothing).normalize
    first, second = ramp(9000, 10000), ramp(8600, 10700)
    old = np.percentile(first[::4, ::4], (1, 99.5))
    new = np.percentile(second[::4, ::4], (1, 99.5))
    normalize(first)
    for count in range(1, 5):
        share = 1 - (1 - smoothing) ** count
        low, high = old + share * (new - old)
        expected = 255 * np.clip((second - low) / (high - low), 0, 1)
        assert abs(normalize(second) - expected).max() <= 0.5 + 1e-3


def followed(targets, smoothing=0.1, min_span=100.0):
    steady = SteadyRange()
    return [steady.follow(target, smoothing, min_span) for target in targets]


def test_a_flash_costs_no_more_than_the_share_of_the_contrast():
    """The upper end would be at 14 550 after it, and its own step back would take 30 frames."""
    _, flash, *after = followed([(8000, 9000), (8000, 65535), *[(8000, 9000)] * 3])
    assert flash == pytest.approx((8000, 9100))
    assert after == [pytest.approx((8000, 9000 + 100 * 0.9**n)) for n in (1, 2, 3)]


@pytest.mark.parametrize("outlier", [(65535.0, 65535.0), (0.0, 0.0), (9001.0, 20000.0)])
def test_a_few_frames_of_nothing_known_leave_the_range_alone(outlier):
    scene = (8000.0, 9000.0)
    targets = [scene, *[outlier] * (PATIENCE - 1), scene, *[outlier] * (PATIENCE - 1)]
    assert followed(targets) == [scene] * len(targets)


def test_a_scene_of_other_counts_that_lasts_starts_anew():
    """As when the camera changes its gain, which no step by step would reach in time."""
    targets = [(8000.0, 9000.0), *[(20000.0, 20500.0)] * PATIENCE, (8000.0, 9000.0)]
    *held, last, again = followed(targets)
    assert held == [(8000, 9000)] * PATIENCE
    assert last == again == (20000, 20500)


def test_a_flat_scene_is_not_lost_by_a_small_shift():
    """Apart from the range, but not from the wider one that is shown."""
    assert followed([(7000, 7010), (7020, 7030)]) == [(6955, 7055), (6957, 7057)]


def test_a_saturated_frame_is_forgotten_at_once():
    scene = ramp(7000, 8000)
    normalize = normalizer().normalize
    before = normalize(scene)
    normalize(np.full_like(scene, 65535))
    assert np.array_equal(normalize(scene), before)


@pytest.mark.parametrize("change", ["size", "type", "reset"])
def test_another_sequence_starts_anew(change):
    first, second = ramp(7000, 8000), ramp(7400, 9000)
    if change == "size":
        second = second[:-1]
    if change == "type":
        second = (second / 100).astype(np.float32)
    used = normalizer()
    used.normalize(first)
    if change == "reset":
        used.reset()
    assert np.array_equal(used.normalize(second), normalizer().normalize(second))


def test_another_config_keeps_the_range():
    first, second = ramp(7000, 8000), ramp(7400, 9000)
    used, same = normalizer(), normalizer()
    used.normalize(first)
    same.normalize(first)
    used.config = ThermalConfig(hot_black=True)
    assert difference(used.normalize(second), 255 - same.normalize(second)) <= 1


def test_min_span_limits_the_stretch():
    counts = np.full((8, 8), 7000, np.uint16)
    counts[0, 0] = 7010
    result = normalizer(mode="percentile", min_span=100).normalize(counts)
    # Almost all of the range is missing; it is added on both sides.
    assert result[1, 1] == pytest.approx(127.5, abs=15)
    assert int(result[0, 0]) - int(result[1, 1]) == pytest.approx(25.5, abs=1)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_flat_image_is_gray(dtype):
    result = normalizer(mode="percentile", min_span=1e-3).normalize(np.full((5, 7), 40, dtype))
    assert abs(result - 127.5).max() <= 1


@pytest.mark.parametrize("mode", ["passthrough", "fixed", "percentile"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_hot_black_is_the_opposite(mode, dtype):
    counts = ramp(0, np.iinfo(dtype).max, dtype)
    bright = normalizer(mode=mode, high=200).normalize(counts)
    dark = normalizer(mode=mode, high=200, hot_black=True).normalize(counts)
    assert difference(dark, 255 - bright) <= 1
    assert dark[0, 0] == 255


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_views_and_read_only_arrays_are_left_alone(dtype, repair):
    values = ramp(0, 250, dtype)
    values[5, 5] = 255
    expected = normalizer(repair_pixels=repair).normalize(values[::-1, ::2].copy())
    before = values.copy()
    values.flags.writeable = False
    assert np.array_equal(normalizer(repair_pixels=repair).normalize(values[::-1, ::2]), expected)
    normalizer(repair_pixels=repair).normalize(values)
    assert np.array_equal(values, before)


def test_pixels_are_repaired_where_asked():
    counts = ramp(7000, 8000)
    broken = counts.copy()
    broken[4::8, 4::8] = 65535  # 64 of the 256 pixels that percentiles look at
    good = normalizer().normalize(counts)
    assert difference(normalizer(repair_pixels=True).normalize(broken), good) <= 5
    assert difference(normalizer().normalize(broken), good) > 127


def degrees(low=18.0, high=38.0):
    return np.linspace(low, high, 64 * 64, dtype=np.float32).reshape(64, 64)


@pytest.mark.parametrize("mode", ["auto", "percentile"])
def test_degrees_are_as_their_counts(mode):
    """Kelvin in hundredths, as radiometric cameras count."""
    counts = (100 * (degrees() + 273.15)).round().astype(np.uint16)
    result = normalizer(mode=mode).normalize(degrees())
    assert difference(result, normalizer(mode=mode).normalize(counts)) <= 1
    assert (result.min(), result.max()) == (0, 255)


def test_fixed_degrees():
    celsius = np.array([[-40, -10, 5, 20, 300]], np.float32)
    result = normalizer(mode="fixed", low=-10, high=20).normalize(celsius)
    assert np.array_equal(result, levels(0, 0, 0.5, 1, 1))


def test_min_span_is_in_hundredths_of_a_degree():
    celsius = np.full((8, 8), 20, np.float32)
    celsius[0, 0] = 20.1
    result = normalizer(min_span=100).normalize(celsius)
    assert int(result[0, 0]) - int(result[1, 1]) == pytest.approx(25.5, abs=1)


def test_degrees_that_are_not_finite():
    """NaN is the median of the others; what is out of the camera's range, its ends."""
    celsius = np.array([[0, 10, 20, 30, 40, np.nan, np.inf, -np.inf]], np.float32)
    result = normalizer(mode="fixed", low=0, high=50).normalize(celsius)
    assert np.array_equal(result, levels(0, 0.2, 0.4, 0.6, 0.8, 0.4, 0.8, 0))


def test_degrees_beyond_all_measure():
    """What some cameras write where they have measured nothing."""
    largest = np.finfo(np.float32).max
    celsius = np.array([[-largest, -1e10, 25, 1e10, largest]], np.float32)
    result = normalizer(mode="fixed", low=0, high=50).normalize(celsius)
    assert np.array_equal(result, levels(0, 0, 0.5, 1, 1))


def test_refuses_degrees_without_a_finite_one():
    with pytest.raises(ImageError, match=r"must be finite somewhere, got \(4, 4\) of NaN and Inf"):
        normalizer().normalize(np.full((4, 4), np.nan, np.float32))


def test_refuses_degrees_for_passthrough():
    with pytest.raises(ImageError, match=r"passthrough, got float32.*choose percentile or fixed"):
        normalizer(mode="passthrough").normalize(degrees())


def test_what_was_measured(rng):
    """Telemetry rows and zeros of a rectified border are not, nor what the crop cuts off."""
    counts = rng.integers(7000, 7400, (48, 64), dtype=np.uint16)
    counts[:2] = rng.integers(30_000, 60_000, (2, 64))
    counts[30:34, :5] = 0
    counts[:, 63] = 1
    given = normalizer(crop=(0, 0, 0, 1), byte_order="as_sent")
    given.normalize(counts)
    expected = counts[:, :63].copy()
    expected[:2] = 0
    np.testing.assert_array_equal(given.measured(), expected)
    celsius = (counts / 100 - 50).astype(np.float32)
    celsius[counts == 0] = 0
    celsius[40, 40], celsius[41, 41] = np.nan, np.inf
    given.normalize(celsius)
    expected = celsius[:, :63].copy()
    expected[:2] = np.nan
    expected[30:34, :5] = np.nan
    np.testing.assert_array_equal(given.measured(), expected)


def test_what_was_measured_has_its_bytes_in_order(rng):
    counts = rng.integers(7000, 7400, (48, 64), dtype=np.uint16)
    given = normalizer(byte_order="swapped", repair_pixels=True)
    given.normalize(counts.byteswap())
    np.testing.assert_array_equal(given.measured(), counts)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int16, np.uint32, bool])
def test_refuses_other_types(dtype):
    expected = f"uint8 or uint16 counts, or float32 °C, got {np.dtype(dtype)}"
    with pytest.raises(ImageError, match=expected):
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
        ({"low": math.nan}, "must be finite"),
        ({"high": math.inf}, "must be finite"),
        ({"smoothing": 0.0}, r"in \(0, 1\], got 0"),
        ({"smoothing": 1.1}, r"in \(0, 1\], got 1.1"),
        ({"smoothing": math.nan}, r"in \(0, 1\], got nan"),
        ({"min_span": -1.0}, "min_span must be 0"),
    ],
)
def test_refuses_bad_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        ThermalConfig(**settings)


NOISE = 8  # counts, σ


def entering(rng, width, height):
    """Frames of a noisy static scene into which a hot object comes from the left."""
    background = rng.normal(7500, 150, (120, 160))
    frames = []
    for step in range(30):
        frame = background + rng.normal(0, NOISE, background.shape)
        right = 4 * max(0, step - 4)
        frame[40 : 40 + height, max(0, right - width) : right] = 9500
        frames.append(frame.round().astype(np.uint16))
    return frames


def per_frame_minmax(frame):
    return 255 * ((frame - frame.min()) / np.ptp(frame))


def background_changes(images):
    """From frame to frame, of the part of the scene that the object does not reach.

    Of its median: the noise of single pixels is in the input, and no flicker of ours.
    """
    return np.diff([np.median(image[80:]) for image in images])


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (8, 8),  # fewer pixels than percentile 99.5 looks at
        (40, 40),  # 8 % of the picture, far hotter than anything in it
    ],
)
def test_background_flickers_five_times_less_than_with_min_max(rng, width, height):
    frames = entering(rng, width, height)
    smooth = background_changes(list(map(normalizer().normalize, frames)))
    minmax = background_changes(list(map(per_frame_minmax, frames)))
    assert abs(minmax).max() > 51
    assert abs(smooth).max() <= abs(minmax).max() / 10
    assert np.sqrt((smooth**2).mean()) <= np.sqrt((minmax**2).mean()) / 5


def test_the_range_follows_a_lasting_change_slowly(rng):
    frames = entering(rng, 40, 40)
    normalize = normalizer().normalize
    first, *_, last = [normalize(frame)[80:].mean() for frame in frames]
    assert last < first - 25.5


@pytest.mark.parametrize("size", [1, 2, 7, 19200])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_percentiles_are_those_of_numpy(rng, size, dtype):
    sample = rng.integers(0, 256, size).astype(dtype)
    expected = np.percentile(sample, thermal.PERCENTILES)
    np.testing.assert_allclose(thermal._percentiles(np.sort(sample)), expected, rtol=1e-12)
