"""Pairs of images of equal times to calibrate from, from image files or from a bag."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.cameras import Both, Camera
from dreamif_model.errors import CalibrationError, ImageError
from dreamif_model.image_files import find_pairs, read_gray
from dreamif_model.registration.alignment import edge_strength
from dreamif_model.registration.clock_offset import Activity, ClockOffset, clock_offset
from dreamif_model.registration.estimate import MAX_PAIRS, align, evenly
from dreamif_model.registration.geometry import Homography
from dreamif_model.registration.warp import Calibration, Registrar
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer, finite_degrees
from dreamif_ros.bag.recorded_pairs import camera_topics, read_images
from dreamif_ros.bag.recording import Recording
from dreamif_ros.bag.storage import BagError, Topic
from dreamif_ros.stamps import from_seconds, to_seconds

MAX_SPAN_S = 60.0  # of the recording that is looked at
MAX_DISTANCE_S = 0.05  # between the stamps of a pair, once the offset is known
SMALL_WIDTH = 128  # pixels, for the offset: motion needs no more
MAX_TALL = 4  # times as high as wide: what is higher is squeezed
ROUGH_WIDTH = 320  # pixels, for the alignment before the offset is known
TOPIC_OPTIONS = Both("--ir-topic", "--vi-topic")  # of `dreamif calibrate`

GrayShares = NDArray[np.float32]  # (H, W) in [0, 1]
StampPair = tuple[int, int]  # nanoseconds: infrared, visible


@dataclass(frozen=True)
class Footage:
    """Images of both cameras, of equal times.

    Attributes:
        images: infrared (h, w) each, visible luma (H, W) each, in [0, 1].
        available: pairs that there were to choose from.
        clock_offset: of the cameras' clocks; None where it cannot be told.
        no_offset: why it cannot be told.
        faults: what is wrong with the bag, in words.
    """

    images: Both[list[GrayShares]]
    available: int
    clock_offset: ClockOffset | None = None
    no_offset: str = "only a bag has stamps"
    faults: tuple[str, ...] = ()

    @property
    def sizes(self) -> Both[tuple[int, int]]:
        """(width, height) of each camera's images."""
        return self.images.map(lambda images: (images[0].shape[1], images[0].shape[0]))


def read_files(infrared: Path, visible: Path, count: int = MAX_PAIRS) -> Footage:
    """Read two images, or ``count`` pairs of two folders of images with equal names."""
    pairs = find_pairs(infrared, visible)
    chosen = evenly(pairs, count)
    images = Both(
        [thermal_gray(read_gray(pair.infrared)) for pair in chosen],
        [visible_luma(read_gray(pair.visible)) for pair in chosen],
    )
    return Footage(images, len(pairs))


def read_bag(
    bag: Path, infrared: str | None = None, visible: str | None = None, count: int = MAX_PAIRS
) -> Footage:
    """Read pairs from the first minute of a bag, as far as it goes.

    Args:
        bag: rosbag2 folder, or its ``.mcap`` or ``.db3`` file.
        infrared: topic; by default found by name and encoding.
        visible: topic; by default found by name and encoding.
        count: how many pairs, at most, spread evenly.

    Raises:
        BagError: the bag cannot be read, or there are no pairs.
    """
    with Recording(bag) as recording:
        chosen = camera_topics(recording, Both(infrared, visible), TOPIC_OPTIONS)
        footage = read_footage(recording, chosen.topics, count=count)
        return replace(footage, faults=(*recording.faults, *chosen.faults))


def read_footage(
    recording: Recording, topics: Both[Topic], start_s: float = 0.0, count: int = MAX_PAIRS
) -> Footage:
    """Read pairs from the first minute after ``start_s``; BagError where there are none.

    Motion shows the clocks' offset only where both images are aligned, and moving things are
    aligned only at equal times: a rough alignment comes first, then the offset, then the pairs.
    """
    minute = _Minute(recording, topics, start_s)
    names = " and ".join(topic.name for topic in topics)
    motion = Both(_Motion(), _Motion())
    for camera, stamp_ns, image in minute.images():
        motion[camera].add(stamp_ns, image if image.ndim == 2 else image[..., 1])
    stamps = motion.map(lambda camera: camera.stamps_ns)
    by_stamp = _nearest(stamps, 0, MAX_SPAN_S)
    if not by_stamp:
        raise BagError(f"{recording.path} has no images of {names} together{minute.refusals()}")
    offset, reason = _offset(motion, minute.pairs(evenly(by_stamp)))
    offset_ns = 0 if offset is None else from_seconds(offset.seconds)
    pairs = _nearest(stamps, offset_ns, MAX_DISTANCE_S)
    if not pairs:
        raise BagError(
            f"no images of {names} in {recording.path} have stamps within {MAX_DISTANCE_S:g} s, "
            f"and the clocks' offset is not known: {reason}"
        )
    return Footage(minute.pairs(evenly(pairs, count)), len(pairs), offset, reason)


def thermal_gray(image: NDArray[np.generic]) -> GrayShares:
    """(h, w) counts, uint8 or uint16, or °C, float32, to [0, 1], each image by its own range."""
    gray = ThermalNormalizer(ThermalConfig(smoothing=1.0)).normalize(image)
    return gray.astype(np.float32) / np.float32(255)


