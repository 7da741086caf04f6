import math

import numpy as np
import pytest

from dreamif_model import metrics
from dreamif_model.data import DataSet, read_gray
from dreamif_model.errors import ImageError


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
    assert scores == {
        "AG": metrics.average_gradient(fused),
        "SF": metrics.spatial_frequency(fused),
        "Qabf": metrics.qabf(fused, *pair),
        "SSIM": metrics.ssim(fused, *pair),
        "VIFF": metrics.viff(fused, *pair),
    }


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
    assert all(math.isfinite(score) for score in metrics.evaluate(fits, fits, fits).values())
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
        rows.append(list(metrics.evaluate(fused, infrared, visible).values()))
    assert len(rows) == 4
    means = np.mean(rows, axis=0)
    assert means[:2] == pytest.approx(published[:2], abs=0.02), name
    assert means[2:] == pytest.approx(published[2:], abs=0.003), name
