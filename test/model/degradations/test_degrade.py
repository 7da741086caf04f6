import math
from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from dreamif_model.cameras import Camera
from dreamif_model.degradations.degrade import FUNCTIONS, degrade, degrade_randomly
from dreamif_model.degradations.kinds import DEGRADATIONS
from dreamif_model.errors import ConfigError

SIZE = (256, 256)
UNSEEDED = {"blur", "resize", "jpeg"}  # nothing in them is drawn
NOISE = {"gaussian", "poisson", "speckle"}


def flat(value, size=SIZE):
    return torch.full(size, float(value))


@pytest.fixture
def photo(rng):
    """Soft shapes with some texture, RGB in whole gray levels, of a size that 8 does not divide."""
    coarse = rng.random((9, 12, 3), dtype=np.float32)
    shapes = cv2.resize(coarse, (109, 77), interpolation=cv2.INTER_CUBIC)
    pixels = shapes + rng.normal(0, 0.03, shapes.shape)
    return torch.from_numpy(np.rint(pixels.clip(0, 1) * 255).transpose(2, 0, 1) / 255).float()


def error(a, b):
    return (a - b).abs().mean().item() * 255


# What each of them does


def test_gaussian_has_the_strength_asked_for(generator):
    noisy = degrade(flat(0.5), "gaussian", 20.0, generator)
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.001)
    assert noisy.std().item() * 255 == pytest.approx(20, rel=0.02)


@pytest.mark.parametrize("value", [0.1, 0.4])
def test_poisson_variance_is_the_mean_over_the_peak(value, generator):
    noisy = degrade(flat(value), "poisson", 60.0, generator)
    assert noisy.mean().item() == pytest.approx(value, rel=0.01)
    assert noisy.var().item() == pytest.approx(value / 60, rel=0.04)
    counts = noisy * 60
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5])
def test_speckle_is_proportional_to_the_image(value, generator):
    noisy = degrade(flat(value), "speckle", 0.2, generator)
    assert noisy.mean().item() == pytest.approx(value, abs=0.002)
    assert noisy.std().item() == pytest.approx(0.2 * value, rel=0.02)


@pytest.mark.parametrize("name", sorted(NOISE))
def test_noise_of_the_channels_is_independent(name, generator):
    noisy = degrade(flat(0.5, (3, *SIZE)), name, DEGRADATIONS[name].training[0], generator)
    correlations = torch.corrcoef(noisy.flatten(1))
    torch.testing.assert_close(correlations, torch.eye(3), atol=0.02, rtol=0)


@pytest.mark.parametrize("sigma", [0.8, 2.0, 5.0])
def test_blur_spreads_a_point_to_a_gaussian(sigma, generator):
    point = flat(0, (101, 101))
    point[50, 50] = 1
    blurred = degrade(point, "blur", sigma, generator)
    place = torch.arange(-50.0, 51.0)
    assert blurred.sum().item() == pytest.approx(1, abs=1e-4)  # of its light, nothing is lost
    for dimension in (0, 1):
        spread = (blurred.sum(dimension) * place**2).sum().sqrt().item()
        assert spread == pytest.approx(sigma, rel=0.02)
    torch.testing.assert_close(blurred, blurred.flip(0))
    torch.testing.assert_close(blurred, blurred.T)


def test_blur_lowers_gradients_and_keeps_the_mean(photo, generator):
    blurred = [degrade(photo, "blur", sigma, generator) for sigma in (0.5, 1.0, 2.0, 4.0)]
    energies = [image.diff().square().mean().item() for image in (photo, *blurred)]
    assert energies == sorted(energies, reverse=True)
    assert all(image.mean().item() == pytest.approx(photo.mean().item(), 0.02) for image in blurred)


def test_resize_keeps_means_of_blocks_and_loses_what_is_finer(generator):
    checkers = (torch.arange(64)[:, None] + torch.arange(64)) % 2
    assert torch.equal(degrade(checkers.float(), "resize", 2, generator), flat(0.5, (64, 64)))
    ramp = torch.linspace(0, 1, 64).expand(64, 64)
    inner = slice(4, -4)  # the border repeats
    torch.testing.assert_close(
        degrade(ramp, "resize", 4, generator)[:, inner], ramp[:, inner], atol=1e-5, rtol=0
    )
    assert torch.equal(degrade(ramp, "resize", 1, generator), ramp)


