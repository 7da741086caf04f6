"""Starts the fusion node on the topics of a camera pair.

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
DEFAULT_PARAMS = PathJoinSubstitution([FindPackageShare(PACKAGE), "config", "fusion.yaml"])

# Argument: (default, description)
GENERAL = {
    "params_file": (DEFAULT_PARAMS, "Parameter file."),
    "namespace": ("", "Namespace of the node and its topics."),
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
    """Declare the arguments, then start the node."""
    defaults = {**GENERAL, **TOPICS}
    defaults |= {name: ("", description) for name, (_, _, description) in OVERRIDES.items()}
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in defaults.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=fusion_node)])


def fusion_node(context: LaunchContext) -> list[Node]:
    """Return the node; a function, because only arguments that are given become parameters."""
    overrides = {
        parameter: ParameterValue(LaunchConfiguration(argument), value_type=value_type)
        for argument, (parameter, value_type, _) in OVERRIDES.items()
        if LaunchConfiguration(argument).perform(context)
    }
    remappings = []
    for argument, (name, _) in TOPICS.items():
        remappings.append((name, LaunchConfiguration(argument)))
    node = Node(
        package=PACKAGE,
        executable="fusion_node",
        name="fusion_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), overrides],  # the later one wins
        remappings=remappings,
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )
    return [node]
