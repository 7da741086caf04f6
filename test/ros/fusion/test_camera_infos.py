"""Registration by a file, and by camera_info messages, in the node and on its own."""

import cv2
import numpy as np
import pytest
import yaml
from helpers.fusion_rig import INFRARED, NODE, PATIENT, VISIBLE, K, Rig
from helpers.ros_processes import client, parameters, running, spin_until
from sensor_msgs.msg import CameraInfo

from dreamif_model import ConfigError, FusionPipeline, read_calibration
from dreamif_model.cameras import Camera
from dreamif_model.registration.warp import Registrar
from dreamif_ros import codec
from dreamif_ros.fusion.camera_infos import CameraInfos

pytestmark = pytest.mark.realtime

CALIBRATION = {
    "model": "cameras",
    "infrared": "camera_info",
    "visible": "camera_info",
    "rotation": np.eye(3).tolist(),
    "translation": [0.5, 0.0, 0.0],  # 8 pixels at 4 m
    "distance_m": 4.0,
    "clock_offset_s": 0.25,
}


def info(**changes):
    return CameraInfo(
        **(
            {"width": 64, "height": 48, "distortion_model": "plumb_bob", "d": [0.0] * 5, "k": K}
            | changes
        )
    )


def write(folder, **changes):
    path = folder / "calibration.yaml"
    path.write_text(yaml.safe_dump(CALIBRATION | changes))
    return path


def test_the_calibration_is_complete_with_the_last_message(tmp_path):
    infos = CameraInfos(write(tmp_path))
    assert (infos.missing, infos.clock_offset_s) == (["infrared", "visible"], 0.25)
    assert infos.calibration() is None
    assert infos.take(Camera.INFRARED, info()) is None
    calibration = infos.take(Camera.VISIBLE, info())
    assert calibration.visible_size == (64, 48)
    found = calibration.to_infrared(np.array([[10.0, 20.0]]), (64, 48), (64, 48))
    np.testing.assert_allclose(found, [[18.0, 20.0]], atol=1e-6)
    assert infos.missing == []
    assert infos.take(Camera.VISIBLE, info()) is None  # only once


LENSES = {"infrared": [-0.45, 0.2, 0.003, -0.001, 0.0], "visible": [-0.1, 0.03, -0.001, 0.002, 0.0]}


def plane(folder, **changes):
    """A file whose homography is for pixels without the distortion of both cameras."""
    path = folder / "calibration.yaml"
    content = {
        "model": "homography",
        "infrared_size": [64, 48],
        "visible_size": [64, 48],
        "homography": [[0.9, 0.02, 3.0], [-0.01, 0.95, 2.0], [1e-4, 0.0, 1.0]],
        "infrared": "camera_info",
        "visible": "camera_info",
    }
    path.write_text(yaml.safe_dump(content | changes))
    return path


def test_a_homography_takes_the_lenses_of_camera_info(tmp_path):
    """One point of a plane that both see, by OpenCV's projectPoints."""
    infos = CameraInfos(plane(tmp_path))
    assert infos.missing == ["infrared", "visible"]
    infos.take(Camera.INFRARED, info(d=LENSES["infrared"]))
    calibration = infos.take(Camera.VISIBLE, info(d=LENSES["visible"]))
    straight = np.array([[12.0, 9.0], [40.0, 30.0]])  # infrared pixels without distortion
    moved = cv2.perspectiveTransform(straight[:, None], calibration.geometry.matrix)[:, 0]
    infrared, visible = (
        bent(pixels, LENSES[name]) for name, pixels in (("infrared", straight), ("visible", moved))
    )
    found = calibration.to_infrared(visible, (64, 48), (64, 48))
    np.testing.assert_allclose(found, infrared, atol=1e-4)
    assert np.abs(infrared - straight).max() > 0.2  # pixels that the lens moves


def bent(pixels, distortion):
    """Pixels without distortion to those of the camera."""
    k = np.reshape(K, (3, 3))
    rays = np.column_stack((pixels, np.ones(len(pixels)))) @ np.linalg.inv(k).T
    zero = np.zeros(3)
    return cv2.projectPoints(rays, zero, zero, k, np.array(distortion))[0][:, 0]


def test_a_homography_of_another_size_than_camera_info_is_the_fault(tmp_path):
    infos = CameraInfos(plane(tmp_path, visible="camera_info", infrared_size=[32, 24]))
    infos.take(Camera.INFRARED, info())
    calibration = infos.take(Camera.VISIBLE, info())
    with pytest.raises(ConfigError, match=r"intrinsics are for 64x48.*: correct .*calibration"):
        infos.use(calibration, Registrar)
    assert infos.missing == ["infrared", "visible"]


def test_a_calibration_that_cannot_be_used_stays_the_fault(tmp_path):
    infos = CameraInfos(write(tmp_path))
    assert infos.fault == "registration waits for camera_info of infrared and visible"
    infos.take(Camera.INFRARED, info())
    assert infos.fault == "registration waits for camera_info of visible"
    calibration = infos.take(Camera.VISIBLE, info())
    assert infos.fault  # it is not registered yet

    def refuse(_):
        raise ConfigError("the lenses do not fit")

    with pytest.raises(ConfigError, match=r"the lenses do not fit: correct .*calibration\.yaml"):
        infos.use(calibration, refuse)
    assert infos.fault.startswith("the lenses do not fit")
    assert infos.missing == ["infrared", "visible"]  # other messages may be better


