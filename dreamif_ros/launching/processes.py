"""The processes that the launch files start."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from dreamif_model import ConfigError, DreamIFError
from dreamif_ros.launching.arguments import (
    COMMON,
    DEMO,
    DETECTOR_INPUTS,
    DETECTOR_OVERRIDES,
    FUSION_OVERRIDES,
    PLAYER,
    SIM_TIME,
    TOPICS,
    VIEW_PORT,
    Argument,
    is_true,
    parameters_of,
)
from dreamif_ros.launching.parameter_files import check_file, file_of_one_node

PACKAGE = "dreamif_ros"
RESPAWN_DELAY_S = 2.0
LAST_FRAMES_S = 2.0  # after the end of a bag: the nodes are still at work on its last images
RESULTS = (
    *("fused/image_raw", "fused/camera_info", "fusion_mode"),
    *("detections", "detections/image", "/diagnostics"),
)
CAMERA_IMAGES = ("infrared/image_raw", "visible/image_raw")
# What config/dreamif.rviz and `dreamif view` show beside the cameras.
SHOWN = ("fused/image_raw", "dominance/overlay", "detections/image")
Given = Mapping[str, str]  # the arguments of a launch file


def describe(own: Iterable[Argument], start: Callable[[Given], list[Any]]) -> LaunchDescription:
    """Declare a launch file's own arguments and the common ones, then start its processes.

    ``start`` returns them for the values of these arguments; RViz and others come in addition.
    """
    arguments = (*own, *COMMON)
    share = get_package_share_directory(PACKAGE)
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default.format(share=share),
            description=argument.description,
            choices=argument.choices or None,
        )
        for argument in arguments
    ]

    def run(context: LaunchContext) -> list[Any]:
        given = {a.name: LaunchConfiguration(a.name).perform(context) for a in arguments}
        return [*_notes(context.argv, given), *start(given), *extras(given)]

    return LaunchDescription([*declared, OpaqueFunction(function=run)])


def _notes(words: list[str], given: Given) -> list[LogInfo]:
    """One for each misspelt argument: launch ignores them. Others may be of a file around ours."""
    names = [word.split(":=")[0] for word in words if ":=" in word]
    close = {n: get_close_matches(n, given, 1, 0.8) for n in names if n not in given}
    return [
        LogInfo(msg=f"there is no argument {name}: did you mean {found[0]}?")
        for name, found in close.items()
        if found
    ]


# -- The nodes of this package.


def fusion_nodes(given: Given) -> list[Any]:
    """Fusion and, if a model is given, detection: in two processes, or in one."""
    fusion = parameters_of(FUSION_OVERRIDES, given) | _time(given)
    fusion_file = check_file("params_file", given["params_file"])
    together = is_true(given["one_process"])
    if not given["detector_model"]:
        notes = (
            [LogInfo(msg="one_process has no effect without detector_model")] if together else []
        )
        return [*notes, _node("fusion_node", given, [fusion_file, _typed(fusion)])]
    detector = parameters_of(DETECTOR_OVERRIDES, given) | _time(given)
    if given["detector_input"]:
        detector["image_topic"] = DETECTOR_INPUTS[given["detector_input"]]
    detector_file = check_file("detector_params_file", given["detector_params_file"])
    if together:
        files = [
            file_of_one_node("fusion_node", fusion_file, fusion),
            file_of_one_node("detector_node", detector_file, detector),
        ]
        return [_node("pipeline_node", given, files)]
    return [
        _node("fusion_node", given, [fusion_file, _typed(fusion)]),
        _node("detector_node", given, [detector_file, _typed(detector)]),
    ]


def simulated_cameras(given: Given) -> Node:
    """The cameras of the demo."""
    return _node("simulated_cameras", given, [_typed(parameters_of(DEMO, given))])


def camera_driver(
    camera: str, package: str, executable: str, given: Given, parameters: dict[str, Any]
) -> Node:
    """The driver of a camera, from another package, which publishes ``<camera>/image_raw``."""
    require(package, f"the {camera} camera")
    if not given[f"{camera}_device"]:
        raise ConfigError(f"{camera}_device is empty, expected a device like /dev/video0")
    return Node(
        package=package,
        executable=executable,
        name="camera",
        namespace="/".join([*_parts(given["namespace"]), camera]),
        parameters=[_typed(parameters)],
        output="screen",
        **_when_it_ends(f"the driver of the {camera} camera", given),
    )


def _node(executable: str, given: Given, parameters: list[Any]) -> Node:
    """One process. A single node gets its executable's name; two nodes keep their own names."""
    return Node(
        package=PACKAGE,
        executable=executable,
        name=None if executable == "pipeline_node" else executable,
        namespace=given["namespace"],
        parameters=parameters,
        remappings=[(topic.default, given[topic.name]) for topic in TOPICS if topic.name in given],
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
        **_when_it_ends(executable, given),
    )


