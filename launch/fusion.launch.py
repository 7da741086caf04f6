"""Starts the fusion node on the topics of a camera pair and, where a model is given, a detector.

``ros2 launch dreamif_ros fusion.launch.py --show-args`` lists the arguments; every other setting is
in the parameter file.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "dreamif_ros"
CONFIG = [FindPackageShare(PACKAGE), "config"]

# Argument: (default, description)
GENERAL = {
    "params_file": (PathJoinSubstitution([*CONFIG, "fusion.yaml"]), "Parameters of fusion_node."),
    "detector_params_file": (
        PathJoinSubstitution([*CONFIG, "detector.yaml"]),
        "Parameters of detector_node.",
    ),
    "detector_model": ("", "YOLO model that looks at the fused images. Empty: no detector."),
    "one_process": (
        "false",
        "true: fusion and detection in one process, fused images handed over in memory.",
    ),
    "namespace": ("", "Namespace of the nodes and their topics."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}
TOPICS = {
    "infrared_topic": ("infrared/image_raw", "Infrared images."),
    "visible_topic": ("visible/image_raw", "Visible images."),
    "infrared_camera_info_topic": (
        "infrared/camera_info",
        "Calibration of the infrared camera, where registration_file asks for it.",
    ),
    "visible_camera_info_topic": ("visible/camera_info", "Calibration of the visible camera."),
}
# Argument: (parameter, type, description); an empty one leaves what params_file says.
OVERRIDES = {
    "variant": ("variant", str, "Model variant. Empty: as in params_file."),
    "device": ("device", str, "cpu, cuda, ... Empty: as in params_file."),
    "registration_file": (
        "registration.file",
        str,
        "Calibration of the cameras. Empty: as in params_file.",
    ),
    "use_sim_time": (
        "use_sim_time",
        bool,
        "true: take the time from /clock. Empty: as in params_file.",
    ),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the nodes."""
    defaults = {**GENERAL, **TOPICS}
    defaults |= {name: ("", description) for name, (_, _, description) in OVERRIDES.items()}
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in defaults.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=nodes)])


def nodes(context: LaunchContext) -> list[Node]:
    """Return the nodes; a function, because only arguments that are given become parameters."""
    overrides = {
        parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
        for argument, (parameter, value_type, _) in OVERRIDES.items()
        if LaunchConfiguration(argument).perform(context)
    }
    fusion = [LaunchConfiguration("params_file"), overrides]  # the later one wins
    if not LaunchConfiguration("detector_model").perform(context):
        return [_node("fusion_node", fusion)]
    shared = {name: value for name, value in overrides.items() if name == "use_sim_time"}
    model = ParameterValue(LaunchConfiguration("detector_model"), value_type=str)
    detector = [LaunchConfiguration("detector_params_file"), {"model": model, **shared}]
    if LaunchConfiguration("one_process").perform(context).lower() == "true":
        # What both nodes have is set for both: as for the fusion.
        return [_node("pipeline_node", [detector[0], *fusion, detector[1]])]
    return [_node("fusion_node", fusion), _node("detector_node", detector)]


def _node(executable: str, parameters: list) -> Node:
    """One process; that of two nodes keeps their names, any other has its executable's."""
    return Node(
        package=PACKAGE,
        executable=executable,
        name=None if executable == "pipeline_node" else executable,
        namespace=LaunchConfiguration("namespace"),
        parameters=parameters,
        remappings=[
            (name, LaunchConfiguration(argument)) for argument, (name, _) in TOPICS.items()
        ],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
