"""Starts two simulated cameras and the fusion node, to see it work before you own any camera.

ros2 launch dreamif_ros demo.launch.py view:=true
ros2 launch dreamif_ros demo.launch.py rviz:=true misalignment:=1.0
"""

from launch import LaunchDescription

from dreamif_ros.launching.arguments import DEMO
from dreamif_ros.launching.processes import describe, fusion_nodes, simulated_cameras


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the cameras and the nodes."""
    return describe(DEMO, lambda given: [simulated_cameras(given), *fusion_nodes(given)])
