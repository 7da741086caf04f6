"""What the owner of a bag should do, in plain words.

This is the only adviser: `dreamif bag info` and `dreamif bag evaluate` say the same sentences about
what was recorded. The evaluation adds what only fusing the images shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from dreamif_model.cameras import Both, Camera
from dreamif_ros.bag.recorded_pairs import MAX_OFFSET_S, PairingOptions
from dreamif_ros.evaluation.evaluation_results import (
    CameraRecord,
    Evaluation,
    PairingSummary,
    Recorded,
    Spell,
)
from dreamif_ros.evaluation.fused_frames import FramesFound

STOPS_EARLY_S = 1.0  # before the other camera, and by so many of its own periods
STOPS_PERIODS = 5.0
LOST_SHARE = 0.05  # of the rarer camera's messages that are in no pair
MIN_OFFSET_S = 0.015  # between the clocks that is worth a word
CONSTANT_MS = 5.0  # skew that is worth a word ...
CONSTANT_SHARE = 0.25  # ... when it varies by no more than this share of itself
MIN_PAIRS = 10  # that show a constant skew
MIN_GAIN = 0.03  # of the edges' agreement by a better alignment
MIN_SHIFT = 0.006  # of the visible diagonal that it moves
BLANK_SHARE = 0.05
GAIN_JUMPS_HZ = 0.1
REGULAR = 0.15  # by how much the distances of regular spells may differ from their median
MIN_REGULAR = 3  # spells that show a rhythm
DISORDERED_SHARE = 0.01

NAMES = Both("thermal", "visible")  # as people call the cameras


def advise_on_recording(found: Recorded) -> Iterator[str]:
    """What is told of every recording, one or two sentences each; the most important first."""
    if found.pairing.pairs:
        yield from _clocks_by_recording(found)
        yield from _constant_skew(found.pairing)
    else:
        yield _why_no_pairs(found)
    yield from _on_messages(found)
    yield from _on_rhythm(found.cameras)
    yield from _on_stamps(found.cameras)


def advise_on_evaluation(
    found: Evaluation,
    recorded: Recorded,
    frames: FramesFound,
    file_offset_s: float,
    pairing: PairingOptions,
) -> Iterator[str]:
    """What is told of an evaluated bag, one or two sentences each; the most important first.

    Args:
        found: the evaluation.
        recorded: what both cameras recorded.
        frames: what came out of the fusion.
        file_offset_s: of the calibration, which the node adds to ``sync.infrared_offset_s``.
        pairing: as it was asked for, without that offset.
    """
    yield from _nothing_fused(found, recorded)
    if found.clock_offset.seconds is not None:
        yield from _clocks_by_motion(found, file_offset_s, pairing)
    elif found.pairs:
        yield from _clocks_by_recording(recorded)
        yield from _constant_skew(recorded.pairing)
    yield from _on_messages(recorded)
    yield from _misaligned(found)
    yield from _on_rhythm(found.cameras)
    for camera, count in frames.blank.items():
        yield from _blank(camera, count, found.fused)
    for remark, count in frames.remarks.values():
        if count > BLANK_SHARE * found.fused:
            yield f"the thermal images, in {count} of {found.fused} frames: {remark}"
    yield from _pumping(found, frames.gain_jumps)
    if frames.unmeasured:
        yield f"there are no metrics of some frames: {frames.unmeasured}"
    yield from _on_stamps(found.cameras)


def _on_messages(found: Recorded) -> Iterator[str]:
    """Messages that are no image, cameras that begin or stop, messages in no pair."""
    for camera, record in found.cameras.items():
        if record.refused:
            yield (
                f"{record.refused} of {record.recorded} {NAMES[camera]} messages are no image that "
                f"can be fused: {record.refusal}"
            )
    yield from _stops(found.cameras)
    yield from _lost(found)


def _on_rhythm(cameras: Both[CameraRecord]) -> Iterator[str]:
    """Cameras that freeze or are silent."""
    for camera, record in cameras.items():
        who = f"the {NAMES[camera]} camera"
        yield from _spells(
            f"{who} freezes",
            record.freezes,
            "a thermal shutter does that; the node shows the other camera alone after "
            "health.frozen_s",
        )
        yield from _spells(
            f"{who} is silent",
            record.gaps,
            "the node shows the other camera alone after health.timeout_s; check its cable, its "
            "driver and the disk that recorded",
        )


def _on_stamps(cameras: Both[CameraRecord]) -> Iterator[str]:
    """Stamps that are missing or wrong, and images that change."""
    for camera, record in cameras.items():
        yield from _stamps(NAMES[camera], record)
        yield from _changes(NAMES[camera], record)


def _nothing_fused(found: Evaluation, recorded: Recorded) -> Iterator[str]:
    if found.fused:
        return
    if found.pairs:
        yield f"nothing was fused: all {found.pairs} pairs were refused, see the reasons below"
    else:
        yield f"nothing was fused: {_why_no_pairs(recorded)}"


def _why_no_pairs(found: Recorded) -> str:
    empty = [record.topic for record in found.cameras if not record.messages]
    if empty:
        return f"{' and '.join(empty)} hold no images in this span"
    clocks = next(_clocks_by_recording(found), "")
    if not clocks:
        apart_s = abs(found.cameras.infrared.first_s - found.cameras.visible.first_s)
        clocks = (
            "the cameras' clocks may differ by more"
            if apart_s < 1
            else "the cameras were not recorded at the same time, or their clocks differ"
        ) + ": set sync.infrared_offset_s, or raise sync.slop_s"
    return f"no two stamps lie within {found.pairing.slop_s:g} s; {clocks}"


def _clocks_by_recording(found: Recorded) -> Iterator[str]:
    """The clocks' difference, by when the images were recorded, where it costs pairs."""
    offset_s, repaired = found.clock_offset_s, found.pairing_with_offset
    if offset_s is not None and abs(offset_s) > MAX_OFFSET_S:
        yield (
            f"the clocks differ by {abs(offset_s):.0f} s, more than sync.infrared_offset_s "
            f"corrects ({MAX_OFFSET_S:g} s): stamp both cameras by one clock"
        )
    elif offset_s is not None and repaired:
        yield (
            f"{_clock(offset_s)}, by when images were recorded: set sync.infrared_offset_s: "
            f"{offset_s:.3f}, which gives {repaired.pairs} pairs"
        )


