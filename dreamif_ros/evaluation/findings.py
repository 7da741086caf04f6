"""What the owner of a bag should do, in plain words, the most important first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from dreamif_ros.bag.pairs import Pairing
from dreamif_ros.evaluation.frames import FramesFound
from dreamif_ros.evaluation.results import Camera, Evaluation, Spell

STOPS_EARLY_S = 1.0  # before the other camera, and by so many of its own periods
STOPS_PERIODS = 5.0
LOST_SHARE = 0.05  # of the rarer camera's messages that are in no fused pair
LEAST_OFFSET_S = 0.015  # between the clocks that is worth a word
LEAST_GAIN = 0.03  # of the edges' agreement by a better alignment
LEAST_SHIFT = 0.006  # of the visible diagonal that it moves
BLANK_SHARE = 0.05
GAIN_JUMPS_HZ = 0.1
REGULAR = 0.15  # by how much the distances of regular spells may differ from their median
LEAST_REGULAR = 3  # spells that tell a rhythm
DISORDERED_SHARE = 0.01

_CAMERAS = {"infrared": "thermal", "visible": "visible"}  # as people say it


def warn(
    found: Evaluation, frames: FramesFound, file_offset_s: float, pairing: Pairing
) -> Iterator[str]:
    """One sentence or two each.

    file_offset_s: of the calibration, which the node adds to ``sync.infrared_offset_s``.
    pairing: as it was asked for, without that.
    """
    cameras = {"infrared": found.infrared, "visible": found.visible}
    yield from _nothing(found)
    yield from _clock(found, file_offset_s, pairing)
    for name, camera in cameras.items():
        yield from _broken(name, camera)
    yield from _stops(found)
    yield from _lost(found)
    yield from _misaligned(found)
    for name, camera in cameras.items():
        yield from _spells(f"the {_CAMERAS[name]} camera", "freezes", camera.freezes)
        yield from _spells(f"the {_CAMERAS[name]} camera", "is silent", camera.gaps)
        yield from _blank(name, frames.blank[name], found.fused)
    yield from _pumping(found, frames.gain_jumps)
    if frames.unmeasured:
        yield f"there are no metrics of some frames: {frames.unmeasured}"
    for name, camera in cameras.items():
        yield from _stamps(name, camera)
        yield from _changes(name, camera)


def _nothing(found: Evaluation) -> Iterator[str]:
    if found.fused:
        return
    empty = [c.topic for c in (found.infrared, found.visible) if not c.messages]
    if empty:
        yield f"nothing was fused: {' and '.join(empty)} hold no images in this span"
    elif not found.pairs:
        apart_s = abs(found.infrared.first_s - found.visible.first_s)
        hint = (
            "the cameras' clocks may differ by more"
            if apart_s < 1
            else "the cameras were not recorded at the same time, or their clocks differ"
        )
        yield (
            f"nothing was fused: no two stamps lie within {found.settings['sync.slop_s']:g} s; "
            f"{hint}: set sync.infrared_offset_s, or raise sync.slop_s"
        )
    else:
        yield f"nothing was fused: all {found.pairs} pairs were refused, see the reasons below"


def _clock(found: Evaluation, file_offset_s: float, pairing: Pairing) -> Iterator[str]:
    offset = found.clock_offset
    if offset.seconds is None:
        return
    applied_s = pairing.infrared_offset_s + file_offset_s - pairing.visible_offset_s
    left_s = offset.seconds - applied_s
    if abs(left_s) <= max(LEAST_OFFSET_S, 2 * (offset.uncertainty_s or 0.0)):
        return
    wanted_s = pairing.infrared_offset_s + left_s
    direction = "lags" if left_s > 0 else "is ahead"
    more = ", with the offsets that are set" if applied_s else ""
    yield (
        f"the thermal clock {direction} by {abs(left_s) * 1000:.0f} ms{more}: set "
        f"sync.infrared_offset_s: {wanted_s:.3f}"
    )


def _broken(name: str, camera: Camera) -> Iterator[str]:
    if camera.refused:
        yield (
            f"{camera.refused} of {camera.recorded} {_CAMERAS[name]} messages are no image that "
            f"can be fused: {camera.refusal}"
        )


def _stops(found: Evaluation) -> Iterator[str]:
    """A camera that begins later or ends earlier than the other."""
    both = (("infrared", found.infrared, found.visible), ("visible", found.visible, found.infrared))
    for name, camera, other in both:
        if not (camera.messages and other.messages):
            continue
        least_s = max(STOPS_EARLY_S, STOPS_PERIODS / camera.rate_hz if camera.rate_hz else 0.0)
        if camera.last_s < other.last_s - least_s:
            yield (
                f"the {_CAMERAS[name]} camera stops at t = {camera.last_s:.1f} s, the recording "
                f"goes on to {other.last_s:.1f} s: nothing is fused after it; check its cable, "
                "power and driver"
            )
        if camera.first_s > other.first_s + least_s:
            yield (
                f"the {_CAMERAS[name]} camera starts at t = {camera.first_s:.1f} s: nothing is "
                "fused before it; wait for both cameras, then record"
            )


def _lost(found: Evaluation) -> Iterator[str]:
    rarer = min(found.infrared, found.visible, key=lambda camera: camera.messages)
    lost = rarer.messages - found.pairs
    if not found.pairs or lost <= LOST_SHARE * rarer.messages:
        return
    reasons = sorted(found.drops.items(), key=lambda drop: -drop[1])
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons)
    slop_s = found.settings["sync.slop_s"]
    yield (
        f"{100 * lost / rarer.messages:.0f} % of the messages of {rarer.topic} are in no pair "
        f"({listed}): partners are further than sync.slop_s = {slop_s:g} s apart or were not "
        "recorded; synchronize the cameras, raise sync.slop_s, or record without losses"
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
    if after < before + LEAST_GAIN or shift < LEAST_SHIFT * math.hypot(*found.visible.size):
        return
    advice = "calibrate again" if calibrated else "calibrate"
    yield (
        f"infrared lies {shift:.0f} pixels beside the visible image (agreement of the edges "
        f"{before:.2f}, once aligned {after:.2f}): {advice} with `dreamif calibrate` and set "
        "registration.file"
    )


def _spells(who: str, does: str, spells: Sequence[Spell]) -> Iterator[str]:
    if not spells:
        return
    advice = {
        "freezes": "a thermal shutter does that; the node shows the other camera alone after "
        "health.frozen_s",
        "is silent": "the node shows the other camera alone after health.timeout_s; check its "
        "cable, its driver and the disk that recorded",
    }[does]
    usual_s = median(spell.duration_s for spell in spells)
    every_s = _period(spells)
    if every_s is not None:
        yield f"every {_seconds(every_s)} s {who} {does} for {_seconds(usual_s)} s: {advice}"
        return
    longest = max(spells, key=lambda spell: spell.duration_s)
    when = f"for {_seconds(longest.duration_s)} s at t = {longest.start_s:.1f} s"
    times = f"{does} {when}" if len(spells) == 1 else f"{does} {len(spells)} times, longest {when}"
    yield f"{who} {times}: {advice}"


def _period(spells: Sequence[Spell]) -> float | None:
    """Of spells that come regularly, in seconds."""
    if len(spells) < LEAST_REGULAR:
        return None
    starts = [spell.start_s for spell in spells]
    distances = [after - before for before, after in pairwise(starts)]
    middle = median(distances)
    regular = all(abs(distance - middle) <= REGULAR * middle for distance in distances)
    return middle if regular else None


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _blank(name: str, count: int, fused: int) -> Iterator[str]:
    if fused and count > BLANK_SHARE * fused:
        yield (
            f"the {_CAMERAS[name]} camera shows one gray level everywhere in {count} of {fused} "
            "frames: is a cap on the lens, or its shutter closed?"
        )


def _pumping(found: Evaluation, jumps: int) -> Iterator[str]:
    if jumps >= LEAST_REGULAR and jumps > GAIN_JUMPS_HZ * found.duration_s:
        yield (
            f"the thermal picture's range jumps {jumps} times: the camera's automatic gain pumps "
            "in 8 bits; publish 16-bit counts (mono16), which are normalized steadily here"
        )


def _stamps(name: str, camera: Camera) -> Iterator[str]:
    if camera.unstamped:
        yield (
            f"{camera.unstamped} of {camera.messages} {_CAMERAS[name]} messages have no stamp: the "
            "time of recording was taken, which adds the transport's delay; set header.stamp in "
            "the driver"
        )
    if camera.jumps:
        jump = max(camera.jumps, key=lambda jump: abs(jump.duration_s))
        yield (
            f"the {_CAMERAS[name]} stamps jump by {jump.duration_s:+.1f} s at t = "
            f"{jump.start_s:.1f} s while the recording goes on: use one clock that is not set "
            "while recording"
        )
    if camera.disordered > DISORDERED_SHARE * camera.messages:
        yield (
            f"{camera.disordered} {_CAMERAS[name]} messages are stamped before the one that came "
            "before: use one clock that is never set back while recording"
        )


def _changes(name: str, camera: Camera) -> Iterator[str]:
    if camera.sizes_changed:
        yield (
            f"the {_CAMERAS[name]} images change their size {camera.sizes_changed} times: a "
            "calibration fits one shape only"
        )
    if len(camera.encodings) > 1:
        yield (
            f"the {_CAMERAS[name]} images change their encoding ({', '.join(camera.encodings)}): "
            "normalization starts anew each time; configure one in the driver"
        )
