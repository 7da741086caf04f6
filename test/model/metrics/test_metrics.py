import math

import numpy as np
import pytest

from dreamif_model import metrics
from dreamif_model.errors import ImageError
from dreamif_model.image_files import read_gray
from dreamif_model.training.data import DataSet


@pytest.fixture
def pair(rng):
    """Two unlike textures, 48×64, 8 bit."""
    coarse = rng.integers(0, 256, (2, 12, 16))
    return coarse.repeat(4, 1).repeat(4, 2).astype(np.uint8)


def horizontal_ramp(step, height=48, width=48):
    return np.tile(np.arange(width, dtype=float) * step, (height, 1))


def test_average_gradient():
    assert metrics.average_gradient(horizontal_ramp(3)) == pytest.approx(3 / math.sqrt(2))
    both = horizontal_ramp(3) + horizontal_ramp(4).T
    assert metrics.average_gradient(both) == pytest.approx(5 / math.sqrt(2))
    # Central differences inside, one-sided at the borders: 2, 1, 0 (the same in each row).
    assert metrics.average_gradient(np.array([[0, 2, 2], [0, 2, 2]])) == pytest.approx(
        (2 + 1 + 0) / 3 / math.sqrt(2)
    )


def test_spatial_frequency():
    assert metrics.spatial_frequency(horizontal_ramp(3)) == pytest.approx(3)
    assert metrics.spatial_frequency(horizontal_ramp(3) + horizontal_ramp(4).T) == pytest.approx(5)
    # Row differences 3 and 0 (mean square 4.5), column differences 0 and -3.
    assert metrics.spatial_frequency(np.array([[0, 3], [0, 0]])) == pytest.approx(3)


def test_8_bit_images_do_not_wrap_around():
    image = np.array([[250, 5], [5, 250]], np.uint8)
    assert metrics.spatial_frequency(image) == pytest.approx(245 * math.sqrt(2))


def test_qabf_of_identical_images_is_what_the_sigmoids_leave(pair):
    best = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
    assert best == pytest.approx(0.975, abs=0.001)
    # Where neither has an edge nothing is weighed.
    assert metrics.qabf(pair[0], pair[0], pair[0]) == pytest.approx(best)


def test_qabf_of_a_source_half_as_steep():
    """Every edge, the padded border's too, has ratio ½ and the same angle."""
    kept = 0.9994 / 2 * 0.9879 / (1 + math.exp(-4.4))
    ramp = horizontal_ramp(2)
    assert metrics.qabf(ramp / 2, ramp, ramp) == pytest.approx(kept)


def test_qabf_weighs_the_sources_by_their_edges():
    strong, weak = horizontal_ramp(4), horizontal_ramp(0.5).T
    assert metrics.qabf(strong, strong, weak) > 0.8
    assert metrics.qabf(weak, strong, weak) < 0.2
    assert metrics.qabf(np.zeros((48, 48)), np.zeros((48, 48)), np.zeros((48, 48))) == 0


def test_qabf_is_the_same_for_images_that_are_not_of_whole_numbers(rng):
    """An angle of π/2 does not become -π/2 by rounding."""
    steps = rng.integers(0, 4, (2, 48, 64))  # so few that differences often cancel out
    expected = metrics.qabf(steps[0] * 7, *steps * 10)
    assert metrics.qabf(steps[0] * 0.7, *steps) == pytest.approx(expected, abs=1e-9)


def test_ssim(pair):
    infrared, visible = pair
    assert metrics.ssim(infrared, infrared, infrared) == pytest.approx(2)
    assert metrics.ssim(infrared, infrared, visible) == pytest.approx(
        metrics.ssim(visible, infrared, visible)
    )
    assert metrics.ssim(infrared, infrared, visible) - 1 < 0.5
    # Flat images: only the means and c1 count.
    dark, bright = np.full((8, 8), 50), np.full((8, 8), 150)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 50 * 150 + c1) / (50**2 + 150**2 + c1)
    assert metrics.ssim(dark, bright, bright) == pytest.approx(2 * expected)


def test_ssim_has_the_sample_covariance():
    image = np.zeros((7, 7))
    image[3, 3] = 49
    negative = -image
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variance = (49**2 - 49 * 1**2) / 48  # mean 1
    expected = (-2 + c1) / (2 + c1) * (-2 * variance + c2) / (2 * variance + c2)
    assert metrics.ssim(image, negative, negative) == pytest.approx(2 * expected)


def test_viff(pair):
    infrared, visible = pair
    assert metrics.viff(infrared, infrared, infrared) == pytest.approx(2, abs=1e-6)
    assert metrics.viff(infrared, infrared, visible) == pytest.approx(1, abs=0.1)
    assert metrics.viff(np.full_like(infrared, 99), infrared, visible) == pytest.approx(0, abs=1e-6)


