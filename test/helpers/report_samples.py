"""Evaluations to make reports of: numbers as of a real bag, pictures of the simulated street."""

import math
from dataclasses import replace
from functools import cache

import cv2
import numpy as np

from dreamif_model.dominance.overlay import dominance_overlay
from dreamif_ros.evaluation.evaluation_results import (
    AlignmentFound,
    CameraRecord,
    ClockOffsetFound,
    Evaluation,
    FilmFrame,
    FrameRow,
    MeanInterval,
    Spell,
)
from dreamif_ros.evaluation.measuring import noise_medians
from dreamif_ros.scene import Scene, SceneConfig

RATE_HZ, FRAMES, FILM = 15, 150, 6
SILENT = range(90, 120)  # pairs that the infrared camera has no image for
MEANS = {  # fused, average, max
    "AG": (4.356, 3.497, 4.166),
    "SF": (12.154, 8.965, 12.059),
    "Qabf": (0.598, 0.391, 0.53),
    "SSIM": (1.352, 1.431, 1.328),
    "VIFF": (0.801, 0.554, 0.766),
    "EN": (7.02, 6.61, 6.88),
    "SD": (41.3, 31.2, 40.8),
    "MI": (3.91, 2.85, 3.4),
    "SCD": (1.51, 1.36, 1.22),
    "CC": (0.61, 0.66, 0.59),
    "PSNR": (62.3, 64.9, 61.8),
    "Nabf": (0.021, 0.003, 0.034),
}


def jpeg(rgb, quality=80):
    return cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@cache
def scene(misalignment=0.0):
    size = (480, 384)
    return Scene(SceneConfig(visible_size=size, infrared_size=size, misalignment=misalignment))


def gray8(counts):
    low, high = np.percentile(counts, (1, 99.5))
    gray = np.clip((counts - low) / (high - low), 0, 1) * 255
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


@cache
def pictures(time_s):
    """JPEGs of a simple fusion, by name: the brighter pixel, and which camera it came from."""
    infrared, visible = gray8(scene().infrared(time_s)), scene().visible(time_s)
    fused = np.maximum(infrared, visible)
    hot = cv2.GaussianBlur(infrared[..., 0].astype(np.float32), (0, 0), 3)
    light = cv2.GaussianBlur(visible.mean(axis=2).astype(np.float32), (0, 0), 3)
    share = (hot / np.maximum(hot + light, 1)).astype(np.float32)
    boxes = fused.copy()
    for box in scene().boxes(time_s):
        corner = (int(box.x), int(box.y))
        cv2.rectangle(
            boxes, corner, (int(box.x + box.width), int(box.y + box.height)), (90, 255, 120)
        )
        cv2.putText(
            boxes, box.label, (corner[0], corner[1] - 3), 0, 0.4, (90, 255, 120), 1, cv2.LINE_AA
        )
    return {
        "infrared": jpeg(infrared),
        "visible": jpeg(visible),
        "fused": jpeg(fused),
        "dominance": jpeg(dominance_overlay(fused, share, 1 - share)),
        "boxes": jpeg(boxes),
    }


def row(index, rng):
    time_s = index / RATE_HZ
    infrared = 0.44 + 0.08 * math.sin(time_s) + rng.normal(0, 0.008)
    found = 4 + int(2 * math.sin(time_s / 2))
    return FrameRow(
        index=index,
        time_s=time_s,
        stamp_ns=1_700_000_000_250_000_000 + round(time_s * 1e9),
        skew_ms=float(8 + 3 * math.sin(index / 9) + rng.normal(0, 1)),
        thermal_low=29_120 + 40 * math.sin(time_s / 3),
        thermal_high=30_680 + 160 * math.sin(time_s / 2) + float(rng.normal(0, 8)),
        alignment=None
        if index % 5
        else float(0.31 + 0.04 * math.sin(time_s) + rng.normal(0, 0.01)),
        dominance_infrared=float(infrared),
        dominance_visible=float(1 - infrared),
        metrics={"fused": {"Qabf": 0.6}} if index % 10 == 0 else {},
        detections={"visible": max(found - 2, 0), "infrared": found, "fused": found + 1},
        noise_infrared=9.5 + 0.5 * math.sin(time_s),
        noise_visible=12.0 + 2 * math.sin(time_s / 4),
        stripes=5.5,
        stripes_counts=34.0,
        removed_infrared=10.0 + 0.5 * math.sin(time_s),
        removed_visible=11.0,
    )