def _clocks_by_motion(
    found: Evaluation, file_offset_s: float, pairing: PairingOptions
) -> Iterator[str]:
    offset = found.clock_offset
    assert offset.seconds is not None
    applied_s = pairing.infrared_offset_s + file_offset_s - pairing.visible_offset_s
    left_s = offset.seconds - applied_s
    if abs(left_s) <= max(MIN_OFFSET_S, 2 * (offset.uncertainty_s or 0.0)):
        return
    wanted_s = pairing.infrared_offset_s + left_s
    more = ", with the offsets that are set" if applied_s else ""
    yield f"{_clock(left_s)}{more}: set sync.infrared_offset_s: {wanted_s:.3f}"


def _clock(offset_s: float) -> str:
    amount = f"{abs(offset_s) * 1000:.0f} ms" if abs(offset_s) < 1 else f"{abs(offset_s):.3f} s"
    return f"the thermal clock {'lags' if offset_s > 0 else 'is ahead'} by {amount}"


def _constant_skew(pairing: PairingSummary) -> Iterator[str]:
    skew_ms = pairing.skew_median_ms
    spread_ms = pairing.skew_p95_ms - pairing.skew_p5_ms
    enough = pairing.pairs >= MIN_PAIRS and abs(skew_ms) >= CONSTANT_MS
    if enough and spread_ms <= CONSTANT_SHARE * abs(skew_ms):
        yield (
            f"infrared is stamped {abs(skew_ms):.1f} ms {'after' if skew_ms > 0 else 'before'} "
            "visible in nearly every pair: the cameras are not triggered together, or their clocks "
            "differ; `dreamif calibrate` measures the clocks by what moves"
        )


def _stops(cameras: Both[CameraRecord]) -> Iterator[str]:
    """A camera that begins later or ends earlier than the other."""
    for camera, record in cameras.items():
        other = cameras[camera.other]
        if not (record.messages and other.messages):
            continue
        min_s = max(STOPS_EARLY_S, STOPS_PERIODS / record.rate_hz if record.rate_hz else 0.0)
        if record.last_s < other.last_s - min_s:
            yield (
                f"the {NAMES[camera]} camera stops at t = {record.last_s:.1f} s, the recording "
                f"goes on to {other.last_s:.1f} s: nothing is fused after it; check its cable, "
                "power and driver"
            )
        if record.first_s > other.first_s + min_s:
            yield (
                f"the {NAMES[camera]} camera starts at t = {record.first_s:.1f} s: nothing is "
                "fused before it; wait for both cameras, then record"
            )