def test_viff_of_half_the_contrast(rng):
    """White noise of a large variance v: log(1 + ¼·v / 2) over log(1 + v / 2) at every scale."""
    noise = rng.normal(128, 1e6, (128, 128))
    half = metrics.viff(noise / 2, noise, noise)
    assert 1.8 < half < 2
    assert metrics.viff(noise * 2, noise, noise) > 2  # more contrast than the source scores more


def test_psnr():
    image = np.full((4, 4), 100, np.uint8)
    assert metrics.psnr(image, image) == math.inf
    assert metrics.psnr(image + 10, image) == pytest.approx(20 * math.log10(25.5))
    assert metrics.psnr(image, image + 10) == pytest.approx(20 * math.log10(25.5))
    noisy = image.copy()
    noisy[0, 0] = 104  # mean square error 1
    assert metrics.psnr(noisy, image) == pytest.approx(20 * math.log10(255))


def test_evaluate_names_every_metric(pair):
    fused = pair.max(0)
    scores = metrics.evaluate(fused, *pair)
    expected = {
        "AG": metrics.average_gradient(fused),
        "SF": metrics.spatial_frequency(fused),
        "Qabf": metrics.qabf(fused, *pair),
        "SSIM": metrics.ssim(fused, *pair),
        "VIFF": metrics.viff(fused, *pair),
        "EN": metrics.entropy(fused),
        "SD": metrics.standard_deviation(fused),
        "MI": metrics.mutual_information(fused, *pair),
        "SCD": metrics.sum_of_correlations_of_differences(fused, *pair),
        "CC": metrics.correlation_coefficient(fused, *pair),
        "PSNR": metrics.fusion_psnr(fused, *pair),
        "Nabf": metrics.nabf(fused, *pair),
    }
    assert scores == expected
    assert list(scores) == list(expected)  # tables keep this order


def test_entropy():
    image = np.array([[0, 0, 0, 0], [255, 255, 7, 8]], np.uint8)  # shares ½, ¼, ⅛, ⅛
    assert metrics.entropy(image) == pytest.approx(1.75)
    assert metrics.entropy(np.arange(256.0).reshape(16, 16)) == pytest.approx(8)
    assert metrics.entropy(np.full((4, 4), 9)) == 0
    # Numbers of other types are rounded to gray levels: 7, 7, 8, 255.
    assert metrics.entropy(np.array([[6.6, 7.4], [8.4, 300.0]])) == pytest.approx(1.5)


def test_standard_deviation():
    assert metrics.standard_deviation(np.array([[1, 3], [5, 7]])) == pytest.approx(math.sqrt(5))
    assert metrics.standard_deviation(np.array([[0, 255]], np.uint8)) == 127.5


def test_mutual_information():
    infrared = np.array([[0, 0, 255, 255]], np.uint8)
    visible = np.array([[0, 255, 0, 255]], np.uint8)  # tells nothing of the infrared
    assert metrics.mutual_information(infrared, infrared, visible) == pytest.approx(1)
    assert metrics.mutual_information(infrared, infrared, 255 - infrared) == pytest.approx(2)
    # F has p = ¼, ½, ¼; each source halves it: H(F) = 1.5, H(F, S) = 2, H(S) = 1.
    fused = infrared // 2 + visible // 2
    assert metrics.mutual_information(fused, infrared, visible) == pytest.approx(1)
    assert metrics.mutual_information(np.zeros((1, 4)), infrared, visible) == 0


def test_correlation_coefficient():
    ramp = horizontal_ramp(2)
    assert metrics.correlation_coefficient(ramp, ramp + 9, 100 - ramp) == pytest.approx(0)
    assert metrics.correlation_coefficient(ramp, ramp * 3, ramp.T) == pytest.approx(0.5)
    # (1, 2, 3) with (1, 3, 2) correlate with ½.
    a, b = np.array([[1, 2, 3]]), np.array([[1, 3, 2]])
    assert metrics.correlation_coefficient(a, a, b) == pytest.approx(0.75)
    assert metrics.correlation_coefficient(np.full_like(a, 5), a, b) == 0


def test_sum_of_correlations_of_differences():
    infrared, visible = horizontal_ramp(2), horizontal_ramp(3).T
    scd = metrics.sum_of_correlations_of_differences
    assert scd(infrared + visible, infrared, visible) == pytest.approx(2)
    # Variances 4 and 9: r(-I - 2V, I) = -4 / (2 √40), r(-2I - V, V) = -9 / (3 √25).
    assert scd(-infrared - visible, infrared, visible) == pytest.approx(-2 / 40**0.5 - 3 / 5)
    # A copy of V: F - V is constant (0 by definition), F - I is (ΔV, -ΔI), which correlates with V
    # as 3 / sqrt(3² + 2²).
    assert scd(visible, infrared, visible) == pytest.approx(3 / math.sqrt(13))


