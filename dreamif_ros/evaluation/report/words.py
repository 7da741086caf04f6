"""The evaluation in sentences: its results, and why something is missing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from dreamif_model.cameras import Camera
from dreamif_model.temporal.noise import NOISY
from dreamif_ros.evaluation.evaluation_results import CameraRecord, Evaluation
from dreamif_ros.evaluation.report.numbers import (
    count,
    milliseconds,
    number,
    percent,
    seconds,
    whole,
)


@dataclass(frozen=True)
class Fact:
    """One number of the overview."""

    term: str
    value: str
    note: str = ""


def verdict(evaluation: Evaluation) -> list[str]:
    """The result in two or three sentences."""
    if evaluation.pairs == 0:
        return ["No pair of images was found, so nothing was fused.", *why_no_pairs(evaluation)]
    return [
        _fused_sentence(evaluation),
        *_timing_sentence(evaluation),
        *_share_sentence(evaluation),
    ]


def why_no_pairs(evaluation: Evaluation) -> list[str]:
    """Why there are no pairs: what each camera lacks, or that their stamps are too far apart."""
    cameras = evaluation.cameras.items()
    lacks = [text for camera, record in cameras if (text := _lack(camera, record))]
    if lacks:
        return lacks
    return [
        "Both cameras have images, but no two of them are stamped close enough to be a pair: "
        "their clocks may differ, or they did not record at the same time."
    ]


def glance(evaluation: Evaluation) -> list[Fact]:
    """The most important numbers."""
    if evaluation.pairs == 0:
        return [
            Fact("infrared", count(evaluation.infrared.recorded, "message")),
            Fact("visible", count(evaluation.visible.recorded, "message")),
            Fact("pairs", "0", f"in {seconds(evaluation.duration_s)}"),
        ]
    facts = [_fused_fact(evaluation), _skew_fact(evaluation), _offset_fact(evaluation)]
    facts += [_alignment_fact(evaluation), _share_fact(evaluation), _latency_fact(evaluation)]
    return [fact for fact in facts if fact.value]


def thermal_unit(camera: CameraRecord) -> str:
    """The unit of the infrared camera's values."""
    if any(encoding.startswith("32F") for encoding in camera.encodings):
        return "°C"
    if any("16" in encoding for encoding in camera.encodings):
        return "counts"
    return "gray levels"


def thermal_value(value: float, camera: CameraRecord) -> str:
    """A thermal value without its unit: whole counts, tenths of a degree."""
    return number(value, 1) if thermal_unit(camera) == "°C" else whole(value)


def drops_sentence(evaluation: Evaluation) -> str:
    """How many messages and pairs were dropped, by reason."""
    reasons = {reason: lost for reason, lost in evaluation.drops.items() if lost}
    if not reasons:
        return "Nothing was dropped."
    listed = ", ".join(f"{whole(lost)} {reason}" for reason, lost in reasons.items())
    return f"Dropped: {listed}."


def offset_sentence(evaluation: Evaluation) -> str:
    """The clock offset, or why there is none."""
    found = evaluation.clock_offset
    if found.seconds is None:
        return f"It cannot be told{_because(found.reason)}."
    if abs(found.seconds) < (found.uncertainty_s or 0):
        return (
            f"By the motion in both pictures the clocks agree: {_offset(found.seconds)} is less "
            f"than the uncertainty of {milliseconds((found.uncertainty_s or 0) * 1000)}."
        )
    sure = "" if found.uncertainty_s is None else f" ± {milliseconds(found.uncertainty_s * 1000)}"
    return (
        f"By the motion in both pictures, infrared stamps are on the visible camera's clock after "
        f"adding {_offset(found.seconds)}{sure}."
    )


