"""Smoothed dominance maps: steadier where nothing moves, and no ghosts where something does."""

import cv2
import numpy as np
import pytest

from dreamif_model import FusionPipeline
from dreamif_model.dominance import smoothing as temporal
from dreamif_model.dominance.smoothing import BLOCK, MIN_CHANGE, REACH, DominanceSmoother
from dreamif_model.errors import ConfigError
from dreamif_model.image_files import read_gray, read_rgb
from dreamif_model.metrics.flicker import flicker
from dreamif_ros.scene import Scene

SHARE = 0.8
HEIGHT, WIDTH = 96, 128
NEAR_PX, FAR_PX = BLOCK * REACH - BLOCK // 2, BLOCK * REACH + BLOCK // 2  # soft in between


@pytest.fixture
def smooth():
    return DominanceSmoother(SHARE).smooth


def maps(value, size=(HEIGHT, WIDTH)):
    return np.full((2, *size), value, np.float32)


def gray(value, size=(HEIGHT, WIDTH)):
    return levels(np.full(size, value))


def levels(image):
    """(H, W) in [0, 1] to gray levels."""
    return np.rint(255 * image).clip(0, 255).astype(np.uint8)


@pytest.fixture
def textured(rng):
    """An input with much detail, (H, W)."""
    return rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)


def test_where_nothing_moves_the_share_of_the_old_maps_stays(smooth, textured):
    np.testing.assert_array_equal(smooth(maps(1), textured, gray(0.3)), maps(1))
    for count in range(1, 6):
        result = smooth(maps(0), textured, gray(0.3))
        np.testing.assert_allclose(result, maps(SHARE**count), rtol=1e-5)


@pytest.mark.parametrize("modality", [0, 1], ids=["infrared", "visible"])
@pytest.mark.parametrize("change", [50, -50])
def test_where_one_input_changes_the_maps_are_new_at_once(smooth, modality, change):
    before = [gray(0.4), gray(0.3)]
    after = [image.astype(int) for image in before]
    after[modality][40:56, 64:72] += change  # in steps of the blocks
    after = [image.astype(np.uint8) for image in after]
    smooth(maps(1), *before)
    result = smooth(maps(0), *after)
    near = result[:, 40 - NEAR_PX : 56 + NEAR_PX, 64 - NEAR_PX : 72 + NEAR_PX]
    assert not near.any()
    result[:, 40 - FAR_PX : 56 + FAR_PX, 64 - FAR_PX : 72 + FAR_PX] = SHARE
    np.testing.assert_allclose(result, maps(SHARE), rtol=1e-5)


@pytest.mark.parametrize("size", [(24, 32), (6, 8), (7, 9)])
def test_maps_of_a_coarser_size(smooth, size):
    """They are new where one of their pixels, or one near by, shows a change."""
    after = gray(0.4)
    after[48:52, 64:68] = 255
    smooth(maps(1, size), gray(0.4), gray(0.3))
    result = smooth(maps(0, size), after, gray(0.3))
    row, column = size[0] // 2, size[1] // 2
    assert not result[:, row, column].any()
    np.testing.assert_allclose(result[:, 0, 0], SHARE, rtol=1e-5)


def test_what_was_left_behind_is_not_seen_later(smooth):
    """An object passes in one frame; the frame after has no trace of its maps."""
    object_there, object_maps = gray(0.4), maps(0)
    object_there[40:52, 60:68] = 230
    object_maps[:, 36:56, 56:72] = 1
    smooth(maps(0), gray(0.4), gray(0.3))
    assert smooth(object_maps, object_there, gray(0.3))[:, 46, 64].tolist() == [1, 1]
    assert not smooth(maps(0), gray(0.4), gray(0.3)).any()


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.1])
def test_noise_is_no_motion(smooth, rng, sigma):
    def noisy(level):
        return levels(rng.normal(level, sigma, (HEIGHT, WIDTH)))

    smooth(maps(1), noisy(0.5), noisy(0.2))
    result = [smooth(maps(0), noisy(0.5), noisy(0.2)).mean() for _ in range(3)]
    expected = [SHARE, SHARE**2, SHARE**3]
    assert result == pytest.approx(expected, abs=0.15)


