"""What the evaluation of a bag finds: plain values, from which its report and files are written.

The bag and the settings alone determine all numbers except :attr:`Evaluation.latency_ms`. Times are
seconds since the bag's first message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dreamif_model.cameras import Both

METHODS = ("fused", "average", "max")  # fused: by the variant asked for; others for comparison
DETECTED_IN = ("visible", "infrared", "fused", "detection_image")


@dataclass(frozen=True)
class Spell:
    """A time that a camera was frozen, or sent no messages."""

    start_s: float
    duration_s: float


@dataclass(frozen=True)
class CameraRecord:
    """One camera's topic, as recorded."""

    topic: str
    type_name: str
    encodings: tuple[str, ...]
    size: tuple[int, int] | None  # (width, height) of the first image; None: none was decoded
    messages: int  # that can be read
    rate_hz: float  # by the median distance of two stamps; 0 below two messages
    first_s: float
    last_s: float
    unstamped: int = 0  # messages with a zero stamp: their time of recording is taken
    disordered: int = 0  # messages stamped before the one that came before
    damaged: int = 0  # messages that cannot be read, beside those in ``messages``
    refused: int = 0  # messages that are no image that can be fused, the damaged ones among them
    refusal: str = ""  # why the first of them was refused
    gaps: tuple[Spell, ...] = ()  # see survey.py for these definitions
    freezes: tuple[Spell, ...] = ()
    jumps: tuple[Spell, ...] = ()  # of the stamps by 1 s or more, and by how much
    sizes_changed: int = 0

    @property
    def recorded(self) -> int:
        """Messages, whether they can be read or not."""
        return self.messages + self.damaged


@dataclass(frozen=True)
class PairingSummary:
    """The pairs that the node's synchronizer makes. Skew: infrared minus visible stamp."""

    slop_s: float
    pairs: int
    unpaired: dict[str, int]  # messages in no pair, by reason; only reasons that occur
    skew_median_ms: float = 0.0
    skew_p5_ms: float = 0.0
    skew_p95_ms: float = 0.0
    distance_median_ms: float = 0.0  # of the absolute skew
    distance_p95_ms: float = 0.0
    distance_greatest_ms: float = 0.0


@dataclass(frozen=True)
class Recorded:
    """What both cameras recorded, without fusing it: what advice is about."""

    cameras: Both[CameraRecord]
    pairing: PairingSummary
    # Seconds to add to infrared stamps, by when both were recorded; None without stamps.
    clock_offset_s: float | None
    pairing_with_offset: PairingSummary | None  # with that added, where it gives more pairs


@dataclass(frozen=True)
class FrameRow:
    """One fused pair: a row of frames.csv."""

    index: int
    time_s: float
    stamp_ns: int  # of the visible image, as in its header
    skew_ms: float  # infrared minus visible stamp, offsets added
    thermal_low: float  # counts or °C shown black
    thermal_high: float  # counts or °C shown white
    alignment: float | None  # of the edges, in [-1, 1]; None where it was not judged
    dominance_infrared: float  # mean of the map, in [0, 1]
    dominance_visible: float
    # By method and metric ({"fused": {"Qabf": …}}); empty where this frame was not measured.
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    # Detected objects in each of DETECTED_IN; empty where no detector was asked for.
    detections: dict[str, int] = field(default_factory=dict)
    # σ in gray levels, as measured; None where an image is too small.
    noise_infrared: float | None = None  # without stripes
    noise_visible: float | None = None
    stripes: float | None = None  # of the infrared sensor
    stripes_counts: float | None = None  # the same in counts or °C, by this frame's range
    # What the memory took out, root mean square in gray levels; None where it is off.
    removed_infrared: float | None = None  # stripes included
    removed_visible: float | None = None


NOISE = (
    *("noise_infrared", "noise_visible", "stripes", "stripes_counts"),
    *("removed_infrared", "removed_visible"),
)  # of a row


@dataclass(frozen=True)
class MeanInterval:
    """A mean over the measured frames with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ClockOffsetFound:
    """The difference of the cameras' clocks, from the motion in both pictures."""

    seconds: float | None = None  # to add to infrared stamps; None where it cannot be told
    uncertainty_s: float | None = None
    reason: str = ""  # why it cannot be told


@dataclass(frozen=True)
class AlignmentFound:
    """Where infrared lies in the visible image, estimated from the pictures."""

    homography: tuple[tuple[float, ...], ...] | None = None  # 3×3, infrared to visible pixels
    score_before: float | None = None  # of the edges in [-1, 1], as the evaluation fused them
    score_after: float | None = None  # with the estimated homography
    shift_px: float | None = None  # mean distance that the corners move, in visible pixels
    reason: str = ""  # why it cannot be told


@dataclass(frozen=True)
class FilmFrame:
    """The pictures of one frame of the filmstrip, JPEG bytes each, by what they show.

    Keys: infrared, visible, fused, dominance, and boxes where objects were detected.
    """

    row: FrameRow
    pictures: dict[str, bytes]


@dataclass(frozen=True)
class Evaluation:
    """Everything that is known of one bag."""

    bag: str
    settings: dict[str, Any]  # that were asked for: variant, device, precision, slop, offsets, …
    duration_s: float
    infrared: CameraRecord
    visible: CameraRecord
    pairs: int
    fused: int
    drops: dict[str, int]  # messages and pairs that were not fused, by reason
    # Counts in windows of one second: {"time_s": […], "infrared": […], "visible": […],
    # "fused": […], and a list for each reason of drops}.
    rates: dict[str, list[float]]
    rows: tuple[FrameRow, ...]
    skew_ms: dict[str, float]  # median, p95, greatest: of the absolute skew; empty without pairs
    clock_offset: ClockOffsetFound
    alignment: AlignmentFound
    metrics: dict[str, dict[str, MeanInterval]]  # by method and metric
    flicker: dict[str, float]  # by method; empty below two frames
    detections: dict[str, dict[str, float]]  # by DETECTED_IN: objects, confidence; or empty
    faults: tuple[str, ...]  # of the bag itself: cut off, no index, …
    warnings: tuple[str, ...]  # what its owner should do, in plain words, most important first
    latency_ms: dict[str, dict[str, float]]  # by stage: median, p99; differs from run to run
    film: tuple[FilmFrame, ...]
    # JPEG pictures of the alignment, "before" and "after", where a homography was found.
    alignment_pictures: dict[str, bytes] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)  # medians of NOISE, where measured
    video: Path | None = None
    fused_bag: Path | None = None

    @property
    def cameras(self) -> Both[CameraRecord]:
        """What is known of each camera's topic."""
        return Both(self.infrared, self.visible)