@pytest.mark.parametrize("depth", [0.5, 4])
def test_haze_is_one_airlight_in_front_of_every_pixel(depth, generator):
    """y - A = t · (x - A): black and white, seen through the same haze, give t and A."""
    black, white = (
        degrade(flat(value, (3, *SIZE)), "haze", depth, generator.manual_seed(5)).double()
        for value in (0, 1)
    )
    transmission = white - black
    assert transmission.min() >= math.exp(-depth) - 1e-6
    assert transmission.max() <= 1
    visible = transmission < 0.95
    airlight = black[visible] / (1 - transmission[visible])
    assert airlight.std() < 1e-5
    assert 0.6 <= airlight.mean() <= 0.95


def test_haze_is_smooth_and_differs_from_image_to_image(generator):
    first, second = (degrade(flat(0.2, SIZE), "haze", 2, generator) for _ in range(2))
    assert first.diff(dim=1).abs().max() < 0.1
    assert (first - second).abs().max() > 0.05


def test_rain_only_brightens_and_more_of_it_more(photo, generator):
    falls = [degrade(photo, "rain", density, generator) for density in (0.1, 0.4, 1.0)]
    assert all((image >= photo).all() for image in falls)
    wet = [(image > photo).any(0).float().mean().item() for image in falls]
    assert wet == sorted(wet)
    assert 0.01 < wet[0] < wet[2] < 0.5


def test_rain_falls(generator):
    """Streaks are longer than wide, alike in the channels, and slant otherwise the next time."""
    image = degrade(flat(0.3, (3, *SIZE)), "rain", 0.3, generator)
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])
    across, along = image[0].diff(dim=1), image[0].diff(dim=0)
    assert across.square().mean() > 4 * along.square().mean()
    slants = {round(_slant(degrade(flat(0), "rain", 0.3, generator)), 2) for _ in range(5)}
    assert len(slants) > 2
    assert all(abs(slant) <= 0.22 for slant in slants)


def _slant(streaks):
    """Columns per row, by the shift that correlates rows 8 apart best."""
    shifts = range(-4, 5)
    scores = [(streaks[8:] * streaks[:-8].roll(shift, 1)).sum() for shift in shifts]
    return shifts[int(torch.stack(scores).argmax())] / 8


def test_low_light_halves_values_every_2_2_stops_and_has_read_noise(generator):
    for stops, expected in ((2.2, 0.4), (4.4, 0.2)):
        dark = degrade(flat(0.8), "low_light", stops, generator)
        assert dark.mean().item() == pytest.approx(expected, abs=0.001)
        assert dark.std().item() * 255 == pytest.approx(2, rel=0.02)


def test_drift_takes_its_share_of_the_contrast(generator):
    """A fine pattern loses exactly that share; what is added has no fine structure."""
    checkers = ((torch.arange(256)[:, None] + torch.arange(256)) % 2).float()
    for loss in (0.3, 0.6):
        seed = generator.get_state()
        drifted = degrade(checkers, "drift", loss, generator)
        opposite = degrade(1 - checkers, "drift", loss, generator.set_state(seed))
        torch.testing.assert_close((drifted - opposite).abs(), torch.full(SIZE, 1 - loss))
        field = ((drifted + opposite) - (1 - loss)) / 2
        assert 0.1 * loss <= field.min()
        assert field.max() <= 0.9 * loss
        assert field.max() - field.min() > 0.05 * loss
        for dimension in (0, 1):
            assert field.diff(dim=dimension).abs().max() < 0.01


def test_stripes_are_offsets_of_columns_and_weaker_ones_of_rows(generator):
    image = degrade(flat(0.5, (512, 512)), "stripes", 8.0, generator) * 255
    columns, rows = image.mean(0), image.mean(1)
    assert columns.std().item() == pytest.approx(8, rel=0.1)
    assert rows.std().item() == pytest.approx(2, rel=0.1)
    rest = image - columns - rows[:, None] + image.mean()
    assert rest.abs().max() < 1e-3  # constant along the column, but for what its row adds


def test_stripes_have_gains_too(generator):
    ramp = torch.linspace(0.2, 0.8, 256)[:, None].expand(256, 2000)
    added = (degrade(ramp, "stripes", 8.0, generator) - ramp) * 255
    slopes = (added[-1] - added[0]) / 0.6  # of the columns, but for one row's offset in common
    assert slopes.std().item() == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize("per_mille", [2.0, 10.0, 60.0])
def test_dead_pixels_are_as_many_as_asked_for(per_mille, generator):
    image = degrade(flat(0.5, (1000, 1000)), "dead_pixels", per_mille, generator)
    hot, cold = image == 1, image == 0
    assert ((image == 0.5) | hot | cold).all()
    for stuck in (hot, cold):
        assert stuck.float().mean().item() == pytest.approx(per_mille / 2000, rel=0.1)


