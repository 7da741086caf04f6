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
from dreamif_model.cameras import Both
from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import PairPaths, find_pairs, read_gray, read_rgb
from dreamif_ros.stamps import NANOSECONDS

SPLITS = ("all", "train", "test")
VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avi", "flv", "m4v", "mjpeg", "mjpg", "mkv", "mov"),
        *("mp4", "mpeg", "mpg", "ts", "webm", "wmv"),
    )
)
MAX_RATE_HZ = 1000.0
MAX_FPS = 10_000.0  # a header that says more is damaged

VideoFrame: TypeAlias = NDArray[Any]  # as OpenCV gives it: (H, W, 3) BGR, or (h, w) uint16


class Shot(NamedTuple):
    """One image of one camera."""

    time_ns: int  # since its camera's first image
    image: StoredImage  # infrared: (h, w), uint8 or uint16; visible: (H, W, 3) RGB, uint8


@dataclass(frozen=True)
class ImageSource:
    """The images of both cameras in order of time; each is read when it is taken.

    Attributes:
        shots: of each camera.
        expected: number of visible images, as the header of the files says; None where unknown.
        by_index: image i of one camera shows the same moment as image i of the other.
        notes: what a user may miss, filled while images are read.
    """

    shots: Both[Iterator[Shot]]
    expected: int | None = None
    by_index: bool = True
    notes: list[str] = field(default_factory=list)


def open_images(infrared: Path, visible: Path, rate_hz: float | None) -> ImageSource:
    """Open two image files, two folders of images with equal names, or two videos.

    Args:
        infrared: file or folder of the infrared camera.
        visible: file or folder of the visible camera.
        rate_hz: images per second, more than 0 to 1000 Hz. None: videos have their own times and
            both begin at the same moment; image files need a rate.

    Returns:
        The images of both cameras, to give to ``make_bag``.

    Raises:
        ConfigError: the rate is missing or out of range.
        ImageError: something cannot be read.
    """
    are_videos = [path.suffix.lower() in VIDEO_SUFFIXES for path in (infrared, visible)]
    if not any(are_videos):
        return image_files(find_pairs(infrared, visible), rate_hz)
    if not all(are_videos):
        raise ImageError(
            f"give two videos, two image files or two folders, got {infrared} and {visible}"
        )
    if rate_hz is not None:
        _check_rate(rate_hz)
    videos = Both(VideoFile(infrared, keeps_16_bit=True), VideoFile(visible))
    notes: list[str] = []
    return ImageSource(
        Both(
            videos.infrared.shots(_gray, rate_hz, notes),
            videos.visible.shots(_rgb, rate_hz, notes),
        ),
        videos.visible.expected,
        by_index=rate_hz is not None,
        notes=notes,
    )


def open_data_set(root: Path, split: str, rate_hz: float | None) -> ImageSource:
    """Open a published data set; its pairs come in the order of their names.

    Args:
        root: folder of LLVIP, MSRS, M3FD or RoadScene, or one with ``ir/`` and ``vi/``.
        split: ``train``, ``test`` or ``all``, as `dreamif train` divides the data set: by its own
            test split, or without one every eighth pair.
        rate_hz: pairs per second, more than 0 to 1000 Hz.

    Returns:
        The images of both cameras, to give to ``make_bag``.

    Raises:
        ConfigError: the rate is missing or out of range.
        ImageError: there is no such data set.
    """
    from dreamif_model.training.data import DataSet  # loads torch

    if not root.is_dir():
        raise ImageError(f"no such folder: {root}")
    train, test = DataSet(root).split()
    pairs = {"train": train, "test": test, "all": [*train, *test]}[split]
    return image_files(sorted(pairs, key=lambda pair: pair.stem), rate_hz)


def image_files(pairs: Sequence[PairPaths], rate_hz: float | None) -> ImageSource:
    """Pairs of image files, pair i at the time i / rate_hz."""
    if rate_hz is None:
        raise ConfigError("image files have no times: give --rate, in pairs per second")
    _check_rate(rate_hz)
    times = [_time_ns(index, rate_hz) for index in range(len(pairs))]
    return ImageSource(
        Both(
            (Shot(t, read_gray(pair.infrared)) for t, pair in zip(times, pairs, strict=True)),
            (Shot(t, read_rgb(pair.visible)) for t, pair in zip(times, pairs, strict=True)),
        ),
        len(pairs),
    )


class VideoFile:
    """A video that is open for reading.

    Args:
        path: of the file.
        keeps_16_bit: keep gray frames of 16 bit; otherwise they become 8 bit.

    Raises:
        ImageError: OpenCV cannot read a single frame.
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
        convert: Callable[[VideoFrame], StoredImage],
        rate_hz: float | None,
        notes: list[str],
    ) -> Iterator[Shot]:
        """All frames, at i / rate_hz or at their own times; adds a note where some are missing."""
        index, time_ns = 0, 0
        frame: VideoFrame | None = self._first
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
        """The time of the frame just read, as its file says, or by the frame rate."""
        stored_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC) - start_ms
        if math.isfinite(stored_ms) and round(stored_ms * 1e6) > last_ns:
            return round(stored_ms * 1e6)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        if not 0 < fps <= MAX_FPS:
            raise ConfigError(f"{self._path} has no times and no frame rate: give --rate")
        return last_ns + round(NANOSECONDS / fps)


def _open(path: Path, convert: bool) -> tuple[cv2.VideoCapture, VideoFrame | None]:
    """The opened file and its first frame, None where no frame can be read."""
    if not path.is_file():
        raise ImageError(f"no such video file: {path}")
    # FFmpeg and OpenCV would print lines of their own about a file that they cannot read.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _silent_opencv():
        capture = cv2.VideoCapture(str(path))
        capture.set(cv2.CAP_PROP_CONVERT_RGB, int(convert))
        return capture, _read(capture)


def _read(capture: cv2.VideoCapture) -> VideoFrame | None:
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


def _is_deep(frame: VideoFrame) -> bool:
    return frame.ndim == 2 and frame.dtype == np.uint16


def _gray(frame: VideoFrame) -> StoredImage:
    """A BGR frame as (h, w) gray; a gray frame as it is."""
    gray = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    return cast("StoredImage", gray)


def _rgb(frame: VideoFrame) -> StoredImage:
    code = cv2.COLOR_GRAY2RGB if frame.ndim == 2 else cv2.COLOR_BGR2RGB
    return cast("StoredImage", cv2.cvtColor(frame, code))


def _time_ns(index: int, rate_hz: float) -> int:
    return round(index * NANOSECONDS / rate_hz)


def _check_rate(rate_hz: float) -> None:
    if not 0 < rate_hz <= MAX_RATE_HZ:
        raise ConfigError(f"the rate is {rate_hz:g} Hz, expected more than 0 to {MAX_RATE_HZ:g} Hz")
