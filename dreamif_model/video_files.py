"""Video files, read frame by frame with OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import RgbImage, StoredImage
from dreamif_model.errors import ImageError

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avi", "flv", "m4v", "mjpeg", "mjpg", "mkv", "mov"),
        *("mp4", "mpeg", "mpg", "ts", "webm", "wmv"),
    )
)
MAX_FPS = 10_000.0  # a header that says more is damaged

VideoFrame: TypeAlias = NDArray[Any]  # as OpenCV gives it: (H, W, 3) BGR, or (h, w) uint16


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


class VideoReader:
    """A video that is open for reading.

    Args:
        path: of the file.
        keeps_16_bit: keep gray frames of 16 bit; otherwise they become 8 bit.

    Attributes:
        path: of the file.
        expected: number of frames, as the header says; None where it does not.
        rate_hz: frames per second, as the header says; None where it does not.

    Raises:
        ImageError: OpenCV cannot read a single frame.
    """

    def __init__(self, path: Path, keeps_16_bit: bool = False) -> None:
        self.path = path
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
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate_hz = fps if 0 < fps <= MAX_FPS else None

    @property
    def time_ms(self) -> float:
        """When the last frame that was read is shown, as its file says."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC))

    def frames(self) -> Iterator[VideoFrame]:
        """All frames in order; to be called once."""
        frame: VideoFrame | None = self._first
        while frame is not None:
            yield frame
            frame = _read(self._capture)

    def frame(self, index: int) -> VideoFrame:
        """One frame, counted from 0; ImageError where it cannot be read."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        frame = _read(self._capture)
        if frame is None:
            raise ImageError(f"cannot read frame {index} of the video {self.path}")
        return frame


def count_frames(path: Path) -> int:
    """How many frames a video has, by reading them: what headers say is not always true.

    Raises:
        ImageError: OpenCV cannot read a single frame.
    """
    capture = VideoReader(path)._capture
    count = 1  # that was read on opening
    while capture.grab():
        count += 1
    return count


def as_gray(frame: VideoFrame) -> StoredImage:
    """A BGR frame as (h, w) luma; a gray frame as it is."""
    gray = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    return cast("StoredImage", gray)


def as_rgb(frame: VideoFrame) -> RgbImage:
    """A frame of 8 bit as (H, W, 3) RGB."""
    code = cv2.COLOR_GRAY2RGB if frame.ndim == 2 else cv2.COLOR_BGR2RGB
    return cast("RgbImage", cv2.cvtColor(frame, code))


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