def test_half_of_the_dead_pixels_are_in_clusters(generator):
    hot = degrade(flat(0.5, (1000, 1000)), "dead_pixels", 5.0, generator) == 1
    beside = (hot[1:-1, 1:-1] & (hot[1:-1, 2:] | hot[1:-1, :-2])).sum() / hot.sum()
    assert beside.item() == pytest.approx(0.5, abs=0.05)


def test_dead_pixels_are_dead_in_every_channel(generator):
    image = degrade(flat(0.5, (3, *SIZE)), "dead_pixels", 20.0, generator)
    assert torch.equal(image, image[:1].expand(3, -1, -1))


def test_jpeg_keeps_the_order_of_colours_and_loses_them_first(generator):
    red, blue = flat(0.0, (3, *SIZE)), flat(0.0, (3, *SIZE))
    red[0], blue[2] = 1, 1
    for image in (red, blue):
        assert error(degrade(image, "jpeg", 90, generator), image) < 2


def test_jpeg_loses_more_the_lower_its_quality(photo, generator):
    for image in (photo, photo[:1], photo[0]):
        errors = [error(degrade(image, "jpeg", q, generator), image) for q in (100, 90, 50, 20, 5)]
        assert errors == sorted(errors)
        assert errors[0] < (0.6 if image.ndim == 2 or len(image) == 1 else 6)  # colour is halved
        assert errors[-1] > 8


# What holds for all of them


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("shape", [(37, 53), (1, 37, 53), (3, 37, 53), (1, 1), (3, 2, 9)])
def test_shape_type_and_range_stay(name, shape, generator):
    image = torch.rand(shape, generator=generator)
    before = image.clone()
    low, high = DEGRADATIONS[name].valid
    for strength in (*DEGRADATIONS[name].training, low, high):
        shown = degrade(image, name, strength, generator)
        assert shown.shape == image.shape
        assert shown.dtype == torch.float32
        assert 0 <= shown.min() <= shown.max() <= 1
    assert torch.equal(image, before)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_gray_images_of_both_shapes_fare_alike(name, photo):
    strength = DEGRADATIONS[name].training[1]
    plane, stack = (
        degrade(image, name, strength, torch.Generator().manual_seed(3))
        for image in (photo[0], photo[:1])
    )
    assert torch.equal(plane, stack[0])


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_seeded(name, photo):
    def once(seed):
        generator = torch.Generator().manual_seed(seed)
        return degrade(photo, name, DEGRADATIONS[name].training[1], generator)

    before = torch.random.get_rng_state()
    assert torch.equal(once(1), once(1))
    assert torch.equal(once(1), once(2)) == (name in UNSEEDED)
    assert torch.equal(torch.random.get_rng_state(), before)  # the global generator is untouched
    assert not torch.equal(once(1), photo)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_threads_change_nothing(name, generator):
    image = torch.rand((3, 300, 400), generator=generator)
    threads, shown = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            seeded = torch.Generator().manual_seed(0)
            shown.append(degrade(image, name, DEGRADATIONS[name].training[1], seeded))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(shown[0], shown[1])
    assert torch.equal(shown[0], shown[2])


def test_unknown_name(generator):
    with pytest.raises(ConfigError, match=r"unknown degradation 'fog': choose one of haze, rain"):
        degrade(flat(0.5), "fog", 1.0, generator)


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        *((name, bad) for name in DEGRADATIONS for bad in (0.0, -1.0, float("nan"), float("inf"))),
        *(("jpeg", 101.0), ("drift", 1.1), ("rain", 1.5), ("resize", 0.5), ("dead_pixels", 101.0)),
    ],
)
def test_strength_out_of_range(name, strength, generator):
    low, high = DEGRADATIONS[name].valid
    with pytest.raises(ConfigError) as caught:
        degrade(flat(0.5), name, strength, generator)
    words = f"the strength of {name} ({DEGRADATIONS[name].unit}) must be from {low:g} to {high:g}"
    assert str(caught.value) == f"{words}, got {strength:g}"


def test_the_table_and_the_functions_have_the_same_names():
    assert list(FUNCTIONS) == list(DEGRADATIONS)


def test_strengths_of_training_are_valid():
    for kind in DEGRADATIONS.values():
        assert kind.valid[0] <= kind.training[0] < kind.training[1] <= kind.valid[1]


# Several at random


@pytest.fixture
def drawn(monkeypatch):
    """Instead of a degraded image: every call's (name, strength), in the order of the calls."""
    calls = []
    for name in DEGRADATIONS:

        def record(image, strength, _, name=name):
            calls.append((name, strength))
            return image + 0

        monkeypatch.setitem(FUNCTIONS, name, record)
    return calls


