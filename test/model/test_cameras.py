"""The two cameras, and one thing for each."""

import json

from dreamif_model.cameras import Both, Camera


def test_a_camera_is_its_name_in_texts_and_files():
    assert f"{Camera.INFRARED}/image_raw" == "infrared/image_raw"
    assert str(Camera.VISIBLE) == "visible"
    assert json.dumps({"camera": Camera.VISIBLE}) == '{"camera": "visible"}'
    assert Camera("infrared") is Camera.INFRARED


def test_each_camera_has_another():
    assert [camera.other for camera in Camera] == [Camera.VISIBLE, Camera.INFRARED]


def test_both_hold_one_thing_for_each_camera():
    both = Both.make(lambda camera: [camera.value])
    assert list(both) == [["infrared"], ["visible"]]
    assert both[Camera.VISIBLE] is both.visible
    assert both["infrared"] is both.infrared
    both[Camera.INFRARED] = ["other"]
    assert dict(both.items()) == {Camera.INFRARED: ["other"], Camera.VISIBLE: ["visible"]}
    assert both.map(len) == Both(1, 1)