def _time(given: Given) -> dict[str, Any]:
    """The clock of the nodes, if the arguments decide it."""
    return SIM_TIME.values(given.get("use_sim_time", given.get("clock", "")))


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    """Keep text as text: launch would turn a file name like 12 into a number."""
    return {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in values.items()
    }


# -- What comes beside the nodes.


def play(given: Given) -> ExecuteProcess:
    """Publish a bag; the launch ends after its end."""
    if not given["bag"]:
        raise ConfigError("bag is empty, expected a recording: bag:=FOLDER, or .mcap or .db3 file")
    options = [f"--{name}={value}" for name, value in parameters_of(PLAYER, given).items()]
    options += [f"--{name}" for name in ("loop", "clock") if is_true(given[name])]
    last = TimerAction(period=LAST_FRAMES_S, actions=[Shutdown(reason="the bag has ended")])
    command = [_dreamif(), "bag", "replay", given["bag"], *options]
    return _process("replay", command, on_exit=_ending("replay", last))


def extras(given: Given) -> list[Any]:
    """RViz, the page of ``dreamif view`` and a recording, each if it is asked for."""
    made = [_rviz(given)] if is_true(given["rviz"]) else []
    made += [_view(given)] if is_true(given["view"]) else []
    return made + ([_recorder(given)] if given["record"] else [])


def _rviz(given: Given) -> Node:
    require("rviz2", "rviz:=true")
    config = Path(get_package_share_directory(PACKAGE), "config", "dreamif.rviz")
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(config)],
        remappings=[(f"/{name}", _resolved(topic, given)) for name, topic in _shown(given)],
        output="screen",
    )


def _view(given: Given) -> ExecuteProcess:
    port = parameters_of([VIEW_PORT], given)["port"]
    command = [_dreamif(), "view", f"--port={port}", f"--namespace={given['namespace']}"]
    command += ["--ros-args"]
    for name, topic in _shown(given):
        command += ["-r", f"{name}:={topic}"]
    return _process("view", command)


def _recorder(given: Given) -> ExecuteProcess:
    require("ros2bag", "record")
    if Path(given["record"]).exists():
        raise ConfigError(f"record: {given['record']} exists, expected the name of a new folder")
    suffix = "/compressed" if given["image_transport"] == "compressed" else ""
    images = [topic + suffix for topic in _cameras(given, "image_raw")]
    names = [_resolved(name, given) for name in (*images, *_cameras(given, "info"), *RESULTS)]
    # The one way to name topics that all distributions have.
    command = ["ros2", "bag", "record", f"--output={given['record']}"]
    command += [f"--regex=^({'|'.join(map(re.escape, names))})$"]
    command += ["--use-sim-time"] if _time(given).get("use_sim_time") else []
    return _process("record", command, on_exit=_ending("ros2 bag record"))


def _shown(given: Given) -> list[tuple[str, str]]:
    """The images that people watch: their names without arguments, and with them."""
    names = zip(CAMERA_IMAGES, _cameras(given, "image_raw"), strict=True)
    return [*names, *((name, name) for name in SHOWN)]


def _cameras(given: Given, kind: str) -> list[str]:
    """The topics of both cameras whose names end with kind."""
    topics = (topic for topic in TOPICS if topic.default.endswith(kind))
    return [given.get(topic.name, topic.default) for topic in topics]


def _resolved(topic: str, given: Given) -> str:
    """The absolute name of a topic, for programs that are not in the namespace."""
    return topic if topic.startswith("/") else "/".join(["", *_parts(given["namespace"]), topic])


def _parts(namespace: str) -> list[str]:
    return [part for part in namespace.split("/") if part]


def _process(name: str, command: list[str], **options: Any) -> ExecuteProcess:
    return ExecuteProcess(cmd=command, name=name, output="screen", **options)


def _dreamif() -> str:
    return str(Path(get_package_prefix(PACKAGE), "lib", PACKAGE, "dreamif"))


# -- How processes end.


def require(package: str, argument: str) -> None:
    """DreamIFError if a ROS package that an argument asks for is not installed."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        name = f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
        raise DreamIFError(
            f"{argument} needs the ROS package {package}, which is not installed: "
            f"sudo apt install {name}"
        ) from None


def _when_it_ends(name: str, given: Given) -> dict[str, Any]:
    if is_true(given["respawn"]):
        return {"respawn": True, "respawn_delay": RESPAWN_DELAY_S}
    return {"on_exit": _ending(name, Shutdown(reason=f"{name} has ended"))}


def _ending(name: str, *actions: Any) -> Callable[[ProcessExited, LaunchContext], list[Any]]:
    """What follows the end of a process: these actions, or an error if it failed.

    An error ends the launch with status 1. With Shutdown alone the status would be 0.
    """

    def end(event: ProcessExited, context: LaunchContext) -> list[Any]:
        if context.is_shutdown:
            return []
        if event.returncode:
            raise DreamIFError(f"{name} ended with status {event.returncode}: its log says why")
        return list(actions)

    return end
