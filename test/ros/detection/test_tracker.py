"""Tracks: identities follow objects from image to image."""

import cv2
import numpy as np
import pytest
from helpers.detectors import assert_same, installed, needs_lap

from dreamif_ros.detection import yolo
from dreamif_ros.detection.detector import UNTRACKED, Detector, DetectorConfig

pytestmark = installed("ultralytics")


def rows(*boxes):
    """Rows of boxes 40 pixels wide at these left edges, with these scores."""
    return np.array([[x, 50, x + 40, 130, score, 0] for x, score in boxes], np.float32).reshape(
        -1, 6
    )


@needs_lap
@pytest.mark.parametrize("name", ["bytetrack", "botsort"])
def test_identities_follow_boxes_that_move(name):
    tracker = yolo.Tracker(name)
    seen = [
        tracker.identify(rows((10 + 5 * i, 0.9), (300 - 5 * i, 0.8)), (200, 400), None, 0.25)
        for i in range(6)
    ]
    assert {tuple(ids.tolist()) for ids in seen} == {(1, 2)}


@needs_lap
def test_a_new_object_is_confirmed_in_its_second_image():
    tracker = yolo.Tracker("bytetrack")
    size = (200, 400)
    assert tracker.identify(rows((10, 0.9)), size, None, 0.25).tolist() == [1]
    assert tracker.identify(rows((10, 0.9), (200, 0.8)), size, None, 0.25).tolist() == [1, -1]
    third = tracker.identify(rows((10, 0.9), (200, 0.8)), size, None, 0.25).tolist()
    assert third[0] == 1
    assert third[1] > 1
    assert tracker.identify(rows(), size, None, 0.25).tolist() == []


@needs_lap
def test_a_weak_box_keeps_a_track_alive_but_begins_none():
    tracker = yolo.Tracker("bytetrack")
    scores = [0.9, 0.9, 0.15, 0.2, 0.9]
    seen = [tracker.identify(rows((10, s)), (200, 400), None, 0.25).tolist() for s in scores]
    assert seen == [[1]] * 5
    tracker.reset()
    weak = [tracker.identify(rows((10, 0.2)), (200, 400), None, 0.25).tolist() for _ in range(3)]
    assert weak == [[-1]] * 3
    assert tracker.min_confidence(0.25) == pytest.approx(0.1)
    assert tracker.min_confidence(0.05) == pytest.approx(0.05)


def shifted(picture, pixels):
    """What a camera that pans sees: the picture ``pixels`` further left, gray beside it."""
    frame = np.full_like(picture, 60)
    frame[:, : picture.shape[1] - pixels] = picture[:, pixels:]
    return frame


@needs_lap
@pytest.mark.parametrize("name", ["bytetrack", "botsort"])
def test_people_keep_their_identity_before_a_camera_that_pans(model, street, name):
    detector = Detector(DetectorConfig(model, tracker=name, confidence=0.5))
    centres = {}
    for step in range(6):
        found = detector.detect(shifted(street, 4 * step))
        assert (found.scores > 0.5).all()
        for box, track in zip(found.boxes, found.tracks, strict=True):
            if track != UNTRACKED:
                centres.setdefault(int(track), []).append((box[0] + box[2]) / 2 + 4 * step)
    kept = [places for places in centres.values() if len(places) == 6]
    assert len(kept) == 5
    assert all(np.ptp(places) < 10 for places in kept)  # neighbours stand 20 pixels apart
    detector.reset_tracks()
    again = detector.detect(street).tracks
    assert sorted(again.tolist()) == list(range(1, len(again) + 1))


@needs_lap
def test_another_size_begins_a_new_sequence(model, street):
    detector = Detector(DetectorConfig(model, tracker="botsort"))
    for picture in (street, street, cv2.resize(street, (480, 384)), street):
        tracks = detector.detect(picture).tracks
        assert tracks.min() == 1
        assert tracks.max() == len(tracks)


@needs_lap
def test_the_tracker_does_not_change_what_is_found(model, detector, street):
    tracked = Detector(DetectorConfig(model, tracker="bytetrack")).detect(street)
    assert_same(tracked, detector.detect(street))