def test_noise_that_spreads_over_pixels_is_no_motion(smooth, rng):
    """Smooth noise, as in a small infrared image that was resized."""
    size = (480, 640)

    def noisy():
        return levels(0.5 + cv2.resize(rng.normal(0, 0.03, (120, 160)), size[::-1]))

    smooth(maps(1, size), noisy(), gray(0.2, size))
    result = smooth(maps(0, size), noisy(), gray(0.2, size))
    assert result.mean() == pytest.approx(SHARE, abs=0.1)


def test_a_slow_change_adds_up():
    """Each step is less than what counts as a change; the maps may lag, but not far behind."""
    smooth = DominanceSmoother(0.95).smooth
    for level in np.arange(0, 256) / 255:  # a fifth of MIN_CHANGE
        result = smooth(maps(level), gray(level), gray(0.3))
        assert (level - result).max() <= 2 * MIN_CHANGE + 1e-6


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (37, 53)])
def test_all_sizes_and_padded_inputs(smooth, size):
    padded = size[0] + 11, size[1] + 10
    for inputs in (size, padded):
        smooth(maps(1, size), gray(0.4, inputs), gray(0.3, inputs))
        result = smooth(maps(0, size), gray(0.4, inputs), gray(0.3, inputs))
        np.testing.assert_allclose(result, maps(SHARE, size), rtol=1e-5)
        smooth(maps(0, (2, 2)), gray(0, (2, 2)), gray(0, (2, 2)))  # of another size: starts anew


def test_another_size_a_reset_and_off_start_anew():
    def starts_anew(smoother):
        return not smoother.smooth(maps(0), gray(0.4), gray(0.3)).any()

    smoother = DominanceSmoother(SHARE)
    for forget in ("size", "reset", "off"):
        smoother.smooth(maps(1), gray(0.4), gray(0.3))
        assert not starts_anew(smoother)
        smoother.smooth(maps(1), gray(0.4), gray(0.3))
        if forget == "size":
            smoother.smooth(maps(1, (8, 8)), gray(0.4, (8, 8)), gray(0.3, (8, 8)))
        if forget == "reset":
            smoother.reset()
        if forget == "off":
            smoother.share = 0
            smoother.smooth(maps(1), gray(0.4), gray(0.3))
            smoother.share = SHARE
        assert starts_anew(smoother), forget
        smoother.reset()


def test_whoever_gets_the_maps_may_write_into_them(smooth):
    for _ in range(2):
        smooth(maps(1), gray(0.4), gray(0.3)).fill(7)
    np.testing.assert_allclose(smooth(maps(1), gray(0.4), gray(0.3)), maps(1))


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_refuses_other_shares(share):
    with pytest.raises(ConfigError, match=rf"smoothing must be in \[0, 1\), got {share}"):
        DominanceSmoother(share)
    with pytest.raises(ConfigError, match=r"must be in \[0, 1\)"):
        FusionPipeline("average", "cpu", dominance_smoothing=share)


def noisy_pairs(rng, count):
    """Visible (37, 53, 3) and infrared (37, 53) of a still scene, which fit no multiple."""
    visible, infrared = rng.uniform(60, 180, (37, 53, 3)), rng.uniform(60, 180, (37, 53))
    for _ in range(count):
        yield tuple(
            (image + rng.normal(0, 3, image.shape)).round().astype(np.uint8)
            for image in (visible, infrared)
        )


