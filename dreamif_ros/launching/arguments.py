"""The arguments of the launch files: their names, defaults and meaning, and what they set.

An argument for a parameter of a node takes its description and choices from that parameter.
``as_markdown`` makes the tables in docs/launch.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dreamif_model import ConfigError
from dreamif_model.cameras import Camera
from dreamif_ros.detection.parameters import DETECTOR_PARAMETERS
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS
from dreamif_ros.node.parameters import Parameter
from dreamif_ros.simulation.parameters import SIMULATION_PARAMETERS

BOOLEANS = ("true", "false", "True", "False")
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")


@dataclass(frozen=True)
class Argument:
    """An argument of a launch file. An empty one leaves its ``parameters`` as they are."""

    name: str
    default: str  # {share} stands for the folder in which this package's files are installed
    description: str
    choices: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()

    def values(self, text: str) -> dict[str, Any]:
        """The parameters that this text sets; ConfigError if it is no value of them."""
        return {row.name: self._value(row, text) for row in self.parameters if text}

    def _value(self, row: Parameter, text: str) -> Any:
        kind: Any = type(row.default)
        try:
            value = text if text in row.words else is_true(text) if kind is bool else kind(text)
            return row.check(value)
        except (ValueError, ConfigError):
            expected = row.range_text or kind.__name__
            raise ConfigError(f"{self.name} is {text!r}, expected {expected}") from None

    @property
    def accepts(self) -> str:
        """The values in words; empty if anything is accepted."""
        if self.choices:
            return ", ".join(c for c in self.choices if c and c not in ("True", "False"))
        return self.parameters[0].range_text if self.parameters else ""


def is_true(text: str) -> bool:
    """Whether a text of ``BOOLEANS`` means true."""
    return text.lower() == "true"


def parameters_of(arguments: Iterable[Argument], given: Mapping[str, str]) -> dict[str, Any]:
    """The parameters that the texts of these arguments set."""
    values: dict[str, Any] = {}
    for argument in arguments:
        values |= argument.values(given[argument.name])
    return values


def as_markdown(arguments: Iterable[Argument]) -> str:
    """The table of arguments in docs/launch.md."""
    lines = ["| argument | default | accepts | meaning |", "| --- | --- | --- | --- |"]
    for argument in arguments:
        shown = argument.default.removeprefix("{share}/")
        default = f"`{shown}`" if shown else ""
        lines.append(
            f"| `{argument.name}` | {default} | {argument.accepts} | {argument.description} |"
        )
    return "\n".join(lines) + "\n"


def _switch(name: str, description: str) -> Argument:
    return Argument(name, "false", description, BOOLEANS)


def _number(name: str, row: Parameter) -> Argument:
    return Argument(name, f"{row.default}", row.description, parameters=(row,))


def _sets(
    name: str, *names: str, table: Iterable[Parameter], empty: str = "as in params_file"
) -> Argument:
    """An argument that sets these parameters of a node, which mean the same."""
    rows = tuple(row for row in table if row.name in names)
    choices = BOOLEANS if isinstance(rows[0].default, bool) else rows[0].choices
    meaning = rows[0].description.split("; empty:")[0].rstrip(".")
    description = f"{meaning}. Empty: {empty}."
    return Argument(name, "", description, ("", *choices) if choices else (), rows)


FUSION_OVERRIDES = tuple(
    _sets(name, parameter, table=FUSION_PARAMETERS)
    for name, parameter in {
        "variant": "variant",
        "device": "device",
        "backend": "backend",
        "precision": "precision",
        "image_transport": "image_transport",
        "sync_slop": "sync.slop_s",
        "registration_file": "registration.file",
    }.items()
)
DETECTOR_OVERRIDES = (
    Argument(
        "detector_model",
        "",
        "YOLO model that detects objects in both cameras' images. Empty: no detector.",
        parameters=tuple(row for row in DETECTOR_PARAMETERS if row.name == "model"),
    ),
)
DETECTOR_INPUTS = {"detection": "fused/detection_image", "fused": "fused/image_raw"}
SIM_TIME = _sets(
    "use_sim_time",
    "use_sim_time",
    table=[Parameter("use_sim_time", False, "Take the time from /clock.")],
)
VIEW_PORT = _number(
    "view_port", Parameter("port", 8787, "Port of that page; 0 takes a free one.", 0, 65535)
)
# The arguments of every launch file.
COMMON = (
    Argument("params_file", "{share}/config/fusion.yaml", "Parameters of fusion_node."),
    *FUSION_OVERRIDES,
    *DETECTOR_OVERRIDES,
    Argument(
        "detector_input",
        "",
        "The image that the detector gets: detection, which is made for it, or fused. "
        "Empty: as in detector_params_file.",
        ("", *DETECTOR_INPUTS),
    ),
    Argument(
        "detector_params_file", "{share}/config/detector.yaml", "Parameters of detector_node."
    ),
    _switch("one_process", "Fusion and detection in one process, which share fused images."),
    Argument("namespace", "", "Namespace of the nodes and of their topics."),
    Argument("log_level", "info", "Minimum severity of what the nodes log.", LOG_LEVELS),
    _switch("respawn", "Start a node again 2 s after it ended. Otherwise the launch ends."),
    _switch("rviz", "Show the topics in RViz, as config/dreamif.rviz says."),
    _switch("view", "Serve the page of `dreamif view` to browsers on this machine."),
    VIEW_PORT,
    Argument(
        "record",
        "",
        "Folder for a recording of the cameras, the results and the diagnostics by `ros2 bag "
        "record`; it must not exist. Empty: no recording.",
    ),
)
TOPICS = (
    Argument("infrared_topic", "infrared/image_raw", "Infrared images."),
    Argument("visible_topic", "visible/image_raw", "Visible images."),
    Argument(
        "infrared_camera_info_topic",
        "infrared/camera_info",
        "Info of the infrared camera, if registration_file asks for it.",
    ),
    Argument("visible_camera_info_topic", "visible/camera_info", "Info of the visible camera."),
)
FUSION = (*TOPICS, SIM_TIME)

DEMO = tuple(
    _sets(name, *parameters, table=SIMULATION_PARAMETERS, empty="as in simulated_cameras")
    for name, *parameters in (
        ("rate_hz", "visible.rate_hz", "infrared.rate_hz"),
        ("infrared_encoding", "infrared.encoding"),
        ("noise", "noise"),
        ("motion", "motion"),
        ("misalignment", "misalignment"),
        ("reliability", "reliability"),
    )
)
PLAYER = (
    _number("rate", Parameter("rate", 1.0, "Speed; 2 is twice as fast as recorded.", 0.01, 100.0)),
    _number(
        "wait",
        Parameter(
            "wait", 30.0, "Maximum wait until all images have subscribers.", 0, 600, unit="s"
        ),
    ),
)
REPLAY = (
    Argument("bag", "", "rosbag2 folder, or its .mcap or .db3 file. Required."),
    *PLAYER,
    _switch("loop", "Start over at the end, until Ctrl-C."),
    Argument(
        "clock", "true", "Publish the time of the bag on /clock, for the nodes to take.", BOOLEANS
    ),
    *TOPICS,
)


def _camera(camera: Camera, width: int, height: int) -> tuple[Argument, ...]:
    """What the driver of a camera is told, by the names of usb_cam's parameters."""
    device = Parameter("video_device", "", f"Device of the {camera} camera. Required.")
    return (
        Argument(f"{camera}_device", "", device.description, parameters=(device,)),
        *(
            _number(
                f"{camera}_{side}",
                Parameter(
                    f"image_{side}", size, f"{side} of its images.".capitalize(), 1, 8192, unit="px"
                ),
            )
            for side, size in (("width", width), ("height", height))
        ),
    )


VISIBLE_CAMERA = _camera(Camera.VISIBLE, 640, 480)
INFRARED_CAMERA = (
    *_camera(Camera.INFRARED, 640, 512),
    _number(
        "infrared_rate_hz",
        Parameter("framerate", 30.0, "Its images per second.", 0.1, 240.0, unit="Hz"),
    ),
    Argument(
        "infrared_format",
        "mono16",
        "mono16: counts in 16 bit; mono8: gray by the camera's own gain.",
        ("mono16", "mono8"),
        (Parameter("pixel_format", "", ""),),
    ),
)
CAMERAS = (
    Argument(
        "visible_driver",
        "v4l2_camera",
        "ROS package with the driver of the visible camera.",
        ("v4l2_camera", "usb_cam"),
    ),
    *VISIBLE_CAMERA,
    *INFRARED_CAMERA,
)

# By launch file, beside COMMON.
FILES = {"fusion": FUSION, "demo": DEMO, "replay": REPLAY, "cameras": CAMERAS}
