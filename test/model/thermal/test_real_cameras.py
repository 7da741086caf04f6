"""Thermal images as cameras really send them: telemetry, garbage, exchanged bytes, fires."""

import numpy as np
import pytest

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer

KELVIN = 273.15


def celsius(height=120, width=160, noise=0.05, seed=0):
    """A room of 18 to 24 °C with a person of 33 °C in it, and where the person is."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    room = 21 + 2 * np.sin(7 * x) * np.cos(5 * y) + 2 * (x - 0.5)
    person = ((x - 0.3) / 0.05) ** 2 + ((y - 0.6) / 0.18) ** 2 < 1
    room[person] = 33
    noisy = room + np.random.default_rng(seed).normal(0, noise, room.shape)
    return noisy.astype(np.float32), person


def counts(kelvin_per_count=0.01, **how):
    degrees, person = celsius(**how)
    return np.rint((degrees + KELVIN) / kelvin_per_count).astype(np.uint16), person


def contrast(gray, person):
    """Gray levels between the person and the middle of the room."""
    return float(gray[person].mean() - np.median(gray[~person]))


def telemetry(seed=0):
    """Two rows as a Lepton sends them: some words, many zeros."""
    rows = np.zeros((2, 160), np.uint16)
    rows[0, :48] = np.random.default_rng(seed).integers(0, 65536, 48)
    rows[1, 80:100] = 65535
    return rows


@pytest.mark.parametrize("where", ["first", "last", "both"])
def test_telemetry_rows_neither_move_the_range_nor_show(where):
    scene, person = counts()
    expected = ThermalNormalizer().normalize(scene)
    above, below = where != "last", where != "first"
    parts = [telemetry()] * above + [scene] + [telemetry(1)] * below
    normalizer = ThermalNormalizer()
    gray = normalizer.normalize(np.vstack(parts))
    top = 2 * above
    assert abs(contrast(gray[top : top + 120], person) - contrast(expected, person)) < 2
    if above:
        assert np.array_equal(gray[0], gray[2])
    if below:
        assert np.array_equal(gray[-1], gray[-3])
    (remark,) = normalizer.remarks
    assert "telemetry" in remark
    assert f"thermal.crop to [{2 * above}, {2 * below}, 0, 0]" in remark


def test_a_crop_cuts_off_what_it_says_and_adds_up():
    scene, _ = counts()
    sent = np.vstack([telemetry(), scene])
    cropped = ThermalNormalizer(ThermalConfig(crop=(2, 0, 1, 3))).normalize(sent)
    assert np.array_equal(cropped, ThermalNormalizer().normalize(scene[:, 1:-3]))
    normalizer = ThermalNormalizer(ThermalConfig(crop=(0, 0, 1, 0)))
    normalizer.normalize(sent)
    assert "thermal.crop to [2, 0, 1, 0]" in normalizer.remarks[0]


def test_rows_of_the_scene_are_no_telemetry():
    """A hot strip at the edge, as far from the room as a person is."""
    scene, _ = counts()
    scene[:2] = 30600
    normalizer = ThermalNormalizer()
    gray = normalizer.normalize(scene)
    assert normalizer.remarks == ()
    assert gray[:2].min() > 200


@pytest.mark.parametrize("crop", [(60, 60, 0, 0), (0, 0, 100, 60)])
def test_a_crop_that_leaves_nothing_is_refused(crop):
    with pytest.raises(ImageError, match="leaves nothing of an infrared image of 160x120"):
        ThermalNormalizer(ThermalConfig(crop=crop)).normalize(counts()[0])


@pytest.mark.parametrize("crop", [(1, 2, 3), (0, 0, 0, -1), (0, 0, 0, 0.5), "0,2,0,0", 2])
def test_a_crop_is_four_whole_numbers(crop):
    with pytest.raises(ConfigError, match="crop must be 4 whole numbers"):
        ThermalConfig(crop=crop)


def test_a_list_is_a_crop_and_an_empty_one_is_none():
    assert ThermalConfig(crop=[0, 2, 0, 0]) == ThermalConfig(crop=(0, 2, 0, 0))
    assert ThermalConfig(crop=[]) == ThermalConfig()


@pytest.mark.parametrize("degrees", [False, True])
def test_the_zero_border_of_a_rectified_image_is_not_measured(degrees):
    scene, person = celsius() if degrees else counts()
    inside = np.s_[:110, 25:]
    expected = contrast(ThermalNormalizer().normalize(scene[inside]), person[inside])
    scene[:, :25] = 0
    scene[110:] = 0
    normalizer = ThermalNormalizer()
    gray = normalizer.normalize(scene)
    assert abs(contrast(gray[inside], person[inside]) - expected) < 5
    assert gray[:, :25].max() == 0
    assert "% of the pixels are 0" in normalizer.remarks[0]


def test_zeros_within_reach_of_the_scene_are_counts():
    """A camera whose counts begin at 0: a cold sky."""
    scene = np.linspace(0, 3000, 120 * 160).reshape(120, 160).astype(np.uint16)
    scene[:40] = 0
    normalizer = ThermalNormalizer()
    normalizer.normalize(scene)
    assert normalizer.remarks == ()
    assert normalizer.bounds[0] == 0


@pytest.mark.parametrize("garbage", ["noise", "halves", "cut off"])
def test_a_garbage_first_frame_is_forgotten_within_a_few(garbage):
    normalizer, scenes = ThermalNormalizer(), [counts(seed=seed)[0] for seed in range(9)]
    person = counts()[1]
    first = scenes[0].copy()
    if garbage == "noise":
        first = np.random.default_rng(0).integers(0, 65536, first.shape).astype(np.uint16)
    elif garbage == "halves":
        first[:60], first[60:] = 0, 65535
    else:
        first[40:] = 0
    normalizer.normalize(first)
    *_, gray = (normalizer.normalize(scene) for scene in scenes)
    whole = contrast(ThermalNormalizer().normalize(scenes[-1]), person)
    assert contrast(gray, person) > whole / 2


def test_exchanged_bytes_are_put_right_and_said():
    scene, _ = counts()
    normalizer = ThermalNormalizer()
    assert np.array_equal(
        normalizer.normalize(scene.byteswap()), ThermalNormalizer().normalize(scene)
    )
    assert "exchanged" in normalizer.remarks[0]
    assert "is_bigendian" in normalizer.remarks[0]


def test_byte_order_can_be_forced():
    scene, _ = counts()
    expected = ThermalNormalizer().normalize(scene)
    swapped = ThermalNormalizer(ThermalConfig(byte_order="swapped"))
    assert np.array_equal(swapped.normalize(scene.byteswap()), expected)
    assert swapped.remarks == ()  # it was asked for
    as_sent = ThermalNormalizer(ThermalConfig(byte_order="as_sent"))
    assert not np.array_equal(as_sent.normalize(scene.byteswap()), expected)


@pytest.mark.parametrize("kind", ["scene", "high byte only", "noise", "flat", "two levels"])
def test_what_is_in_order_is_never_swapped(kind, rng):
    image = counts()[0]
    if kind == "high byte only":
        image = (image - image.min()) // 8 * 256
    elif kind == "noise":
        image = rng.integers(0, 65536, image.shape).astype(np.uint16)
    elif kind == "flat":
        image[:] = 29815
    elif kind == "two levels":
        image[:] = 29815
        image[40:80, 40:52] = 31015
    sent, asked = ThermalNormalizer(), ThermalNormalizer(ThermalConfig(byte_order="as_sent"))
    for _ in range(3):
        assert np.array_equal(sent.normalize(image), asked.normalize(image))


@pytest.mark.parametrize("flames", ["even", "flickering"])
def test_a_fire_leaves_a_person_contrast(flames, rng):
    scene, person = counts()
    normalizer = ThermalNormalizer()
    for seed in range(60):
        scene, _ = counts(seed=seed)
        even = flames == "even"
        scene[2:16, 2:18] = 60000 if even else rng.integers(32000, 65000, (14, 16))
        gray = normalizer.normalize(scene)
    assert contrast(gray, person) > 20
    assert gray[2:16, 2:18].mean() > gray[person].mean()  # hotter is still brighter
    assert normalizer.bounds[1] > 40000


@pytest.mark.parametrize("kelvin_per_count", [0.1, 0.01, 1 / 64])
def test_the_same_room_has_the_same_contrast_in_any_unit(kelvin_per_count):
    scene, person = counts(kelvin_per_count)
    degrees = contrast(ThermalNormalizer().normalize(celsius()[0]), person)
    assert contrast(ThermalNormalizer().normalize(scene), person) == pytest.approx(degrees, rel=0.1)


@pytest.mark.parametrize("kelvin_per_count", [0.1, 0.01])
def test_the_noise_of_a_flat_wall_is_not_stretched(kelvin_per_count, rng):
    """Noise of 0.05 K alone: its standard deviation stays below a tenth of the gray levels."""
    wall = rng.normal(20 + KELVIN, 0.05, (120, 160)) / kelvin_per_count
    gray = ThermalNormalizer().normalize(np.rint(wall).astype(np.uint16))
    assert gray.std() < 26


@pytest.mark.parametrize("shape", [(24, 32), (8, 8)])
def test_percentiles_of_a_tiny_sensor_are_those_of_all_its_pixels(shape, rng):
    image = rng.integers(29000, 30000, shape).astype(np.uint16)
    normalizer = ThermalNormalizer()
    normalizer.normalize(image)
    assert normalizer.bounds == pytest.approx(tuple(np.percentile(image, (1, 99.5))))


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"mode": "fixed", "low": 0.0, "high": 20000.0}, "white"),
        ({"mode": "fixed", "low": 40000.0, "high": 50000.0}, "black"),
    ],
)
def test_a_fixed_range_that_shows_nothing_is_named(settings, shown):
    normalizer = ThermalNormalizer(ThermalConfig(**settings))
    normalizer.normalize(counts()[0])
    (remark,) = normalizer.remarks
    assert f"shows everything {shown}" in remark
    assert "the image lies between 29" in remark


def test_a_fixed_range_that_shows_the_scene_is_fine():
    normalizer = ThermalNormalizer(ThermalConfig(mode="fixed", low=29000, high=31000))
    normalizer.normalize(counts()[0])
    assert normalizer.remarks == ()
