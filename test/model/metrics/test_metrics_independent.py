"""The metrics beside implementations that share no code with ours."""

import math

import numpy as np
import pytest
import scipy.stats
import sewar
import skimage.measure
import skimage.metrics
from helpers import scipy_metrics

from dreamif_model import metrics
from dreamif_model.image_files import find_pairs, read_gray


@pytest.fixture(params=["smooth", "noise", "flat areas"])
def images(request, rng):
    """Fused, infrared and visible, 61×83, 8 bit, of three kinds."""
    infrared, visible = rng.integers(0, 256, (2, 61, 83)).astype(float)
    if request.param != "noise":
        ramp = np.add.outer(np.arange(61) * 2, np.arange(83))
        infrared, visible = ramp + infrared / 16, 230 - ramp[::-1] + visible / 8
    if request.param == "flat areas":
        infrared[:, :50], visible[:25], visible[30:, 40:] = 17, 90, 255
    fused = np.maximum(0.6 * infrared + 0.4 * visible, visible * (rng.random((61, 83)) > 0.1))
    return [np.rint(image).clip(0, 255).astype(np.uint8) for image in (fused, infrared, visible)]


def test_equals_the_straightforward_scipy_version(images):
    expected = scipy_metrics.evaluate(*images)
    assert metrics.evaluate(*images) == pytest.approx(expected, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("name", ["tno", "roadscene"])
def test_equals_the_scipy_version_on_real_images(pairs_root, name):
    paths = find_pairs(pairs_root / name / "ir", pairs_root / name / "vi")[1]
    infrared, visible = (read_gray(path)[:200, :240] for path in (paths.infrared, paths.visible))
    fused = np.maximum(infrared, visible // 2)
    expected = scipy_metrics.evaluate(fused, infrared, visible)
    assert len(expected) == 12
    assert metrics.evaluate(fused, infrared, visible) == pytest.approx(expected, abs=1e-6)


def test_ssim_psnr_and_entropy_equal_scikit_image(images):
    fused, *sources = images
    similarity = skimage.metrics.structural_similarity
    expected = sum(similarity(fused, source, data_range=255) for source in sources)
    assert metrics.ssim(fused, *sources) == pytest.approx(expected, abs=1e-9)
    error = np.mean([skimage.metrics.mean_squared_error(fused, source) for source in sources])
    assert metrics.fusion_psnr(fused, *sources) == pytest.approx(10 * math.log10(255**2 / error))
    ratio = skimage.metrics.peak_signal_noise_ratio(sources[0], fused, data_range=255)
    assert metrics.psnr(fused, sources[0]) == pytest.approx(ratio)
    assert metrics.entropy(fused) == pytest.approx(skimage.measure.shannon_entropy(fused))


def test_viff_equals_sewar(images):
    fused, *sources = images
    expected = sum(sewar.vifp(source, fused) for source in sources)
    assert metrics.viff(fused, *sources) == pytest.approx(expected, abs=1e-6)


def test_mutual_information_and_correlations_equal_scipy_stats(images):
    fused, *sources = (image.ravel() for image in images)

    def bits(*columns):
        return scipy.stats.entropy(np.unique(columns, axis=1, return_counts=True)[1], base=2)

    information = sum(bits(fused) + bits(source) - bits(fused, source) for source in sources)
    assert metrics.mutual_information(*images) == pytest.approx(information)

    def r(a, b):
        return scipy.stats.pearsonr(a.astype(float), b.astype(float)).statistic

    mean = (r(fused, sources[0]) + r(fused, sources[1])) / 2
    assert metrics.correlation_coefficient(*images) == pytest.approx(mean)
    differences = [fused.astype(float) - source for source in reversed(sources)]
    total = sum(r(a, b) for a, b in zip(differences, sources, strict=True))
    assert metrics.sum_of_correlations_of_differences(*images) == pytest.approx(total)


def test_values_stay_in_the_ranges_of_the_table(images):
    for name, value in metrics.evaluate(*images).items():
        metric = metrics.METRICS[name]
        maximum = math.inf if metric.maximum is None else metric.maximum
        assert metric.minimum <= value <= maximum, name


def test_directions_of_the_table(rng):
    """The mean of the sources is worse when noise is put on it, but for those that reward noise."""
    infrared, visible = np.add.outer(np.arange(64), 3 * np.arange(64))[None] % np.array(
        [[[251]], [[200]]]
    )
    fused = (infrared + visible) / 2
    good = metrics.evaluate(fused, infrared, visible)
    noise = rng.normal(0, 20, fused.shape)
    bad = metrics.evaluate((fused + noise).clip(0, 255), infrared, visible)
    for name in good.keys() - {"AG", "SF", "EN", "SD", "MI"}:
        assert (good[name] > bad[name]) == metrics.METRICS[name].higher_is_better, name
    assert metrics.METRICS["Nabf"].arrow == "↓"
    assert metrics.METRICS["Qabf"].arrow == "↑"