def _lost(found: Recorded) -> Iterator[str]:
    pairing = found.pairing
    rarer = min(found.cameras, key=lambda record: record.messages)
    lost = rarer.messages - pairing.pairs
    if not pairing.pairs or lost <= LOST_SHARE * rarer.messages:
        return
    reasons = sorted(pairing.unpaired.items(), key=lambda drop: -drop[1])
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons)
    yield (
        f"{100 * lost / rarer.messages:.0f} % of the messages of {rarer.topic} are in no pair "
        f"({listed}): partners are further than sync.slop_s = {pairing.slop_s:g} s apart or were "
        "not recorded; synchronize the cameras, raise sync.slop_s, or record without losses"
    )


def _misaligned(found: Evaluation) -> Iterator[str]:
    alignment = found.alignment
    calibrated = found.settings.get("registration.file")
    if alignment.homography is None:
        if alignment.score_before is not None and not calibrated:
            yield (
                "there is no calibration, so infrared is resized to the visible image; whether "
                f"that fits cannot be told from this bag: {alignment.reason}"
            )
        return
    before, after, shift = alignment.score_before, alignment.score_after, alignment.shift_px
    if before is None or after is None or shift is None or found.visible.size is None:
        return
    if after < before + MIN_GAIN or shift < MIN_SHIFT * math.hypot(*found.visible.size):
        return
    advice = "calibrate again" if calibrated else "calibrate"
    yield (
        f"infrared lies {shift:.0f} pixels beside the visible image (agreement of the edges "
        f"{before:.2f}, once aligned {after:.2f}): {advice} with `dreamif calibrate` and set "
        "registration.file"
    )


def _spells(what: str, spells: Sequence[Spell], advice: str) -> Iterator[str]:
    """what: who does what, such as ``the thermal camera freezes``."""
    if not spells:
        return
    every_s = _period(spells)
    if every_s is not None:
        usual_s = median(spell.duration_s for spell in spells)
        yield f"every {_seconds(every_s)} s {what} for {_seconds(usual_s)} s: {advice}"
        return
    longest = max(spells, key=lambda spell: spell.duration_s)
    when = f"for {_seconds(longest.duration_s)} s at t = {longest.start_s:.1f} s"
    times = when if len(spells) == 1 else f"{len(spells)} times, longest {when}"
    yield f"{what} {times}: {advice}"


def _period(spells: Sequence[Spell]) -> float | None:
    """The distance of spells that come regularly, in seconds."""
    if len(spells) < MIN_REGULAR:
        return None
    distances = [after.start_s - before.start_s for before, after in pairwise(spells)]
    middle = median(distances)
    regular = all(abs(distance - middle) <= REGULAR * middle for distance in distances)
    return middle if regular else None


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _blank(camera: Camera, count: int, fused: int) -> Iterator[str]:
    if fused and count > BLANK_SHARE * fused:
        yield (
            f"the {NAMES[camera]} camera shows one gray level everywhere in {count} of {fused} "
            "frames: is a cap on the lens, or its shutter closed?"
        )


def _pumping(found: Evaluation, jumps: int) -> Iterator[str]:
    if jumps >= MIN_REGULAR and jumps > GAIN_JUMPS_HZ * found.duration_s:
        yield (
            f"the thermal picture's range jumps {jumps} times: the camera's automatic gain pumps "
            "in 8 bits; publish 16-bit counts (mono16), which are normalized steadily here"
        )


def _stamps(name: str, record: CameraRecord) -> Iterator[str]:
    if record.unstamped:
        yield (
            f"{record.unstamped} of {record.messages} {name} messages have no stamp: the time of "
            "recording was taken, which adds the transport's delay; set header.stamp in the driver"
        )
    if record.jumps:
        jump = max(record.jumps, key=lambda jump: abs(jump.duration_s))
        yield (
            f"the {name} stamps jump by {jump.duration_s:+.1f} s at t = {jump.start_s:.1f} s while "
            "the recording goes on: use one clock that is not set while recording"
        )
    if record.disordered > DISORDERED_SHARE * record.messages:
        yield (
            f"{record.disordered} {name} messages are stamped before the one that came before: use "
            "one clock that is never set back while recording"
        )


def _changes(name: str, record: CameraRecord) -> Iterator[str]:
    if record.sizes_changed:
        yield (
            f"the {name} images change their size {record.sizes_changed} times: a calibration fits "
            "one shape only"
        )
    if len(record.encodings) > 1:
        yield (
            f"the {name} images change their encoding ({', '.join(record.encodings)}): "
            "normalization starts anew each time; configure one in the driver"
        )