def draws(calls, times, generator, **options):
    """Names that each of so many draws applied."""
    found = []
    for _ in range(times):
        calls.clear()
        degrade_randomly(flat(0.5, (1, 1)), 1.0, generator, **options)
        found.append([name for name, _ in calls])
    return found


@pytest.mark.usefixtures("drawn")
def test_probability(generator):
    image = flat(0.5, (1, 1))
    assert all(degrade_randomly(image, 0.0, generator) is image for _ in range(100))
    assert not any(degrade_randomly(image, 1.0, generator) is image for _ in range(100))
    left = sum(degrade_randomly(image, 0.7, generator) is image for _ in range(1000))
    assert left == pytest.approx(300, abs=45)


def test_a_degraded_image_differs(photo, generator):
    shown = [degrade_randomly(photo, 1.0, generator) for _ in range(30)]
    assert not any(torch.equal(image, photo) for image in shown)
    assert all(0 <= image.min() <= image.max() <= 1 for image in shown)


def test_how_many_at_once(generator, drawn):
    counts = Counter(len(names) for names in draws(drawn, 1500, generator))
    for number, share in enumerate((0.6, 0.3, 0.1), start=1):
        assert counts[number] / 1500 == pytest.approx(share, abs=0.04)
    assert counts.total() == sum(counts[number] for number in (1, 2, 3))


def test_all_different_and_in_the_order_of_the_imaging_chain(generator, drawn):
    order = list(DEGRADATIONS)
    for names in draws(drawn, 500, generator):
        places = [order.index(name) for name in names]
        assert places == sorted(set(places))


@pytest.mark.parametrize("camera", Camera)
def test_kinds_of_a_camera_by_their_shares(camera, generator, drawn):
    single = [names for names in draws(drawn, 5000, generator, camera=camera) if len(names) == 1]
    counts = Counter(name for (name,) in single)
    kinds = {name: kind for name, kind in DEGRADATIONS.items() if camera in kind.cameras}
    assert counts.keys() == kinds.keys()
    whole = sum(kind.share for kind in kinds.values())
    for name, kind in kinds.items():
        assert counts[name] / len(single) == pytest.approx(kind.share / whole, abs=0.03)
    assert sum(counts[name] for name in NOISE) / len(single) == pytest.approx(0.6, abs=0.03)


def test_rain_is_for_the_visible_and_stripes_for_the_infrared():
    for name in ("haze", "rain", "low_light"):
        assert DEGRADATIONS[name].cameras == ("visible",)
    for name in ("stripes", "dead_pixels", "drift"):
        assert DEGRADATIONS[name].cameras == ("infrared",)


def test_whole_range_of_strengths(generator, drawn):
    for name, kind in DEGRADATIONS.items():
        drawn.clear()
        for _ in range(100):
            degrade_randomly(flat(0.5, (1, 1)), 1.0, generator, kinds=[name])
        low, high = kind.training
        strengths = [strength for _, strength in drawn]
        assert len(strengths) == 100  # the only kind is never drawn twice
        assert low <= min(strengths) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(strengths) <= high


def test_only_the_kinds_asked_for(generator, drawn):
    names = {name for draw in draws(drawn, 300, generator, kinds=sorted(NOISE)) for name in draw}
    assert names == NOISE
    both = draws(drawn, 50, generator, kinds=["rain", "jpeg"], camera=Camera.INFRARED)
    assert {name for draw in both for name in draw} == {"jpeg"}


def test_no_kind_fits_the_camera(generator):
    image = flat(0.5)
    assert degrade_randomly(image, 1.0, generator, camera=Camera.INFRARED, kinds=["rain"]) is image


def test_both_cameras_are_drawn_independently(generator):
    """Training draws both from one generator, yet one does not predict the other."""
    image = flat(0.5, (1, 8, 8))
    pairs = [
        tuple(degrade_randomly(image, 0.5, generator, camera=c) is image for c in Camera)
        for _ in range(1200)
    ]
    for outcome, number in Counter(pairs).items():
        assert number == pytest.approx(300, abs=60), outcome
    shown = [degrade_randomly(image, 1.0, generator, kinds=["gaussian"]) for _ in Camera]
    assert not torch.equal(*shown)


def test_random_ones_repeat_bit_for_bit(photo):
    def run():
        generator = torch.Generator().manual_seed(5)
        return [degrade_randomly(photo, 0.8, generator, camera=Camera.VISIBLE) for _ in range(20)]

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kinds": ["gaussian", "fog"]}, "unknown degradation 'fog'"),
        ({"kinds": []}, "kinds names no degradation"),
    ],
)
def test_random_ones_refuse_a_wrong_choice(options, words, generator):
    with pytest.raises(ConfigError, match=words):
        degrade_randomly(flat(0.5), 0.5, generator, **options)