def test_the_pipeline_smooths_its_maps_alone(nano_weights, rng):
    pairs = list(noisy_pairs(rng, 4))
    plain = [FusionPipeline("nano", "cpu", nano_weights).fuse(*pair) for pair in pairs]
    pipeline = FusionPipeline("nano", "cpu", nano_weights, dominance_smoothing=SHARE)
    pipeline.fuse(*pairs[0])
    pipeline.warm_up()  # leaves no trace, nor what came before
    results = [pipeline.fuse(*pair) for pair in pairs[:3]]
    for result, expected in zip(results, plain, strict=False):
        assert np.array_equal(result.fused, expected.fused)
    for name in ("dominance_infrared", "dominance_visible"):
        first, second, third = (getattr(result, name) for result in plain[:3])
        expected = SHARE * first + (1 - SHARE) * second
        expected = SHARE * expected + (1 - SHARE) * third
        assert getattr(results[2], name) == pytest.approx(expected, abs=1e-5)
        assert getattr(results[2], name) != pytest.approx(third, abs=1e-5)
    pipeline.dominance_smoothing = 0.0
    off = pipeline.fuse(*pairs[3])
    assert np.array_equal(off.dominance_infrared, plain[3].dominance_infrared)


def fused(pairs, share):
    pipeline = FusionPipeline("nano", "cpu", dominance_smoothing=share)
    return [pipeline.fuse(*pair) for pair in pairs]


FRAMES, RATE_HZ = 24, 15.0
BACK = 3  # frames; who was there so long ago, and is no more, might have left a ghost


@pytest.fixture(scope="module")
def street():
    """Pairs of the simulated street, and where people are, frame by frame."""
    scene = Scene()
    times = 2.0 + np.arange(FRAMES) / RATE_HZ
    return [(scene.visible(t), scene.infrared(t)) for t in times], [scene.boxes(t) for t in times]


@pytest.fixture(scope="module")
def plain(street):
    return fused(street[0], 0.0)


def people(boxes):
    mask = np.zeros((480, 640), bool)
    for box in boxes:
        if box.label == "person":
            rows = slice(int(box.y), int(box.y + box.height) + 1)
            mask[rows, int(box.x) : int(box.x + box.width) + 1] = True
    return mask


def ghosts(plain, results, boxes):
    """Mean difference that smoothing makes where people have just left, of each frame."""
    return [
        abs(results[now].dominance_infrared - plain[now].dominance_infrared)[left].mean()
        for now in range(BACK, FRAMES)
        if (left := people(boxes[now - BACK]) & ~people(boxes[now])).any()
    ]


def map_change(results, pairs):
    """Change of the dominance maps where the inputs are still, in levels of 255 per frame."""
    frames = (
        (255 * result.dominance_infrared, infrared / 64, visible[..., 1])
        for result, (visible, infrared) in zip(results, pairs, strict=True)
    )
    return flicker(frames).fused_change


@pytest.mark.slow
def test_maps_of_the_street_are_steadier_and_nobody_leaves_a_ghost(street, plain):
    pairs, boxes = street
    results = fused(pairs, SHARE)
    found = ghosts(plain, results, boxes)
    assert len(found) > FRAMES / 2
    assert np.mean(found) <= 0.01
    assert np.max(found) <= 0.03
    assert map_change(results, pairs) <= map_change(plain, pairs) / 2


@pytest.mark.slow
def test_the_bar_is_one_that_smoothing_without_a_gate_misses(street, plain, monkeypatch):
    monkeypatch.setattr(temporal, "MIN_CHANGE", 10.0)  # nothing ever counts as a change
    monkeypatch.setattr(temporal, "MAX_CHANGE", 10.0)
    found = ghosts(plain, fused(street[0], SHARE), street[1])
    assert np.mean(found) > 5 * 0.01


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_flicker_of_a_real_sequence(pairs_root):
    """30 frames of one fixed camera at night."""
    names = [f"0100{number:02d}.jpg" for number in range(1, 31)]
    pairs = [
        (read_rgb(pairs_root / "llvip/vi" / name), read_gray(pairs_root / "llvip/ir" / name))
        for name in names
    ]
    results = fused(pairs, SHARE)
    frames = (
        (result.fused[..., 1], infrared, visible[..., 1])
        for result, (visible, infrared) in zip(results, pairs, strict=True)
    )
    assert flicker(frames).ratio <= 1.1
