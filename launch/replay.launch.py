"""Plays a recording of two cameras, fuses it and, if asked to, detects and records the results.

    ros2 launch dreamif_ros replay.launch.py bag:=drive record:=drive_fused
    ros2 launch dreamif_ros replay.launch.py bag:=drive.mcap infrared_topic:=/thermal/image_raw

``dreamif bag info`` lists the topics of a recording. The launch ends after the recording.
"""

from launch import LaunchDescription

from dreamif_ros.launching.arguments import REPLAY
from dreamif_ros.launching.processes import describe, fusion_nodes, play


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the nodes and the recording."""
    return describe(REPLAY, lambda given: [*fusion_nodes(given), play(given)])
