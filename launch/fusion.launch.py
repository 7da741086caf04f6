"""Starts the fusion node on the topics of two cameras and, if a model is given, a detector.

``ros2 launch dreamif_ros fusion.launch.py --show-args`` lists the arguments, docs/launch.md too.
All other settings are in the parameter files.
"""

from launch import LaunchDescription

from dreamif_ros.launching.arguments import FUSION
from dreamif_ros.launching.processes import describe, fusion_nodes


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the nodes."""
    return describe(FUSION, fusion_nodes)
