"""Every parameter of every node, a row each."""

from __future__ import annotations

from dreamif_model import VARIANTS
from dreamif_model.backends import BACKENDS
from dreamif_model.device import PRECISIONS
from dreamif_model.thermal import THERMAL_MODES, ThermalConfig
from dreamif_ros.detection.config import TRACKERS, DetectorConfig
from dreamif_ros.fusion.health import HealthConfig
from dreamif_ros.fusion.synchronizers import POLICIES
from dreamif_ros.node.parameters import Parameter
from dreamif_ros.node.transport import TRANSPORTS

FUSED_TOPIC = "fused/image_raw"

# Rows of more than one node
_AUTOSTART = Parameter("autostart", True, "Configure and activate at the start, without a manager.")
_DEVICE = Parameter("device", "auto", "Compute device: auto, cpu, cuda or cuda:N.")
_CPU_THREADS = Parameter(
    "cpu_threads", 0, "Threads of the network on the CPU; 0: one per usable core.", 0, 256
)
_MAX_MEGAPIXELS = Parameter(
    "max_megapixels",
    8.5,
    "A larger image is refused: what one image may cost in memory.",
    0.01,
    1000.0,
    unit="Mpx",
    live=True,
)
_IMAGE_TRANSPORT = Parameter(
    "image_transport",
    "raw",
    "Of the inputs; compressed subscribes to <topic>/compressed.",
    choices=TRANSPORTS,
)
_JPEG_QUALITY = Parameter(
    "jpeg_quality", 90, "Of the compressed outputs; 100 is best.", 1, 100, unit="%", live=True
)

