"""Where the images of a new bag come from: image files, videos, published data sets."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import StoredImage
from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import PairPaths, find_pairs, read_gray, read_rgb
from dreamif_model.training.data import DataSet
from dreamif_ros.bag.storage import MAX_RATE_HZ

SPLITS = ("all", "train", "test")
VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avi", "flv", "m4v", "mjpeg", "mjpg", "mkv", "mov"),
        *("mp4", "mpeg", "mpg", "ts", "webm", "wmv"),
    )
)
MAX_FPS = 10_000.0  # a header that says more is damaged
NANOSECONDS = 1_000_000_000

Frame: TypeAlias = NDArray[Any]  # as OpenCV gives it: (H, W, 3) BGR, or (h, w) uint16


class Shot(NamedTuple):
    """One image of one camera."""

    time_ns: int  # since its camera's first image
    image: StoredImage  # infrared: (h, w), uint8 or uint16; visible: (H, W, 3) RGB, uint8


@dataclass(frozen=True)
class Cameras:
    """The images of both cameras, each in order of time and read as they are taken."""

    infrared: Iterator[Shot]
    visible: Iterator[Shot]
    expected: int | None = None  # visible images, as far as their header is to be trusted
    by_index: bool = True  # image i of one camera is of the same moment as image i of the other
    notes: list[str] = field(default_factory=list)  # filled while reading: what a user may miss


def open_cameras(infrared: Path, visible: Path, rate_hz: float | None) -> Cameras:
    """Two image files, two folders of images with equal names, or two videos.

    rate_hz: images per second. Without it videos have their own times, and both begin at the
    same moment; image files have none. ConfigError where a rate is missing or out of range,
    ImageError where something cannot be read.
    """
    videos = [path.suffix.lower() in VIDEO_SUFFIXES for path in (infrared, visible)]
    if not any(videos):
        return image_files(find_pairs(infrared, visible), rate_hz)
    if not all(videos):
        raise ImageError(
            f"give two videos, two image files or two folders, got {infrared} and {visible}"
        )
    if rate_hz is not None:
        _check_rate(rate_hz)
    films = Video(infrared, keeps_16_bit=True), Video(visible)
    notes: list[str] = []
    return Cameras(
        films[0].shots(_gray, rate_hz, notes),
        films[1].shots(_rgb, rate_hz, notes),
        films[1].expected,
        by_index=rate_hz is not None,
        notes=notes,
    )


def open_data_set(root: Path, split: str, rate_hz: float | None) -> Cameras:
    """A published data set as it unpacks, pairs in the order of their names.

    split: ``train``, ``test`` or ``all``, as `dreamif train` divides it: the data set's own
    test split, or without one every eighth pair.
    """
    if not root.is_dir():
        raise ImageError(f"no such folder: {root}")
    train, test = DataSet(root).split()
    pairs = {"train": train, "test": test, "all": [*train, *test]}[split]
    return image_files(sorted(pairs, key=lambda pair: pair.stem), rate_hz)


def image_files(pairs: Sequence[PairPaths], rate_hz: float | None) -> Cameras:
    """Pairs of image files, pair i at i / rate_hz."""
    if rate_hz is None:
        raise ConfigError("image files have no times: give --rate, in pairs per second")
    _check_rate(rate_hz)
    times = [_time_ns(index, rate_hz) for index in range(len(pairs))]
    return Cameras(
        (Shot(t, read_gray(pair.infrared)) for t, pair in zip(times, pairs, strict=True)),
        (Shot(t, read_rgb(pair.visible)) for t, pair in zip(times, pairs, strict=True)),
        len(pairs),
    )


class Video:
    """A video file, opened; ImageError where OpenCV cannot read one frame of it.

    keeps_16_bit: give gray frames of 16 bit as they are, not in 8.
    """

    def __init__(self, path: Path, keeps_16_bit: bool = False) -> None:
        self._path = path
        self._capture, first = _open(path, convert=not keeps_16_bit)
        if first is not None and keeps_16_bit and not _is_deep(first):
            # Unconverted, any other format is planes of YUV.
            self._capture, first = _open(path, convert=True)
        if first is None:
            raise ImageError(
                f"cannot read the video {path}: it is empty, cut off, damaged, or in a codec that "
                "this OpenCV lacks; try to convert it: ffmpeg -i VIDEO -c:v ffv1 NEW.mkv"
            )
        self._first = first
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.expected = int(count) if 0 < count < 2**31 else None

    def shots(
        self,
        convert: Callable[[Frame], StoredImage],
        rate_hz: float | None,
        notes: list[str],
    ) -> Iterator[Shot]:
        """All frames, at i / rate_hz or at their own times; a note where some are missing."""
        index, time_ns = 0, 0
        frame: Frame | None = self._first
        start_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        while frame is not None:
            if rate_hz is not None:
                time_ns = _time_ns(index, rate_hz)
            elif index:
                time_ns = self._next_time_ns(time_ns, start_ms)
            yield Shot(time_ns, convert(frame))
            index += 1
            frame = _read(self._capture)
        if self.expected is not None and index < self.expected:
            notes.append(f"{self._path} ended after {index} of {self.expected} frames")

    def _next_time_ns(self, last_ns: int, start_ms: float) -> int:
        """Of the frame just read: as its file says, or by the frame rate where it says none."""
        stored_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC) - start_ms
        if math.isfinite(stored_ms) and round(stored_ms * 1e6) > last_ns:
            return round(stored_ms * 1e6)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        if not 0 < fps <= MAX_FPS:
            raise ConfigError(f"{self._path} has no times and no frame rate: give --rate")
        return last_ns + round(NANOSECONDS / fps)


def _open(path: Path, convert: bool) -> tuple[cv2.VideoCapture, Frame | None]:
    """The opened file and its first frame, None where it has none."""
    if not path.is_file():
        raise ImageError(f"no such video file: {path}")
    # FFmpeg and OpenCV would print lines of their own about a file that they cannot read.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _silent_opencv():
        capture = cv2.VideoCapture(str(path))
        capture.set(cv2.CAP_PROP_CONVERT_RGB, int(convert))
        return capture, _read(capture)


def _read(capture: cv2.VideoCapture) -> Frame | None:
    try:
        found, frame = capture.read()
    except cv2.error:
        return None
    return frame if found else None


@contextmanager
def _silent_opencv() -> Iterator[None]:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(0)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _is_deep(frame: Frame) -> bool:
    return frame.ndim == 2 and frame.dtype == np.uint16


def _gray(frame: Frame) -> StoredImage:
    """(h, w) of a BGR frame, or the frame itself where it is gray."""
    gray = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    return cast("StoredImage", gray)


def _rgb(frame: Frame) -> StoredImage:
    code = cv2.COLOR_GRAY2RGB if frame.ndim == 2 else cv2.COLOR_BGR2RGB
    return cast("StoredImage", cv2.cvtColor(frame, code))


def _time_ns(index: int, rate_hz: float) -> int:
    return round(index * NANOSECONDS / rate_hz)


def _check_rate(rate_hz: float) -> None:
    if not 0 < rate_hz <= MAX_RATE_HZ:
        raise ConfigError(f"the rate is {rate_hz:g} Hz, expected more than 0 to {MAX_RATE_HZ:g} Hz")