def homography_sentence(evaluation: Evaluation) -> str:
    """How infrared lies on the visible image, or why it cannot be told."""
    found = evaluation.alignment
    if found.homography is None:
        return f"No homography was found{_because(found.reason)}."
    parts = ["The homography below maps infrared to visible pixels"]
    if found.shift_px is not None:
        parts.append(f"; it moves the corners by {number(found.shift_px, 1)} pixels on average")
    if found.score_before is not None and found.score_after is not None:
        parts.append(
            f". The agreement of the edges goes from {number(found.score_before, 2)} to "
            f"{number(found.score_after, 2)}"
        )
    return "".join(parts) + "."


def flicker_sentence(evaluation: Evaluation) -> str:
    """What flicker is, or why there is none."""
    if not evaluation.flicker:
        return "Not measured: flicker is the change between frames and needs two or more."
    unclear = [name for name, value in evaluation.flicker.items() if not math.isfinite(value)]
    text = (
        "How much the picture changes where both inputs are still, relative to their own change. "
        "Lower is better; above 1 (the line) fusion makes flicker of its own."
    )
    if unclear:
        text += f" Not to be told for {', '.join(unclear)}: nothing in the inputs was still."
    return text


def noise_sentence(evaluation: Evaluation) -> str:
    """How noisy the cameras were."""
    text = "σ of each camera's noise, and of the stripes of the infrared sensor."
    noise = evaluation.noise
    if "noise_infrared" in noise and "noise_visible" in noise:
        text += (
            f" Medians: infrared {number(noise['noise_infrared'], 1)}, visible "
            f"{number(noise['noise_visible'], 1)}, stripes {number(noise['stripes'], 1)} "
            f"({thermal_value(noise['stripes_counts'], evaluation.infrared)} "
            f"{thermal_unit(evaluation.infrared)})."
        )
    return text


def removed_sentence(evaluation: Evaluation) -> str:
    """What the memory of earlier frames took out."""
    text = "What the memory of earlier frames took out of each picture, root mean square."
    noise = evaluation.noise
    if "removed_visible" in noise:
        return (
            f"{text} Medians: infrared {number(noise['removed_infrared'], 1)}, visible "
            f"{number(noise['removed_visible'], 1)}."
        )
    levels = [noise[name] for name in ("noise_infrared", "noise_visible") if name in noise]
    noisy = max([*levels, noise.get("stripes", 0.0)]) > NOISY if levels else False
    return f"{text} --temporal-mode auto takes noise out." if noisy else text


def detections_sentence(evaluation: Evaluation) -> str:
    """In which picture most objects were found, or that there was no detector."""
    if not evaluation.detections:
        return "No detector was asked for."
    objects = {name: found.get("objects", 0) for name, found in evaluation.detections.items()}
    if not any(objects.values()):
        return "The detector found nothing in any of the pictures."
    most = max(objects, key=lambda name: objects[name])
    others = [f"{whole(objects[name])} in {name}" for name in objects if name != most]
    return f"Most objects were found in {most}, {whole(objects[most])}; {', '.join(others)}."


def latency_sentence(evaluation: Evaluation) -> str:
    """What was timed, or why nothing was."""
    if not evaluation.latency_ms:
        return "Nothing was timed, because nothing was fused."
    return (
        "Bars are medians, lines reach to the 99th percentile. Timed while this bag was evaluated "
        "on this machine: these figures differ from run to run."
    )


def mean_share(evaluation: Evaluation) -> float | None:
    """Infrared's mean share of dominance, in [0, 1]."""
    shares = [
        row.dominance_infrared / total
        for row in evaluation.rows
        if (total := row.dominance_infrared + row.dominance_visible) > 0
    ]
    return sum(shares) / len(shares) if shares else None


def alignments(evaluation: Evaluation) -> list[float]:
    """The scores of the frames where alignment was judged."""
    scores = [row.alignment for row in evaluation.rows if row.alignment is not None]
    return [score for score in scores if math.isfinite(score)]


def _lack(camera: Camera, record: CameraRecord) -> str:
    if record.recorded == 0:
        return f"The {camera} topic {record.topic} has no messages."
    if record.refused >= record.recorded:
        return f"No {camera} image could be used{_because(record.refusal)}."
    return ""


def _because(reason: str) -> str:
    return f": {reason.rstrip('.')}" if reason else ""


