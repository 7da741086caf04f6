"""Images as networks take them, and boxes back in the image."""

import numpy as np

from dreamif_ros.detection.letterbox import Letterbox


def test_letterbox_centres_the_image_between_gray_bars():
    letterbox = Letterbox.fit((50, 100), (64, 64))
    assert (letterbox.scaled, letterbox.canvas, letterbox.offset) == ((32, 64), (64, 64), (16, 0))
    canvas = letterbox.fill(np.full((50, 100, 3), (1, 2, 3), np.uint8))
    assert canvas.shape == (1, 3, 64, 64)
    assert canvas[0, :, 15, 0].tolist() == canvas[0, :, 48, 63].tolist() == [114, 114, 114]
    assert canvas[0, :, 16, 0].tolist() == canvas[0, :, 47, 63].tolist() == [1, 2, 3]


def test_letterbox_of_a_gray_image_has_three_equal_planes(rng):
    gray = rng.integers(0, 256, (90, 121), np.uint8)
    letterbox = Letterbox.fit(gray.shape, (320, 320))
    canvas = letterbox.fill(gray)
    assert canvas.flags.c_contiguous
    assert np.array_equal(canvas, letterbox.fill(np.repeat(gray[..., None], 3, 2)))
    assert canvas[0, 0, 160].std() > 10


def test_letterbox_of_a_network_for_any_size_is_cut_to_its_stride():
    assert Letterbox.fit((50, 100), (64, 64), stride=32).canvas == (32, 64)
    assert Letterbox.fit((48, 100), (320, 320), stride=32).canvas == (160, 320)


def test_letterbox_brings_boxes_back_and_keeps_them_inside():
    letterbox = Letterbox.fit((100, 200), (320, 640))  # 3.2 times, no bars
    boxes = letterbox.to_image(np.array([[32, 64, 320, 160], [-9, -9, 999, 999]], np.float32))
    np.testing.assert_allclose(boxes, [[10, 20, 100, 50], [0, 0, 200, 100]])