def visible_luma(image: NDArray[np.generic]) -> GrayShares:
    """(H, W[, 3]) uint8 RGB to luma in [0, 1]."""
    if image.dtype != np.uint8:
        raise ImageError(f"the visible image is {image.dtype}, expected 8 bit")
    gray = image if image.ndim == 2 else image @ np.array((0.299, 0.587, 0.114), np.float32)
    return gray.astype(np.float32) / np.float32(255)


def edge_picture(infrared: GrayShares, visible: GrayShares) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of the edges of two images on the same pixels: infrared red, visible cyan."""
    edges = edge_strength(visible)
    stacked = np.stack((edge_strength(infrared), edges, edges), axis=-1)
    return np.rint(255 * stacked).astype(np.uint8)


_TO_SHARES = Both(thermal_gray, visible_luma)


@dataclass
class _Motion:
    """Small images of one camera, which show what moves."""

    stamps_ns: list[int] = field(default_factory=list)
    small: list[GrayShares] = field(default_factory=list)  # in counts, SMALL_WIDTH wide
    size: tuple[int, int] = (0, 0)  # of the images as they were

    def add(self, stamp_ns: int, image: NDArray[Any]) -> None:
        height, width = image.shape
        self.size = width, height
        small_height = min(max(1, round(SMALL_WIDTH * height / width)), MAX_TALL * SMALL_WIDTH)
        small = (SMALL_WIDTH, small_height)
        shrunk = cv2.resize(image.astype(np.float32), small, interpolation=cv2.INTER_AREA)
        self.stamps_ns.append(stamp_ns)
        self.small.append(np.asarray(shrunk, np.float32))


class _Minute:
    """The part of a recording that is looked at, as often as it is asked for."""

    def __init__(self, recording: Recording, topics: Both[Topic], start_s: float) -> None:
        self._recording, self._topics, self._start_s = recording, topics, start_s
        self._refusals: dict[Camera, str] = {}  # the first of each camera

    def images(
        self, wanted: Both[list[int]] | None = None
    ) -> Iterator[tuple[Camera, int, NDArray[Any]]]:
        """Camera, stamp and finite pixels of what can be decoded; wanted: stamps, None for all."""
        first_ns: int | None = None
        for image in read_images(self._recording, self._topics, self._start_s):
            first_ns = image.recorded_ns if first_ns is None else first_ns
            if to_seconds(image.recorded_ns - first_ns) > MAX_SPAN_S:
                return
            if wanted is not None and image.stamp_ns not in wanted[image.camera]:
                continue
            try:
                pixels = image.decode()
                finite = finite_degrees(pixels) if pixels.dtype == np.float32 else pixels
            except ImageError as error:
                self._refusals.setdefault(image.camera, str(error))
                continue
            yield image.camera, image.stamp_ns, finite

    def pairs(self, stamps: list[StampPair]) -> Both[list[GrayShares]]:
        """The images of these stamps; only they are decoded."""
        wanted = Both([infrared for infrared, _ in stamps], [visible for _, visible in stamps])
        found: Both[dict[int, GrayShares]] = Both({}, {})
        for camera, stamp_ns, image in self.images(wanted):
            found[camera][stamp_ns] = _TO_SHARES[camera](image)
        return Both.make(lambda camera: [found[camera][stamp] for stamp in wanted[camera]])

    def refusals(self) -> str:
        """Why messages were left out, to be added to a sentence."""
        return "".join(f"; {camera}: {why}" for camera, why in self._refusals.items())


def _offset(motion: Both[_Motion], rough: Both[list[GrayShares]]) -> tuple[ClockOffset | None, str]:
    """The clocks' offset, or why it cannot be told; rough: images that are aligned roughly."""
    try:
        found = align(rough.infrared, rough.visible, finest_width=ROUGH_WIDTH)
        aligned = Calibration(
            Homography(found.homography), motion.infrared.size, motion.visible.size
        )
        small = motion.map(lambda camera: camera.small[0].shape)
        warp = Registrar(aligned, feather_px=0).warp(small.infrared, small.visible)
        activities = Both(Activity(), Activity())
        for camera, seen in motion.items():
            for stamp_ns, image in zip(seen.stamps_ns, seen.small, strict=True):
                laid = warp(image) if camera == Camera.INFRARED else image
                activities[camera].add(to_seconds(stamp_ns), laid * warp.coverage)
        return clock_offset(activities.infrared, activities.visible), ""
    except CalibrationError as error:
        return None, str(error)


def _nearest(stamps: Both[list[int]], offset_ns: int, max_s: float) -> list[StampPair]:
    """Each visible image with the infrared one nearest in time, where near enough."""
    if not stamps.infrared:
        return []
    corrected = np.array(stamps.infrared) + offset_ns
    pairs = []
    for stamp in stamps.visible:
        distances = np.abs(corrected - stamp)
        nearest = int(distances.argmin())
        if to_seconds(int(distances[nearest])) <= max_s:
            pairs.append((stamps.infrared[nearest], stamp))
    return pairs