def _fused_sentence(evaluation: Evaluation) -> str:
    pairs = f"{count(evaluation.pairs, 'pair')} in {seconds(evaluation.duration_s)}"
    if evaluation.fused == evaluation.pairs:
        return f"{pairs}, {'all fused' if evaluation.pairs > 1 else 'fused'}."
    if evaluation.fused == 0:
        return f"{pairs}, none of them fused."
    every = evaluation.settings.get("every", 1)
    if isinstance(every, int) and every > 1:
        return f"{pairs}; one of {every} was to be fused, {whole(evaluation.fused)} were."
    share = percent(evaluation.fused / evaluation.pairs)
    return f"{pairs}, {whole(evaluation.fused)} of them fused ({share})."


def _timing_sentence(evaluation: Evaluation) -> list[str]:
    skew = evaluation.skew_ms
    if "median" not in skew:
        return []
    if evaluation.pairs == 1:
        return [f"The two images are {milliseconds(skew['median'])} apart."]
    return [f"Median skew {milliseconds(skew['median'])}."]


def _share_sentence(evaluation: Evaluation) -> list[str]:
    share = mean_share(evaluation)
    if share is None:
        return []
    if 0.48 <= share <= 0.52:
        return ["Both cameras were trusted alike."]
    leader, part = ("infrared", share) if share > 0.5 else ("visible", 1 - share)
    return [f"The {leader} camera led with {percent(part)} of the dominance."]


def _fused_fact(evaluation: Evaluation) -> Fact:
    lost = sum(evaluation.drops.values())
    note = f"{count(lost, 'drop')}" if lost else "nothing dropped"
    return Fact(
        "fused", f"{whole(evaluation.fused)} of {whole(evaluation.pairs)}", f"pairs; {note}"
    )


def _skew_fact(evaluation: Evaluation) -> Fact:
    skew = evaluation.skew_ms
    if "median" not in skew:
        return Fact("skew", "")
    if evaluation.pairs == 1:
        return Fact("skew", milliseconds(skew["median"]), "of the one pair")
    rest = [
        f"{name} {milliseconds(skew[key])}"
        for key, name in (("p95", "95 % below"), ("greatest", "max"))
        if key in skew
    ]
    return Fact("skew", milliseconds(skew["median"]), "; ".join(["median", *rest]))


def _offset_fact(evaluation: Evaluation) -> Fact:
    found = evaluation.clock_offset
    if found.seconds is None:
        return Fact("clock offset", "unknown", "see Alignment for the reason")
    sure = "" if found.uncertainty_s is None else f"± {milliseconds(found.uncertainty_s * 1000)}, "
    return Fact("clock offset", _offset(found.seconds), f"{sure}to add to infrared stamps")


def _alignment_fact(evaluation: Evaluation) -> Fact:
    scores = alignments(evaluation)
    if not scores:
        return Fact("alignment", "unknown", "not judged in any frame")
    after = evaluation.alignment.score_after
    note = "of edges, median; aligned cameras give 0.2 to 0.6"
    if evaluation.alignment.homography is not None and after is not None:
        note = f"of edges, median; {number(after, 2)} with the homography found"
    return Fact("alignment", number(median(scores), 2), note)


def _share_fact(evaluation: Evaluation) -> Fact:
    share = mean_share(evaluation)
    return Fact("infrared's share", "" if share is None else percent(share), "of dominance, mean")


def _latency_fact(evaluation: Evaluation) -> Fact:
    medians = {
        stage: times["median"]
        for stage, times in evaluation.latency_ms.items()
        if math.isfinite(times.get("median", math.nan))
    }
    if not medians:
        return Fact("latency", "")
    for whole_way in ("in all", "total"):
        if whole_way in medians:
            return Fact("latency", milliseconds(medians[whole_way]), "per pair, median")
    return Fact("latency", milliseconds(sum(medians.values())), "sum of the stages' medians")


def _offset(value_s: float) -> str:
    return ("+" if value_s > 0 else "") + milliseconds(value_s * 1000)