def rates():
    times = list(range(FRAMES // RATE_HZ))
    infrared = [sum(i not in SILENT for i in range(t * RATE_HZ, (t + 1) * RATE_HZ)) for t in times]
    fused = [max(there - 1, 0) if t in (2, 3) else there for t, there in enumerate(infrared)]
    return {
        "time_s": [float(t) for t in times],
        "infrared": [float(n) for n in infrared],
        "visible": [float(RATE_HZ)] * len(times),
        "fused": [float(n) for n in fused],
        "unpaired visible": [float(RATE_HZ - n) for n in infrared],
        "beyond slop": [float(a - b) for a, b in zip(infrared, fused, strict=True)],
    }


def camera(topic, **changes):
    return replace(
        CameraRecord(
            topic=topic,
            type_name="sensor_msgs/msg/Image",
            encodings=("mono16",),
            size=(480, 384),
            messages=FRAMES,
            rate_hz=float(RATE_HZ),
            first_s=0.0,
            last_s=(FRAMES - 1) / RATE_HZ,
        ),
        **changes,
    )


def evaluation(**changes):
    """A bag of ten seconds in which the infrared camera is silent for two."""
    rng = np.random.default_rng(0)
    rows = tuple(row(i, rng) for i in range(FRAMES) if i not in SILENT)
    skews = sorted(abs(r.skew_ms) for r in rows)
    spread = {"fused": 0.02, "average": 0.015, "max": 0.02}
    metrics = {
        method: {
            name: MeanInterval(
                means[i], means[i] * (1 - spread[method]), means[i] * (1 + spread[method])
            )
            for name, means in MEANS.items()
        }
        for i, method in enumerate(spread)
    }
    film = [rows[round(i * (len(rows) - 1) / (FILM - 1))] for i in range(FILM)]
    silent = (Spell(SILENT.start / RATE_HZ, len(SILENT) / RATE_HZ),)
    return replace(
        Evaluation(
            bag="/data/recordings/night_drive_03",
            settings={
                "command": "dreamif bag evaluate /data/recordings/night_drive_03 --detect",
                "variant": "nano",
                "device": "cpu",
                "precision": "fp32",
                "slop_s": 0.05,
                "infrared_offset_s": 0.0,
                "calibration": None,
                "every": 1,
            },
            duration_s=10.0,
            infrared=camera("/thermal/image_raw", messages=FRAMES - len(SILENT), gaps=silent),
            visible=camera("/camera/image_raw", encodings=("rgb8",), unstamped=3),
            pairs=len(rows),
            fused=len(rows) - 2,
            drops={"unpaired visible": len(SILENT), "beyond slop": 2, "refused": 0},
            rates=rates(),
            rows=rows,
            skew_ms={
                "median": skews[len(skews) // 2],
                "p95": skews[int(len(skews) * 0.95)],
                "greatest": skews[-1],
            },
            clock_offset=ClockOffsetFound(-0.0081, 0.004),
            alignment=AlignmentFound(
                ((1.0312, 0.0204, -14.22), (-0.0187, 1.0298, 6.914), (1.2e-6, -3.4e-6, 1.0)),
                0.312,
                0.447,
                12.6,
            ),
            metrics=metrics,
            noise=noise_medians(rows),
            flicker={"fused": 0.74, "average": 0.58, "max": 1.13},
            detections={
                "visible": {"objects": 342, "confidence": 0.58},
                "infrared": {"objects": 511, "confidence": 0.61},
                "fused": {"objects": 624, "confidence": 0.66},
            },
            faults=(),
            warnings=(
                "The infrared camera was silent for 2.0 s at 6.0 s: check its cable, its shutter "
                "and the driver's log.",
                "Infrared lies 12.6 pixels off on average: make a calibration with dreamif "
                "calibrate /data/recordings/night_drive_03 --out calibration.yaml",
                "3 visible images have no stamp; the time they were recorded was taken instead.",
            ),
            latency_ms={
                "decode": {"median": 0.8, "p99": 1.9},
                "thermal": {"median": 1.4, "p99": 2.2},
                "registration": {"median": 2.1, "p99": 3.0},
                "network": {"median": 31.4, "p99": 44.8},
                "encode": {"median": 1.1, "p99": 2.5},
                "total": {"median": 37.2, "p99": 52.0},
            },
            film=tuple(FilmFrame(r, pictures(r.time_s)) for r in film),
            alignment_pictures=before_after(),
        ),
        **changes,
    )


@cache
def before_after():
    visible = scene().visible(4.0)
    off, on = gray8(scene(0.6).infrared(4.0)), gray8(scene().infrared(4.0))
    return {
        name: jpeg(np.stack([infrared[..., 0], visible[..., 1], visible[..., 2]], axis=2))
        for name, infrared in (("before", off), ("after", on))
    }


def no_pairs(**changes):
    """The infrared topic has messages, none of which is an image that can be fused."""
    refused = camera(
        "/thermal/image_raw",
        encodings=("bayer_rggb16",),
        size=None,
        refused=FRAMES,
        refusal="encoding bayer_rggb16 is a colour mosaic, not a thermal image",
    )
    empty = {
        "settings": {"variant": "nano"},
        "infrared": refused,
        "pairs": 0,
        "fused": 0,
        "drops": {"refused infrared": FRAMES},
        "rows": (),
        "noise": {},
        "skew_ms": {},
        "clock_offset": ClockOffsetFound(None, None, "no infrared image was read"),
        "alignment": AlignmentFound(None, None, None, None, "it needs at least one pair"),
        "metrics": {},
        "flicker": {},
        "detections": {},
        "faults": ("The file is cut off after 9.4 s; what came before was read.",),
        "warnings": ("Name the thermal topic with --infrared-topic.",),
        "latency_ms": {},
        "film": (),
        "alignment_pictures": {},
    }
    kept = {name: values for name, values in rates().items() if name in ("time_s", "visible")}
    kept["infrared"] = kept["visible"]
    return evaluation(**(empty | {"rates": kept} | changes))


def one_pair(**changes):
    """A bag of one message of each camera."""
    whole = evaluation()
    only = replace(whole.rows[0], alignment=None, detections={})
    shown = {name: data for name, data in whole.film[0].pictures.items() if name != "boxes"}
    one = {
        "duration_s": 0.009,
        "infrared": camera("/thermal/image_raw", messages=1, rate_hz=0.0, last_s=0.0),
        "visible": camera("/camera/image_raw", messages=1, rate_hz=0.0, last_s=0.0),
        "pairs": 1,
        "fused": 1,
        "drops": {},
        "rates": {"time_s": [0.0], "infrared": [1.0], "visible": [1.0], "fused": [1.0]},
        "rows": (only,),
        "skew_ms": {key: abs(only.skew_ms) for key in ("median", "p95", "greatest")},
        "clock_offset": ClockOffsetFound(None, None, "the bag spans 0.0 s, 3 s are needed"),
        "alignment": AlignmentFound(None, None, None, None, "no edges in common"),
        "metrics": {"fused": {"Qabf": MeanInterval(0.6, math.nan, math.nan)}},
        "flicker": {},
        "detections": {},
        "warnings": (),
        "film": (FilmFrame(only, shown),),
        "alignment_pictures": {},
    }
    return evaluation(**(one | changes))
