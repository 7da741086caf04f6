"""The parameters of the fusion node."""

from __future__ import annotations

from dataclasses import dataclass

from dreamif_model import VARIANTS, ThermalConfig
from dreamif_model.backends import BACKENDS
from dreamif_model.cameras import Both, Camera
from dreamif_model.device import PRECISIONS
from dreamif_model.temporal.settings import TEMPORAL_MODES, TemporalConfig, TemporalMode
from dreamif_model.thermal import BYTE_ORDERS, THERMAL_MODES, ByteOrder, ThermalMode
from dreamif_ros.fusion.camera_health import HealthConfig
from dreamif_ros.fusion.distances import DISTANCE_TYPES, LIMITS_M
from dreamif_ros.fusion.drift_check import MODES
from dreamif_ros.fusion.synchronizers import POLICIES
from dreamif_ros.node.parameters import parameter, table
from dreamif_ros.node.settings import NodeSettings
from dreamif_ros.node.transport import TRANSPORTS
from dreamif_ros.stamps import from_seconds

MAX_OFFSET_S = 1e10  # stamps that count from the start of a device are 1.8e9 s behind


@dataclass(frozen=True)
class SyncSettings:
    """How images become pairs."""

    policy: str = parameter(
        "nearest",
        "How images are paired; approximate and exact need message_filters.",
        choices=POLICIES,
    )
    slop_s: float = parameter(
        0.05, "Maximum stamp distance of a pair.", 0.0, 10.0, unit="s", live=True
    )
    queue_size: int = parameter(
        10,
        "Maximum number of messages of each camera that wait for a partner.",
        1,
        1000,
        live=True,
    )
    infrared_offset_s: float = parameter(
        0.0,
        "Added to infrared stamps, in addition to the clock offset of the calibration.",
        -MAX_OFFSET_S,
        MAX_OFFSET_S,
        unit="s",
        live=True,
    )
    visible_offset_s: float = parameter(
        0.0,
        "Added to visible stamps for pairing; the output keeps the camera's stamp.",
        -MAX_OFFSET_S,
        MAX_OFFSET_S,
        unit="s",
        live=True,
    )

    @property
    def offsets_ns(self) -> Both[int]:
        """What is added to the stamps of each camera, in nanoseconds."""
        return Both(self.infrared_offset_s, self.visible_offset_s).map(from_seconds)


@dataclass(frozen=True)
class RegistrationSettings:
    """How infrared is laid on the visible image."""

    file: str = parameter(
        "",
        "Calibration file of the two cameras; empty: infrared is resized to the visible image.",
    )
    distance_topic: str = parameter(
        "", "Topic of the scene's distance, which registration follows; empty: none."
    )
    distance_type: str = parameter(
        "range",
        "Type of these messages: sensor_msgs/Range, or std_msgs/Float64 in metres.",
        choices=DISTANCE_TYPES,
    )
    distance_m: float = parameter(
        0.0,
        "Distance of the scene while no message tells it; 0: that of the calibration.",
        0.0,
        LIMITS_M[1],
        unit="m",
        live=True,
    )
    follow_drift: str = parameter(
        "warn",
        "A drift of registered infrared: warn says it, correct follows it slowly, too.",
        choices=MODES,
        live=True,
    )
    drift_px: float = parameter(
        2.5,
        "A drift by more is said; in visible pixels.",
        0.5,
        1000.0,
        unit="px",
        live=True,
    )

    @property
    def needs_distances(self) -> bool:
        """Whether the calibration must hold at more than one distance."""
        return bool(self.distance_topic or self.distance_m)