FUSION_PARAMETERS: tuple[Parameter, ...] = (
    _AUTOSTART,
    Parameter("variant", "nano", "Model variant; average needs no network.", choices=VARIANTS),
    _DEVICE,
    Parameter(
        "precision",
        "auto",
        "Numeric precision of the network; auto: fp16 on CUDA, bf16 or fp32 on a CPU.",
        choices=PRECISIONS,
    ),
    Parameter(
        "backend",
        "auto",
        "What runs the network; auto: the fastest here, torch on CUDA and openvino on a CPU.",
        choices=BACKENDS,
    ),
    Parameter(
        "weights",
        "",
        "File of `dreamif train` or `dreamif export`; empty: the packaged weights.",
    ),
    _CPU_THREADS,
    _MAX_MEGAPIXELS,
    _IMAGE_TRANSPORT,
    _JPEG_QUALITY,
    Parameter(
        "sync.policy",
        "nearest",
        "How images are paired; approximate and exact take message_filters.",
        choices=POLICIES,
    ),
    Parameter(
        "sync.slop_s", 0.05, "Greatest stamp distance of a pair.", 0.0, 10.0, unit="s", live=True
    ),
    Parameter(
        "sync.queue_size",
        10,
        "Messages of each camera that wait for a partner.",
        1,
        1000,
        live=True,
    ),
    Parameter(
        "sync.infrared_offset_s",
        0.0,
        "Added to infrared stamps, and to the clock offset of the calibration.",
        -3600.0,
        3600.0,
        unit="s",
        live=True,
    ),
    Parameter(
        "sync.visible_offset_s",
        0.0,
        "Added to visible stamps for pairing; the output keeps the camera's stamp.",
        -3600.0,
        3600.0,
        unit="s",
        live=True,
    ),
    Parameter(
        "registration.file",
        "",
        "Calibration of the two cameras; without, infrared is resized to the visible image.",
    ),
    Parameter(
        "thermal.mode",
        ThermalConfig.mode,
        "Counts to gray: auto is passthrough for 8 bit, percentile for 16 bit and for °C.",
        choices=THERMAL_MODES,
        live=True,
    ),
    Parameter(
        "thermal.low",
        ThermalConfig.low,
        "Shown black in mode fixed.",
        -1000.0,
        65535.0,
        unit="counts or °C",
        live=True,
    ),
    Parameter(
        "thermal.high",
        ThermalConfig.high,
        "Shown white in mode fixed.",
        -1000.0,
        65535.0,
        unit="counts or °C",
        live=True,
    ),
    Parameter(
        "thermal.smoothing",
        ThermalConfig.smoothing,
        "Share of the percentile range that a new frame moves.",
        0.001,
        1.0,
        live=True,
    ),
    Parameter(
        "thermal.min_span",
        ThermalConfig.min_span,
        "Least range that percentile mode stretches to full contrast.",
        1.0,
        65535.0,
        unit="counts or 0.01 °C",
        live=True,
    ),
    Parameter("thermal.hot_black", ThermalConfig.hot_black, "Show hot things dark.", live=True),
    Parameter(
        "thermal.repair_pixels",
        ThermalConfig.repair_pixels,
        "Replace dead and stuck pixels by their neighbours.",
        live=True,
    ),
    Parameter(
        "dominance.smoothing",
        0.0,
        "Share of the last dominance map that stays where nothing moves; 0 is off.",
        0.0,
        0.95,
        live=True,
    ),
    Parameter(
        "health.timeout_s",
        HealthConfig.timeout_s,
        "Without images, or without pairs, for so long one camera is used alone; 0 is off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    ),
    Parameter(
        "health.frozen_s",
        HealthConfig.frozen_s,
        "With the same picture for so long a camera is frozen (a thermal shutter); 0 is off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    ),
    Parameter(
        "health.blank_s",
        HealthConfig.blank_s,
        "With one gray level everywhere for so long a camera is blank; 0 is off.",
        0.0,
        60.0,
        unit="s",
        live=True,
    ),
)

DETECTOR_PARAMETERS: tuple[Parameter, ...] = (
    _AUTOSTART,
    Parameter("model", "", "File or folder of a YOLO model that ultralytics loads; must be given."),
    _DEVICE,
    Parameter("half", DetectorConfig.half, "Compute in fp16, on CUDA only."),
    Parameter(
        "image_topic",
        FUSED_TOPIC,
        "Images to look at; visible/image_raw and infrared/image_raw do as well.",
    ),
    _IMAGE_TRANSPORT,
    _MAX_MEGAPIXELS,
    Parameter(
        "confidence",
        DetectorConfig.confidence,
        "Least score of a detection.",
        0.0,
        1.0,
        live=True,
    ),
    Parameter(
        "iou",
        DetectorConfig.iou,
        "Of two boxes of one class that overlap more than this the weaker is dropped.",
        0.0,
        1.0,
        live=True,
    ),
    Parameter("classes", "", "Names of the classes to keep, by commas; empty: all.", live=True),
    Parameter(
        "image_size",
        DetectorConfig.image_size,
        "Longer side that the model sees; 0: the model's own.",
        0,
        4096,
        unit="px",
    ),
    Parameter(
        "max_detections",
        DetectorConfig.max_detections,
        "Of one image, the best.",
        1,
        10_000,
        live=True,
    ),
    Parameter(
        "max_rate_hz",
        0.0,
        "Images looked at per second, at most; 0: as many as it can.",
        0.0,
        1000.0,
        unit="Hz",
        live=True,
    ),
    Parameter(
        "tracker", DetectorConfig.tracker, "Gives objects an identity over time.", choices=TRACKERS
    ),
    _JPEG_QUALITY,
)

SIMULATION_PARAMETERS: tuple[Parameter, ...] = (
    Parameter("seed", 0, "Which street and which passers-by.", 0, 2**31 - 1),
    Parameter("visible.width", 640, "Width of the visible image, in pixels.", 64, 4096),
    Parameter("visible.height", 480, "Height of the visible image, in pixels.", 48, 2160),
    Parameter("visible.rate_hz", 30.0, "Visible frames per second.", 0.1, 240.0),
    Parameter("visible.encoding", "bgr8", "Of the visible image.", choices=("bgr8", "rgb8")),
    Parameter("infrared.width", 640, "Width of the infrared image, in pixels.", 64, 4096),
    Parameter("infrared.height", 480, "Height of the infrared image, in pixels.", 48, 2160),
    Parameter("infrared.rate_hz", 30.0, "Infrared frames per second.", 0.1, 240.0),
    Parameter(
        "infrared.encoding",
        "mono16",
        "Counts of 0.01 kelvin, or an 8-bit picture with automatic gain.",
        choices=("mono16", "mono8"),
    ),
    Parameter(
        "infrared.clock_offset_s",
        0.0,
        "How far the infrared camera's clock is ahead, in seconds.",
        -10.0,
        10.0,
    ),
    Parameter("jitter_s", 0.0, "Standard deviation of every stamp, in seconds.", 0.0, 1.0),
    Parameter("noise", 1.0, "Sensor noise of both cameras; 0 is none.", 0.0, 10.0),
    Parameter(
        "misalignment",
        0.0,
        "Infrared camera turned, shifted and zoomed; 1 is about 20 px at 640×480.",
        0.0,
        1.0,
    ),
    Parameter(
        "reliability",
        "best_effort",
        "Reliability of the published images.",
        choices=("best_effort", "reliable"),
    ),
)
