r"""An example: starts the drivers of a webcam and of a thermal camera, and fuses their images.

    ros2 launch dreamif_ros cameras.launch.py \
        visible_device:=/dev/video0 infrared_device:=/dev/video2

It was not tried with cameras. Copy it and change what yours need: the fusion node takes every
driver that publishes ``visible/image_raw`` and ``infrared/image_raw``. The devices are listed by
``v4l2-ctl --list-devices``, their formats, sizes and rates by ``v4l2-ctl --list-formats-ext``.
"""

from launch import LaunchDescription
from launch_ros.actions import Node

from dreamif_ros.launching.arguments import (
    CAMERAS,
    INFRARED_CAMERA,
    VISIBLE_CAMERA,
    parameters_of,
)
from dreamif_ros.launching.processes import Given, camera_driver, describe, fusion_nodes


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the drivers and the nodes."""
    return describe(CAMERAS, lambda given: [visible(given), infrared(given), *fusion_nodes(given)])


def visible(given: Given) -> Node:
    """A webcam, or another camera that Linux shows as /dev/video*."""
    parameters = parameters_of(VISIBLE_CAMERA, given) | {"frame_id": "visible_optical"}
    if given["visible_driver"] == "usb_cam":
        return camera_driver("visible", "usb_cam", "usb_cam_node_exe", given, parameters)
    theirs = {  # v4l2_camera has other names for the same
        "video_device": given["visible_device"],
        "camera_frame_id": parameters["frame_id"],
        "image_size": [parameters["image_width"], parameters["image_height"]],
    }
    return camera_driver("visible", "v4l2_camera", "v4l2_camera_node", given, theirs)


def infrared(given: Given) -> Node:
    """A FLIR Boson, a Lepton on a PureThermal board, or another thermal camera with UVC.

    They offer counts in 16 bit (Y16) beside gray in 8 bit. v4l2_camera does not read Y16; usb_cam
    does, as mono16. Typical sizes and rates: Boson 640×512 or 320×256 at 60 or 30 Hz, Lepton 3
    160×120 at 9 Hz. A count has no fixed meaning there, so thermal.mode auto suits them.
    """
    parameters = parameters_of(INFRARED_CAMERA, given) | {"frame_id": "infrared_optical"}
    return camera_driver("infrared", "usb_cam", "usb_cam_node_exe", given, parameters)