def test_psnr_of_tables():
    infrared, visible = np.full((4, 4), 100), np.full((4, 4), 120)
    fused = np.full((4, 4), 106)  # squares 36 and 196, mean 116
    expected = 10 * math.log10(255**2 / 116)
    assert metrics.fusion_psnr(fused, infrared, visible) == pytest.approx(expected)
    assert metrics.fusion_psnr(fused, fused, fused) == math.inf


class TestNabf:
    def test_a_copy_adds_nothing(self, pair):
        assert metrics.nabf(pair[0], pair[0], pair[1]) == 0

    def test_edges_of_another_direction_are_all_new(self):
        """Both sources rise by 4 to the right (g = 4), the fused image by 40 downwards."""
        source, fused = horizontal_ramp(4), horizontal_ramp(40).T
        # Inside, G = 1/10 and A = 0: nothing is kept. At the mirrored borders left and right the
        # sources have no edge and weigh .001, above and below the fused one has none: no artifact.
        inside, border = 46 * 46 * 4**1.5, 46 * 2 * 0.001
        total = 48 * 46 * 4**1.5 + 48 * 2 * 0.001
        expected = (inside + border) / total
        assert metrics.nabf(fused, source, source) == pytest.approx(expected, abs=0.001)

    def test_a_stronger_edge_of_the_same_direction_is_kept_in_part(self):
        source = horizontal_ramp(4)
        # G = ½ is the middle of its sigmoid, A = 1 the end of the other.
        kept = math.sqrt(0.9999 / 2 * 0.9995 / (1 + math.exp(-22 * 0.5)))
        assert metrics.nabf(source * 2, source, source) == pytest.approx(1 - kept, abs=1e-4)

    def test_a_weak_edge_of_a_source_hardly_counts(self):
        weak, strong, fused = horizontal_ramp(1.9), horizontal_ramp(4), horizontal_ramp(8)
        only_strong = metrics.nabf(fused, strong, strong)
        assert metrics.nabf(fused, weak, strong) == pytest.approx(only_strong, abs=1e-3)

    def test_noise_is_an_artifact(self, pair, rng):
        noisy = pair[0] + rng.normal(0, 40, pair[0].shape)
        assert metrics.nabf(noisy, *pair) > 5 * metrics.nabf(pair.max(0), *pair)


@pytest.mark.parametrize("metric", [metrics.evaluate, metrics.qabf, metrics.ssim, metrics.viff])
class TestRefuses:
    def test_images_of_other_sizes(self, metric, pair):
        with pytest.raises(ImageError, match=r"one size.*\(48, 64\).*\(48, 63\)"):
            metric(pair[0], pair[0], pair[1][:, :-1])
        with pytest.raises(ImageError, match="one size"):  # would broadcast
            metric(pair[0], pair[0], pair[1][:, :1])

    def test_color(self, metric, pair):
        color = np.repeat(pair[0][..., None], 3, axis=2)
        with pytest.raises(ImageError, match=r"gray images.*\(48, 64, 3\)"):
            metric(color, *pair)


def test_psnr_refuses_images_of_other_sizes():
    with pytest.raises(ImageError, match="one size"):
        metrics.psnr(np.zeros((4, 4)), np.zeros((4, 1)))


def test_the_smallest_image():
    fits = np.random.default_rng(0).integers(0, 256, (41, 41))
    assert all(math.isfinite(score) for score in metrics.evaluate(fits, fits, fits[::-1]).values())
    with pytest.raises(ImageError, match="41×41"):
        metrics.evaluate(*[fits[:40]] * 3)


@pytest.mark.parametrize(
    ("name", "fuse", "published"),
    [
        (
            "average",
            lambda a, b: np.rint((a.astype(float) + b) / 2),
            (2.39, 6.44, 0.325, 1.478, 0.543),
        ),
        ("max", np.maximum, (3.19, 8.99, 0.562, 1.349, 0.857)),
    ],
)
def test_published_rows_of_the_tno_validation_split(pairs_root, name, fuse, published):
    """The rows of shared/guides/peers.md, measured with another implementation."""
    _, validation = DataSet(pairs_root / "tno").split()
    rows = []
    for paths in validation:
        infrared, visible = read_gray(paths.infrared), read_gray(paths.visible)
        fused = fuse(infrared, visible)
        scores = metrics.evaluate(fused, infrared, visible)
        rows.append([scores[metric] for metric in ("AG", "SF", "Qabf", "SSIM", "VIFF")])
    assert len(rows) == 4
    means = np.mean(rows, axis=0)
    assert means[:2] == pytest.approx(published[:2], abs=0.02), name
    assert means[2:] == pytest.approx(published[2:], abs=0.003), name
