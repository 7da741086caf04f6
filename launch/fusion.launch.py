"""Starts the fusion node on the topics of two cameras and, if a model is given, a detector.

``ros2 launch dreamif_ros fusion.launch.py --show-args`` lists the arguments. All other settings are
in the parameter files.
"""

import atexit
import tempfile
from pathlib import Path
from typing import Any

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from dreamif_model.yaml_file import read_yaml

PACKAGE = "dreamif_ros"
CONFIG = [FindPackageShare(PACKAGE), "config"]

# Argument: (default, description)
GENERAL = {
    "params_file": (PathJoinSubstitution([*CONFIG, "fusion.yaml"]), "Parameters of fusion_node."),
    "detector_params_file": (
        PathJoinSubstitution([*CONFIG, "detector.yaml"]),
        "Parameters of detector_node.",
    ),
    "detector_model": (
        "",
        "YOLO model that detects objects in the fused images. Empty: no detector.",
    ),
    "detector_input": (
        "",
        "detection: the image that is made for detectors; fused: the image for people. Empty: as "
        "in detector_params_file.",
    ),
    "one_process": (
        "false",
        "true: fusion and detection in one process, which share fused images in memory.",
    ),
    "namespace": ("", "Namespace of the nodes and their topics."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
}
DETECTOR_INPUTS = {"detection": "fused/detection_image", "fused": "fused/image_raw"}
CHOICES = {
    "detector_input": ["", *DETECTOR_INPUTS],
    "one_process": ["true", "false"],
    "use_sim_time": ["", "true", "false", "True", "False"],
}
TOPICS = {
    "infrared_topic": ("infrared/image_raw", "Infrared images."),
    "visible_topic": ("visible/image_raw", "Visible images."),
    "infrared_camera_info_topic": (
        "infrared/camera_info",
        "Info of the infrared camera, if registration_file asks for it.",
    ),
    "visible_camera_info_topic": ("visible/camera_info", "Info of the visible camera."),
}
# Argument: (parameter, text to value, description); an empty argument changes nothing.
OVERRIDES = {
    "variant": ("variant", str, "Model variant. Empty: as in params_file."),
    "device": ("device", str, "cpu, cuda, ... of the fusion. Empty: as in params_file."),
    "registration_file": (
        "registration.file",
        str,
        "Calibration of the cameras. Empty: as in params_file.",
    ),
    "use_sim_time": (
        "use_sim_time",
        lambda text: text.lower() == "true",
        "true: take the time from /clock. Empty: as in params_file.",
    ),
}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then start the nodes."""
    defaults = {**GENERAL, **TOPICS}
    defaults |= {name: ("", description) for name, (_, _, description) in OVERRIDES.items()}
    arguments = [
        DeclareLaunchArgument(
            name, default_value=default, description=description, choices=CHOICES.get(name)
        )
        for name, (default, description) in defaults.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=nodes)])


def nodes(context: LaunchContext) -> list[LogInfo | Node]:
    """Return the nodes; it is a function because only given arguments become parameters."""
    given = {name: LaunchConfiguration(name).perform(context) for name in [*GENERAL, *OVERRIDES]}
    fusion = {
        parameter: kind(text)
        for name, (parameter, kind, _) in OVERRIDES.items()
        if (text := given[name])
    }
    _check_file("params_file", given["params_file"])
    if not given["detector_model"]:
        alone = _node("fusion_node", [given["params_file"], _typed(fusion)])
        if given["one_process"] == "true":
            return [LogInfo(msg="one_process has no effect without detector_model"), alone]
        return [alone]
    _check_file("detector_params_file", given["detector_params_file"])
    detector = {"model": given["detector_model"]}
    if given["detector_input"]:
        detector["image_topic"] = DETECTOR_INPUTS[given["detector_input"]]
    if "use_sim_time" in fusion:
        detector["use_sim_time"] = fusion["use_sim_time"]
    if given["one_process"] == "true":
        files = [
            _file_of_one_node("fusion_node", given["params_file"], fusion),
            _file_of_one_node("detector_node", given["detector_params_file"], detector),
        ]
        return [_node("pipeline_node", files)]
    return [
        _node("fusion_node", [given["params_file"], _typed(fusion)]),
        _node("detector_node", [given["detector_params_file"], _typed(detector)]),
    ]


def _check_file(argument: str, path: str) -> None:
    if not Path(path).is_file():  # launch would only warn of it
        raise FileNotFoundError(f"{argument}: there is no file {path}")


def _typed(values: dict[str, Any]) -> dict[str, ParameterValue]:
    """Keep text as text: launch would turn a file name like 12 into a number."""
    return {name: ParameterValue(value, value_type=type(value)) for name, value in values.items()}


def _file_of_one_node(node: str, path: str, overrides: dict[str, Any]) -> str:
    """Write a parameter file that is for one node only, with ``overrides``.

    In one process both nodes read a file for ``/**``, so that the second file would change the
    parameters of the first node as well. The file goes away when the launch ends.
    """
    values: dict[str, Any] = {}
    entries = read_yaml(Path(path)) or {}
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: expected node names, each with ros__parameters")
    for pattern, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("ros__parameters"), dict):
            raise ValueError(
                f"{path}: {pattern} has no ros__parameters: expected name: value lines"
            )
        if str(pattern).split("/")[-1] in ("**", node):
            values |= entry["ros__parameters"]
    with tempfile.NamedTemporaryFile("w", prefix=f"{node}_", suffix=".yaml", delete=False) as file:
        yaml.safe_dump({f"/**/{node}": {"ros__parameters": values | overrides}}, file)
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name


def _node(executable: str, parameters: list) -> Node:
    """One process. A single node gets its executable's name; two nodes keep their own names."""
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
        on_exit=Shutdown(reason=f"{executable} has ended"),  # it refused to start, or was stopped
    )