@dataclass(frozen=True)
class ThermalSettings(ThermalConfig):
    """How thermal counts become gray."""

    mode: ThermalMode = parameter(  # noqa: RUF009  # a Literal is immutable
        ThermalConfig.mode,
        "Counts to gray: auto is passthrough for 8 bit, percentile for 16 bit and for °C.",
        choices=THERMAL_MODES,
        live=True,
    )
    low: float = parameter(
        ThermalConfig.low,
        "Value shown black in mode fixed.",
        -1000.0,
        65535.0,
        unit="counts or °C",
        live=True,
    )
    high: float = parameter(
        ThermalConfig.high,
        "Value shown white in mode fixed.",
        -1000.0,
        65535.0,
        unit="counts or °C",
        live=True,
    )
    smoothing: float = parameter(
        ThermalConfig.smoothing,
        "How far each frame moves the percentile range towards its own; 1 follows at once.",
        0.001,
        1.0,
        live=True,
    )
    min_span: float = parameter(
        ThermalConfig.min_span,
        "Minimum range that mode percentile stretches to full contrast; 0: by the noise.",
        0.0,
        65535.0,
        unit="counts or 0.01 °C",
        live=True,
    )
    hot_black: bool = parameter(ThermalConfig.hot_black, "Show hot objects dark.", live=True)
    repair_pixels: bool = parameter(
        ThermalConfig.repair_pixels,
        "Replace dead and stuck pixels by their neighbours.",
        live=True,
    )
    byte_order: ByteOrder = parameter(  # noqa: RUF009  # a Literal is immutable
        ThermalConfig.byte_order,
        "Bytes of 16-bit pixels: auto swaps them where that alone makes sense of the image.",
        choices=BYTE_ORDERS,
        live=True,
    )
    crop: tuple[int, int, int, int] = parameter(
        ThermalConfig.crop,
        "Rows and columns to cut off, such as telemetry: top, bottom, left, right.",
        0,
        4096,
        unit="px",
    )


@dataclass(frozen=True)
class DominanceSettings:
    """How the dominance maps are smoothed."""

    smoothing: float = parameter(
        0.0,
        "Share of the last dominance map that stays where nothing moves; 0 is off.",
        0.0,
        0.95,
        live=True,
    )


@dataclass(frozen=True)
class TemporalSettings(TemporalConfig):
    """What the memory of earlier frames is used for."""

    mode: TemporalMode = parameter(  # noqa: RUF009  # a Literal is immutable
        TemporalConfig.mode,
        "auto removes noise and stripes with the help of earlier frames; off: each pair alone.",
        choices=TEMPORAL_MODES,
        live=True,
    )
    strength: float = parameter(
        TemporalConfig.strength,
        "How many frames are averaged where nothing moves: 0 for one, 0.5 for 8, 1 for 15.",
        0.0,
        1.0,
        live=True,
    )


@dataclass(frozen=True)
class HealthSettings(HealthConfig):
    """When a camera is at fault."""

    timeout_s: float = parameter(
        HealthConfig.timeout_s,
        "A camera without images or pairs for this time is not used; 0 switches the check off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    )
    frozen_s: float = parameter(
        HealthConfig.frozen_s,
        "A camera that repeats one picture for this time is frozen; 0 switches the check off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    )
    blank_s: float = parameter(
        HealthConfig.blank_s,
        "A camera with one gray level everywhere for this time is blank; 0 switches the check off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    )


@dataclass(frozen=True)
class CameraInputSettings:
    """What differs between the cameras."""

    image_transport: str = parameter(
        "",
        "Transport of the images of this camera; empty: as image_transport.",
        choices=("", *TRANSPORTS),
    )


@dataclass(frozen=True)
class FusionSettings(NodeSettings):
    """All parameters of the fusion node."""

    variant: str = parameter("nano", "Model variant; average needs no network.", choices=VARIANTS)
    precision: str = parameter(
        "auto",
        "Numeric precision of the network; auto: fp16 on CUDA, bf16 or fp32 on a CPU.",
        choices=PRECISIONS,
    )
    backend: str = parameter(
        "auto",
        "What runs the network; auto: the fastest here, torch on CUDA and openvino on a CPU.",
        choices=BACKENDS,
    )
    weights: str = parameter(
        "", "File of `dreamif train` or `dreamif export`; empty: the packaged weights."
    )
    cpu_threads: int = parameter(
        0, "Threads of the network on the CPU; 0: one per usable core.", 0, 256
    )
    infrared: CameraInputSettings = CameraInputSettings()
    visible: CameraInputSettings = CameraInputSettings()
    sync: SyncSettings = SyncSettings()
    registration: RegistrationSettings = RegistrationSettings()
    thermal: ThermalSettings = ThermalSettings()
    temporal: TemporalSettings = TemporalSettings()
    dominance: DominanceSettings = DominanceSettings()
    health: HealthSettings = HealthSettings()

    def transport(self, camera: Camera) -> str:
        """Transport of the images of a camera."""
        own = self.infrared if camera is Camera.INFRARED else self.visible
        return own.image_transport or self.image_transport


FUSION_PARAMETERS = table(FusionSettings)
