"""Detections judged against truth: by hand, and independently."""

import numpy as np
import pytest
from helpers.detected import detections

from dreamif_model import ConfigError
from dreamif_ros.detection.annotations import Truth
from dreamif_ros.detection.judging import count, judge, match_classes, sure_objects

NAMES = {0: "person", 1: "bicycle", 2: "car"}
CLASSES = {"person": 0, "car": 2}


def truth(*rows, dark=()):
    """Rows of x1 y1 x2 y2 name."""
    boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    return Truth(boxes, tuple(row[4] for row in rows), dark)


@pytest.mark.usefixtures("ultralytics")
class TestJudge:
    def test_by_hand(self):
        """Two objects; a hit, a false alarm and, with IoU 0.62, a rough hit, by falling score."""
        found = [
            detections((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0)),
            detections((0, 0, 10, 6.2, 0.7, 0)),
        ]
        truths = [
            truth((0, 0, 10, 10, "person"), dark=(True,)),
            truth((0, 0, 10, 10, "person"), dark=(False,)),
        ]
        score = judge(found, truths, CLASSES, NAMES, confidence=0.75)
        assert score.objects == 2
        # Precision 1 up to recall 1/2, 2/3 up to recall 1; 101 points blur the steps.
        at_50 = 0.5 * 1 + 0.5 * 2 / 3
        assert score.map50 == pytest.approx(at_50, abs=0.01)
        assert score.ap50 == {"person": score.map50}
        # The rough hit counts at 0.5, 0.55 and 0.6; at the other seven only half is found.
        assert score.map50_95 == pytest.approx((3 * at_50 + 7 * 0.5) / 10, abs=0.01)
        # F1 is 4/5 with all three boxes, 2/3 with the first alone.
        assert (score.recall, score.precision) == pytest.approx((1, 2 / 3), abs=1e-6)
        assert (score.found, score.found_dark) == (0.5, 1.0)
        everything = judge(found, truths, CLASSES, NAMES, confidence=0.25)
        assert (everything.found, everything.found_dark) == (1.0, 1.0)

    def test_what_is_perfect_and_what_is_nothing(self):
        truths = [truth((0, 0, 10, 10, "person"), (20, 0, 40, 10, "car")), truth()]
        right = [detections((0, 0, 10, 10, 0.9, 0), (20, 0, 40, 10, 0.8, 2)), detections()]
        score = judge(right, truths, CLASSES, NAMES, 0.25)
        assert (score.recall, score.precision, score.found) == pytest.approx((1, 1, 1))
        # 0.995: ultralytics' precision falls to 0 between its last two points of recall.
        assert (score.map50, score.map50_95) == pytest.approx((0.995, 0.995))
        nothing = judge([detections(), detections()], truths, CLASSES, NAMES, 0.25)
        assert (nothing.recall, nothing.map50, nothing.map50_95, nothing.found) == (0, 0, 0, 0)
        assert (nothing.objects, nothing.found_dark) == (2, None)

    def test_only_the_judged_classes_count(self):
        found = [detections((0, 0, 10, 10, 0.9, 1), (0, 0, 10, 10, 0.8, 0))]
        truths = [truth((0, 0, 10, 10, "person"), (50, 0, 60, 10, "sign"))]
        score = judge(found, truths, {"person": 0}, NAMES, 0.25)
        assert (score.objects, score.precision, score.recall) == (1, pytest.approx(1), 1)

    def test_a_detection_of_another_class_finds_nothing(self):
        truths = [truth((0, 0, 10, 10, "person"))]
        score = judge([detections((0, 0, 10, 10, 0.9, 2))], truths, CLASSES, NAMES, 0.25)
        assert (score.found, score.map50) == (0, 0)

    def test_two_boxes_on_one_object_are_one_hit(self):
        truths = [truth((0, 0, 10, 10, "person"))]
        twice = [detections((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 9, 0.8, 0))]
        score = judge(twice, truths, CLASSES, NAMES, 0.25)
        # The second is a false alarm: half of the boxes at its score, none above it.
        assert (score.recall, score.map50) == (1, pytest.approx(0.995))
        assert 0.5 <= score.precision < 0.95
        assert judge(twice, truths, CLASSES, NAMES, 0.95).found == 0

    def test_against_an_independent_computation(self, rng):
        found, truths = random_detections(rng, 40)
        score = judge(found, truths, CLASSES, NAMES, 0.25)
        steps = np.arange(50, 100, 5) / 100
        areas = [
            np.mean([precision_area(found, truths, name, CLASSES[name], s) for name in CLASSES])
            for s in steps
        ]
        assert 0.2 < score.map50_95 < score.map50 < 0.9
        assert score.map50 == pytest.approx(areas[0], abs=0.01)
        assert score.map50_95 == pytest.approx(np.mean(areas), abs=0.01)

    def test_no_object_at_all_is_an_error(self):
        with pytest.raises(ConfigError, match="no object of person, car: nothing to judge"):
            judge([detections()], [truth()], CLASSES, NAMES, 0.25)