def test_messages_that_cannot_be_used_together_are_not_tried_again(tmp_path):
    infos, tried = CameraInfos(write(tmp_path)), []

    def register(calibration):
        tried.append(calibration)
        if len(tried) == 1:
            raise ConfigError("the lenses do not fit")

    for _ in range(3):
        infos.take(Camera.INFRARED, info())
        with pytest.raises(ConfigError, match="the lenses do not fit"):
            infos.use(infos.take(Camera.VISIBLE, info()), register)
    assert len(tried) == 1
    infos.take(Camera.INFRARED, info())
    infos.use(infos.take(Camera.VISIBLE, info(width=128, height=96)), register)
    assert (len(tried), infos.fault, infos.missing) == (2, "", [])


def test_an_uncalibrated_camera_is_refused(tmp_path):
    infos = CameraInfos(write(tmp_path))
    message = CameraInfo(width=64, height=48)  # k is zero: never calibrated
    with pytest.raises(ConfigError, match=r"k needs focal lengths above 0 px.* calibrate it"):
        infos.take(Camera.INFRARED, message)
    assert infos.missing == ["infrared", "visible"]


def changed_k(**places):
    k = list(K)
    for place, value in places.items():
        k[int(place[1:])] = value
    return {"k": k}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 0}, "width and height are 0 and 48"),
        ({"width": 2**32 - 1, "height": 2**32 - 1}, "4294967295, more than max_megapixels, 8.5"),
        ({"width": 640, "height": 640}, "640 and 640, but the images are 64x48"),
        ({"width": 3200, "height": 2400}, "3200 and 2400, but the images are 64x48"),
        (changed_k(_0=float("nan")), "k must be 9 finite numbers"),
        (changed_k(_0=-64.0), "k needs focal lengths above 0 px"),
        (changed_k(_1=64.0, _3=64.0), "k has no inverse"),
        ({"d": [1e300] * 5}, "d must be the coefficients of a lens"),
        ({"d": [float("inf")] * 5}, "d must be the coefficients of a lens"),
        ({"d": [0.0] * 1000}, "d has 1000 coefficients, expected 14 or fewer"),
    ],
)
def test_what_no_camera_can_have_is_refused_by_its_field(tmp_path, changes, reason):
    infos = CameraInfos(write(tmp_path))
    message = info()
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(ConfigError, match=reason):
        infos.take(Camera.INFRARED, message, (48, 64), 8.5)
    assert infos.take(Camera.INFRARED, info(), (48, 64), 8.5) is None
    assert infos.missing == ["visible"]


def test_what_else_is_wrong_with_the_file_is_said_at_once(tmp_path):
    with pytest.raises(ConfigError, match="distance_m"):
        CameraInfos(write(tmp_path, distance_m=-1.0))


def test_no_file_no_registration():
    infos = CameraInfos(None)
    assert (infos.missing, infos.calibration(), infos.clock_offset_s) == ([], None, 0.0)


def test_other_commands_say_that_only_the_node_has_topics(tmp_path):
    with pytest.raises(ConfigError, match="a topic that only the fusion node can read"):
        read_calibration(write(tmp_path))


def test_the_node_registers_with_the_cameras_own_infos(tmp_path):
    """Until both have come the visible image goes out alone, and the log says why."""
    path = write(tmp_path)
    values = {"variant": "average", "registration__file": path, **PATIENT}
    # The calibration says that infrared stamps are 0.25 s behind.
    with (
        running(NODE, *parameters(**values), log=tmp_path / "log") as process,
        client() as node,
    ):
        rig = Rig(node, process)
        infrared_info = node.create_publisher(CameraInfo, "infrared/camera_info", 10)
        assert spin_until(node, infrared_info.get_subscription_count)
        rig.send(*rig.good_pair(), infrared_late_ns=-250_000_000)
        process.wait_for_output("registration waits for camera_info of infrared")
        rig.wait(1)
        np.testing.assert_array_equal(
            codec.decode_visible(rig.heard["fused/image_raw"][0]), VISIBLE
        )
        infrared_info.publish(info())
        spin_until(node, lambda: False, 0.5)
        rig.send(*rig.good_pair(), infrared_late_ns=-250_000_000)
        rig.wait(2)
        infos = CameraInfos(path)
        infos.take(Camera.INFRARED, info())
        pipeline = FusionPipeline("average", "cpu", registration=infos.take(Camera.VISIBLE, info()))
        expected = pipeline.fuse(visible=VISIBLE, infrared=INFRARED)
        np.testing.assert_array_equal(
            codec.decode_visible(rig.heard["fused/image_raw"][1]), expected.fused
        )
        assert (expected.dominance_infrared[:, 60:] == 0).all()  # infrared does not reach there
