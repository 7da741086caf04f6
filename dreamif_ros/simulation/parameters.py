"""The parameters of the simulated cameras."""

from __future__ import annotations

from dataclasses import dataclass

from dreamif_ros.node.parameters import parameter, table
from dreamif_ros.scene.motion import MOTIONS, STILL
from dreamif_ros.scene.sensors import NIGHT


@dataclass(frozen=True)
class CameraSettings:
    """Parameters of either camera."""

    width: int = parameter(640, "Width of the image.", 64, 4096, unit="px")
    height: int = parameter(480, "Height of the image.", 48, 2160, unit="px")
    rate_hz: float = parameter(30.0, "Images per second.", 0.1, 240.0, unit="Hz")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height


@dataclass(frozen=True)
class VisibleSettings(CameraSettings):
    """Parameters of the visible camera."""

    encoding: str = parameter("bgr8", "Encoding of the image.", choices=("bgr8", "rgb8"))


@dataclass(frozen=True)
class InfraredSettings(CameraSettings):
    """Parameters of the infrared camera."""

    encoding: str = parameter(
        "mono16",
        "mono16: counts of 0.01 kelvin; mono8: a picture with automatic gain.",
        choices=("mono16", "mono8"),
    )
    clock_offset_s: float = parameter(
        0.0, "How far this camera's clock is ahead.", -10.0, 10.0, unit="s"
    )


@dataclass(frozen=True)
class SimulationSettings:
    """All parameters of the simulated cameras."""

    seed: int = parameter(0, "Which street and which passers-by.", 0, 2**31 - 1)
    visible: VisibleSettings = VisibleSettings()
    infrared: InfraredSettings = InfraredSettings()
    jitter_s: float = parameter(0.0, "Standard deviation of every stamp.", 0.0, 1.0, unit="s")
    noise: float | str = parameter(
        1.0,
        "Sensor noise of both cameras; 0 is none, night is that of high gain, with stripes.",
        0.0,
        10.0,
        words=(NIGHT,),
    )
    motion: str = parameter(
        STILL,
        "still, or pan: both cameras turn to and fro, 4 px a frame at 640×480 and 30 Hz, and roll.",
        choices=MOTIONS,
    )
    misalignment: float = parameter(
        0.0,
        "Infrared camera turned, shifted and zoomed; 1 is about 20 px at 640×480.",
        0.0,
        1.0,
    )
    reliability: str = parameter(
        "best_effort",
        "Reliability of the published images.",
        choices=("best_effort", "reliable"),
    )


SIMULATION_PARAMETERS = table(SimulationSettings)
