"""Boxes drawn into pictures."""

import numpy as np
import pytest

from dreamif_model.errors import ImageError
from dreamif_ros.detection.boxes import class_color, draw_boxes
from dreamif_ros.detection.detector import UNTRACKED, Detections

NAMES = {0: "person", 2: "car"}


def one(box, score=0.87, key=0, track=None):
    tracks = None if track is None else np.array([track], np.int64)
    return Detections(
        np.array([box], np.float32), np.array([score], np.float32), np.array([key]), tracks
    )


def test_a_box_is_drawn_where_it_is_in_a_copy():
    picture = np.full((320, 320, 3), 90, np.uint8)
    drawn = draw_boxes(picture, one([100, 100, 200, 250]), NAMES)
    assert (picture == 90).all()
    color = list(class_color(0))
    for x, y in ((100, 180), (199, 180), (150, 249), (199, 100)):
        assert drawn[y, x].tolist() == color
    assert drawn[180, 101].tolist() == drawn[180, 99].tolist() == [0, 0, 0]  # its dark rim
    assert (drawn[110:240, 110:190] == 90).all()
    assert drawn[92, 102].tolist() == color  # the label, above
    assert class_color(0) != class_color(2)


def test_the_label_tells_class_score_and_track():
    picture = np.zeros((480, 640, 3), np.uint8)
    box = [100, 100, 400, 400]
    plain = draw_boxes(picture, one(box), NAMES)
    same = draw_boxes(picture, one(box, track=UNTRACKED), NAMES)
    np.testing.assert_array_equal(plain, same)
    others = [one(box, track=7), one(box, track=8), one(box, score=0.5), one(box, key=2)]
    drawn = [plain, *(draw_boxes(picture, other, NAMES) for other in others)]
    labels = [picture[60:100, 100:400].tobytes() for picture in drawn]
    assert len(set(labels)) == 5
    unnamed = draw_boxes(picture, one(box), {0: "0"})
    np.testing.assert_array_equal(unnamed, draw_boxes(picture, one(box), {}))


def test_labels_stay_in_the_picture():
    picture = np.full((200, 300, 3), 90, np.uint8)
    color = np.array(class_color(0))
    for box in ([0, 0, 300, 200], [280, 150, 300, 200], [0, 190, 20, 200]):
        drawn = draw_boxes(picture, one(box), NAMES)
        assert (drawn == color).all(-1).sum() > 600  # the label is there, whole


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (16, 16), (90, 120), (2160, 3840)])
def test_pictures_of_any_size(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    box = [0, 0, shape[1], shape[0]]
    drawn = draw_boxes(picture, one(box, track=3), NAMES)
    assert drawn.shape == picture.shape
    assert drawn.any()


def test_nothing_found_draws_nothing(rng):
    picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
    nothing = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, int))
    np.testing.assert_array_equal(draw_boxes(picture, nothing, NAMES), picture)
    gray = draw_boxes(picture[..., 0], nothing, NAMES)
    np.testing.assert_array_equal(gray, np.repeat(picture[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    "picture",
    [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4, 3), np.uint8)],
)
def test_pictures_that_cannot_be_drawn_into(picture):
    with pytest.raises(ImageError, match=r"boxes are drawn into \(H, W\[, 3\]\) uint8, got"):
        draw_boxes(picture, one([0, 0, 1, 1]), NAMES)