def random_detections(rng, images):
    """Boxes, some of them missed, the others found with some error, and false alarms."""
    found, truths = [], []
    for _ in range(images):
        corners = rng.uniform(0, 300, (6, 2))
        boxes = np.hstack([corners, corners + rng.uniform(20, 60, (6, 2))])
        classes = rng.choice([0, 2], 6)
        names = ["car" if number else "person" for number in classes]
        truths.append(truth(*[(*box, name) for box, name in zip(boxes, names, strict=True)]))
        hits = rng.random(6) < 0.8
        guesses = boxes[hits] + rng.normal(0, 3, (hits.sum(), 4))
        alarms = np.hstack([corners[:3] + 20, corners[:3] + 50])
        rows = np.vstack([guesses, alarms])
        numbers = np.concatenate([classes[hits], rng.choice([0, 2], 3)])
        scores = np.concatenate([rng.uniform(0.3, 1, hits.sum()), rng.uniform(0, 0.8, 3)])
        order = np.argsort(-scores)
        found.append(detections(*np.c_[rows, scores, numbers][order]))
    return found, truths


def precision_area(found, truths, name, number, threshold):
    """Area under the best precision at each recall or more, of one class; plain loops."""
    rows = sorted(
        (-float(score), image, place)
        for image, seen in enumerate(found)
        for place, (score, label) in enumerate(zip(seen.scores, seen.classes, strict=True))
        if label == number
    )
    total = sum(known.names.count(name) for known in truths)
    taken, hits, points = set(), 0, []
    for rank, (_, image, place) in enumerate(rows, start=1):
        known = truths[image]
        overlaps = [
            (overlap(found[image].boxes[place], box), image, other)
            for other, box in enumerate(known.boxes)
            if known.names[other] == name and (image, other) not in taken
        ]
        best = max(overlaps, default=(0, 0, 0))
        if best[0] >= threshold:
            taken.add(best[1:])
            hits += 1
        points.append((hits / total, hits / rank))
    area, before = 0.0, 0.0
    for place, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[place:])
        before = recall
    return area


def overlap(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def test_counts_and_confidences():
    found = [detections((0, 0, 9, 9, 0.9, 0), (0, 0, 9, 9, 0.5, 2)), detections(), detections()]
    found[2] = detections((0, 0, 9, 9, 0.7, 0), (0, 0, 9, 9, 0.2, 0))
    result = count(found, NAMES, 0.25)
    assert (result.detections, result.images, result.classes) == (3, 2, {"person": 2, "car": 1})
    assert result.confidence == pytest.approx(0.7)
    nothing = count(found, NAMES, 0.95)
    assert (nothing.detections, nothing.images, nothing.classes) == (0, 0, {})
    assert np.isnan(nothing.confidence)


def test_what_either_camera_is_sure_of():
    visible = detections((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.4, 0), (0, 0, 10, 10, 0.6, 2))
    infrared = detections((0, 0, 10, 8, 0.8, 0), (20, 0, 30, 10, 0.7, 0), (0, 0, 10, 4, 0.51, 0))
    sure = sure_objects([visible, infrared], NAMES, 0.5)
    # The infrared person with IoU 0.8 is the visible one; the one with IoU 0.4 is another.
    expected = truth(
        *((0, 0, 10, 10, "person"), (20, 0, 30, 10, "person"), (0, 0, 10, 4, "person")),
        (0, 0, 10, 10, "car"),
    )
    np.testing.assert_array_equal(sure.boxes, expected.boxes)
    assert sure.names == expected.names
    nothing = sure_objects([detections(), detections()], NAMES, 0.5)
    assert (nothing.boxes.shape, nothing.names) == ((0, 4), ())


def test_classes_are_matched_by_name():
    names = ["Person", "sign", "vehicle", "car"]
    numbers, others = match_classes(names, NAMES, {"vehicle": "car"})
    assert numbers == {"Person": 0, "vehicle": 2, "car": 2}
    assert others == ["sign"]
    assert match_classes(["person", "car"], NAMES, {}, ("car",)) == ({"car": 2}, ["person"])


@pytest.mark.parametrize(
    ("names", "renamed", "chosen", "words"),
    [
        (["sign"], {}, (), r"labels' classes \(sign\) is one that is judged \(person, bicycle"),
        ([], {}, (), "they are empty"),
        (["car"], {}, ("person",), r"\(car\) is one that is judged \(person\)"),
        (["car"], {"car": "auto"}, (), "the model has no class 'auto'"),
        (["car"], {}, ("tram",), "the model has no class 'tram'"),
    ],
)
def test_classes_that_do_not_match(names, renamed, chosen, words):
    with pytest.raises(ConfigError, match=words):
        match_classes(names, NAMES, renamed, chosen)
