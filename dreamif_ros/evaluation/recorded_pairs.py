"""Images of both cameras from a bag: a few pairs of equal times, and the clocks' offset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import CalibrationError, ImageError
from dreamif_model.registration.clock_offset import Activity, ClockOffset, clock_offset
from dreamif_model.registration.estimate import align, evenly
from dreamif_model.registration.geometry import Homography
from dreamif_model.registration.warp import Calibration, Registrar
from dreamif_model.thermal import finite_degrees
from dreamif_ros.bag.pairs import CAMERAS, camera_topics, read_images
from dreamif_ros.bag.recording import Recording, read_recording
from dreamif_ros.bag.storage import BagError, Topic
from dreamif_ros.evaluation.footage import Footage, Gray, thermal_gray, visible_luma

LONGEST_S = 60.0  # of the recording that is looked at
GREATEST_DISTANCE_S = 0.05  # between the stamps of a pair, once the offset is known
SMALL_WIDTH = 128  # pixels, for the offset: motion needs no more
TOPIC_OPTIONS = "--ir-topic", "--vi-topic"  # of `dreamif calibrate`
ROUGH_WIDTH = 320  # pixels, for the alignment before the offset is known

Pair = tuple[int, int]  # stamps in nanoseconds, infrared and visible


@dataclass
class _Camera:
    """What is kept of one topic's images."""

    stamps: list[int] = field(default_factory=list)
    small: list[Gray] = field(default_factory=list)  # in counts, SMALL_WIDTH wide
    size: tuple[int, int] = (0, 0)  # of the images

    def add(self, stamp: int, image: NDArray[Any]) -> None:
        height, width = image.shape
        self.size = width, height
        small = (SMALL_WIDTH, max(1, round(SMALL_WIDTH * height / width)))
        shrunk = cv2.resize(image.astype(np.float32), small, interpolation=cv2.INTER_AREA)
        self.stamps.append(stamp)
        self.small.append(np.asarray(shrunk, np.float32))


def read_bag(bag: Path, infrared: str | None = None, visible: str | None = None) -> Footage:
    """Pairs from the first minute of a bag, as far as it goes; BagError where there are none.

    infrared, visible: topics, by default ours or the only pair that fits.
    """

    def read(recording: Recording) -> Footage:
        topics = camera_topics(recording, infrared, visible, TOPIC_OPTIONS)
        footage = read_footage(recording, (topics.infrared, topics.visible))
        return replace(footage, faults=(*recording.faults, *topics.faults))

    return read_recording(bag, read)


def read_footage(
    recording: Recording, topics: tuple[Topic, Topic], start_s: float = 0.0
) -> Footage:
    """Pairs from the first minute after ``start_s``; BagError where there are none.

    Motion tells the clocks' offset only where both images are aligned, and moving things are
    aligned only at equal times: a rough alignment comes first, then the offset, then the pairs.
    """
    span = _Span(recording, topics, start_s)
    names = " and ".join(topic.name for topic in topics)
    cameras = _Camera(), _Camera()
    for camera, stamp, image in span.images():
        cameras[camera].add(stamp, image if image.ndim == 2 else image[..., 1])
    by_stamp = _pair(cameras[0].stamps, cameras[1].stamps, 0, LONGEST_S)
    if not by_stamp:
        raise BagError(f"{recording.path} has no images of {names} together{span.refusals()}")
    rough = _read(span, evenly(by_stamp))
    offset: ClockOffset | None = None
    reason = ""
    try:
        found = align(*rough, finest_width=ROUGH_WIDTH)
        aligned = Calibration(Homography(found.homography), cameras[0].size, cameras[1].size)
        offset = _clock_offset(*cameras, aligned)
    except CalibrationError as error:
        reason = str(error)
    pairs = _pair(
        cameras[0].stamps,
        cameras[1].stamps,
        0 if offset is None else round(offset.seconds * 1e9),
        GREATEST_DISTANCE_S,
    )
    if not pairs:
        raise BagError(
            f"no images of {names} in {recording.path} have stamps within "
            f"{GREATEST_DISTANCE_S:g} s, and the clocks' offset is not known: {reason}"
        )
    return Footage(*_read(span, evenly(pairs)), len(pairs), offset, reason)


def _clock_offset(infrared: _Camera, visible: _Camera, calibration: Calibration) -> ClockOffset:
    warp = Registrar(calibration, feather_px=0).warp(
        infrared.small[0].shape, visible.small[0].shape
    )
    covered = warp.coverage
    activities = Activity(), Activity()
    for stamp, image in zip(infrared.stamps, infrared.small, strict=True):
        activities[0].add(stamp / 1e9, warp(image) * covered)
    for stamp, image in zip(visible.stamps, visible.small, strict=True):
        activities[1].add(stamp / 1e9, image * covered)
    return clock_offset(*activities)


class _Span:
    """The part of a recording that is looked at, as often as it is asked for."""

    def __init__(
        self, recording: Recording, topics: tuple[Topic, Topic], start_s: float = 0.0
    ) -> None:
        self._recording, self._topics, self._start_s = recording, topics, start_s
        self._refusals: dict[int, str] = {}  # the first of each camera

    def images(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Camera (0 infrared, 1 visible), stamp and finite pixels of those that are images."""
        images = read_images(self._recording, self._topics, self._start_s)
        first_ns: int | None = None
        for image in images:
            first_ns = image.recorded_ns if first_ns is None else first_ns
            if image.recorded_ns - first_ns > LONGEST_S * 1e9:
                return
            try:
                pixels = image.decode()
                finite = finite_degrees(pixels) if pixels.dtype == np.float32 else pixels
                yield image.camera, image.stamp_ns, finite
            except ImageError as error:
                self._refusals.setdefault(image.camera, str(error))

    def refusals(self) -> str:
        """Why messages were left out, to be added to a sentence."""
        return "".join(f"; {CAMERAS[camera]}: {why}" for camera, why in self._refusals.items())


def _pair(infrared: list[int], visible: list[int], offset_ns: int, greatest_s: float) -> list[Pair]:
    """Each visible image with the infrared one nearest in time, where near enough."""
    if not infrared:
        return []
    corrected = np.array(infrared) + offset_ns
    pairs = []
    for stamp in visible:
        distances = np.abs(corrected - stamp)
        nearest = int(distances.argmin())
        if distances[nearest] <= greatest_s * 1e9:
            pairs.append((infrared[nearest], stamp))
    return pairs


def _read(span: _Span, pairs: list[Pair]) -> tuple[list[Gray], list[Gray]]:
    """The images of these stamps, as gray in [0, 1]."""
    found: tuple[dict[int, Gray], dict[int, Gray]] = ({}, {})
    wanted = [set(stamps) for stamps in zip(*pairs, strict=True)]
    convert = thermal_gray, visible_luma
    for camera, stamp, image in span.images():
        if stamp in wanted[camera]:
            found[camera][stamp] = convert[camera](image)
    return [found[0][stamp] for stamp, _ in pairs], [found[1][stamp] for _, stamp in pairs]
