"""Fusion without learning: values that follow from the definition."""

import cv2
import numpy as np
import pytest

from dreamif_model.benchmark.classic_fusion import CLASSIC, guided_filter, laplacian_pyramid

LUMA = np.array((0.299, 0.587, 0.114))
SHAPES = [(48, 64), (37, 53), (131, 171)]
methods = pytest.mark.parametrize("fuse", CLASSIC.values(), ids=CLASSIC)


def gray(image):
    """RGB with three equal channels."""
    return np.repeat(image[..., None], 3, axis=2)


def textured(rng, *shape):
    return cv2.GaussianBlur(rng.integers(0, 256, shape, dtype=np.uint8), (0, 0), 2)


@methods
@pytest.mark.parametrize("shape", SHAPES)
def test_of_two_equal_images_it_is_that_image(fuse, shape, rng):
    image = textured(rng, *shape)
    fused = fuse(image, gray(image))
    assert fused.dtype == np.uint8
    assert fused.shape == (*shape, 3)
    assert np.abs(fused.astype(int) - gray(image)).max() <= 1


@methods
def test_chroma_is_the_visible_images(fuse, rng):
    """Colours far from black and white, and an infrared image that is the visible luma."""
    visible = np.stack([textured(rng, 48, 64) for _ in range(3)], axis=2)
    luma = cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY)
    fused = fuse(luma, visible)
    assert np.abs(fused.astype(int) - visible).max() <= 3  # YCrCb of 8 bits and back


@methods
def test_what_only_one_image_shows_is_seen(fuse):
    """A bright square in infrared; the visible image is flat."""
    infrared, visible = np.full((2, 64, 64), 100, np.uint8)
    infrared[24:40, 24:40] = 200
    fused = fuse(infrared, gray(visible))[..., 0].astype(int)
    assert fused[28:36, 28:36].mean() - fused[:8, :8].mean() > 30
    flat = fuse(visible, gray(visible))
    assert (flat == 100).all()


@methods
def test_the_inputs_are_left_alone(fuse, rng):
    infrared, visible = textured(rng, 37, 53), gray(textured(rng, 37, 53))
    infrared.flags.writeable = visible.flags.writeable = False
    fuse(infrared, visible)


def test_the_pyramid_takes_the_mean_of_what_has_no_detail():
    infrared, visible = np.full((64, 64), 40, np.uint8), np.full((64, 64), 141, np.uint8)
    assert (np.abs(laplacian_pyramid(infrared, gray(visible)).astype(int) - 90.5) < 1).all()


def test_the_pyramid_takes_the_larger_detail():
    """Stripes of ±60 in one image and of ±20, displaced, in the other, around one level."""
    columns = np.arange(64)
    strong = np.where(columns % 4 < 2, 188, 68).astype(np.uint8)
    weak = np.where((columns + 1) % 4 < 2, 148, 108).astype(np.uint8)
    strong, weak = np.tile(strong, (64, 1)), np.tile(weak, (64, 1))
    for infrared, visible in ((strong, weak), (weak, strong)):
        fused = laplacian_pyramid(infrared, gray(visible))[..., 0].astype(float)
        inside = slice(16, 48)
        centred = fused[inside, inside] - fused[inside, inside].mean()
        for image, least in ((strong, 0.9), (weak, -1.0)):
            other = image[inside, inside] - image[inside, inside].mean()
            similarity = (centred * other).sum() / np.sqrt((centred**2).sum() * (other**2).sum())
            assert similarity >= least
            assert image is strong or similarity < 0.5


def test_the_guided_filter_follows_the_stronger_edges(rng):
    """Texture on the left in infrared, on the right in the visible image; the rest is flat."""
    texture = rng.integers(0, 256, (96, 128), dtype=np.uint8)
    infrared, visible = np.full((2, 96, 128), 128, np.uint8)
    infrared[:, :64], visible[:, 64:] = texture[:, :64], texture[:, 64:]
    fused = guided_filter(infrared, gray(visible))[..., 0].astype(float)
    for side in (slice(16, 40), slice(88, 112)):
        assert np.abs(fused[:, side] - texture[:, side]).mean() < 8


def test_gray_levels_end_at_both_ends(rng):
    """Details of black and white images would leave the range."""
    infrared = (rng.random((64, 64)) > 0.5).astype(np.uint8) * 255
    visible = gray((rng.random((64, 64)) > 0.5).astype(np.uint8) * 255)
    for fuse in CLASSIC.values():
        fused = fuse(infrared, visible)
        assert fused.min() < 10  # neither wrapped around nor pulled to the middle
        assert fused.max() > 245
