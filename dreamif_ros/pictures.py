"""Contact sheets and videos."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import DreamIFError
from dreamif_model.output_files import whole_file

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
# By the suffix of the file, what every OpenCV wheel writes: Motion JPEG takes little time, and
# players expect MPEG-4 in .mp4.
CODECS = {".mkv": "MJPG", ".avi": "MJPG", ".mp4": "mp4v"}
VIDEO_SIDES = (2, 65_500)  # pixels of the sides that Motion JPEG can have
MAX_WAITING = 4  # frames of the video
MIN_HZ, MAX_HZ = 1.0, 120.0  # of the video; stamps may claim any rate
_BAR_HEIGHT = 28  # pixels of the strip that holds a column's title


def contact_sheet(
    titles: Sequence[str], rows: Sequence[Sequence[Picture]], cell_width: int = 400
) -> Picture:
    """Rows of pictures under column titles; all are shown at the size of the first."""
    height, width = rows[0][0].shape[:2]
    size = (cell_width, round(cell_width * height / width))
    strips = [np.hstack([_title(title, cell_width) for title in titles])]
    strips += [np.hstack([_resized(picture, size) for picture in row]) for row in rows]
    return np.vstack(strips)


def write_video(path: Path, frames: Iterable[Picture], rate_hz: float) -> None:
    """Write frames of one size as a video at ``rate_hz``."""
    with whole_file(path) as unfinished:
        video = VideoWriter(unfinished, rate_hz, instead="install opencv-python-headless")
        try:
            for frame in frames:
                video.add(frame)
        finally:
            video.close()


class VideoWriter:
    """A video file that is written frame by frame; all frames get the size of the first.

    Frames are encoded in a thread of its own, because that takes as long as fusing them. At most
    MAX_WAITING frames wait for it.

    Args:
        path: of the file, with a suffix of ``CODECS``.
        rate_hz: of its frames; clipped to 1 to 120 Hz.
        instead: what a user can do where it cannot be written, for the error.
    """

    def __init__(self, path: Path, rate_hz: float, instead: str) -> None:
        self.path, self._rate_hz = path, min(max(rate_hz, MIN_HZ), MAX_HZ)
        self._instead = instead
        self._writer: cv2.VideoWriter | None = None
        self._size = 0, 0
        self._encoder = ThreadPoolExecutor(1, "video")
        self._waiting: deque[Future[None]] = deque()

    def add(self, frame: Picture) -> None:
        """Append (H, W, 3) RGB; DreamIFError where OpenCV cannot write video."""
        if self._writer is None:
            self._writer = self._open(frame)
        while len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._encoder.submit(self._encode, self._writer, frame))

    def close(self) -> Path | None:
        """Finish the file; None where there was no frame."""
        self._encoder.shutdown()
        if self._writer is None:
            return None
        self._writer.release()
        return self.path

    def _open(self, frame: Picture) -> cv2.VideoWriter:
        self._size = frame.shape[1], frame.shape[0]
        if not all(VIDEO_SIDES[0] <= side <= VIDEO_SIDES[1] for side in self._size):
            raise DreamIFError(
                f"the images have a width of {self._size[0]} and a height of {self._size[1]} "
                f"pixels, and a video takes {VIDEO_SIDES[0]} to {VIDEO_SIDES[1]} of each: "
                f"{self._instead}"
            )
        codec = CODECS[self.path.suffix.lower()]
        fourcc = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(self.path), fourcc, self._rate_hz, self._size)
        if not writer.isOpened():
            raise DreamIFError(
                f"this OpenCV build cannot write {codec} video of {self._size[0]}x{self._size[1]} "
                f"pixels: {self._instead}"
            )
        return writer

    def _encode(self, writer: cv2.VideoWriter, frame: Picture) -> None:
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = np.asarray(cv2.resize(frame, self._size), np.uint8)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))


def gray_to_rgb(gray: NDArray[np.uint8]) -> Picture:
    """(H, W) uint8 to (H, W, 3)."""
    return np.repeat(gray[..., None], 3, axis=2)


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _title(text: str, width: int) -> Picture:
    bar = np.full((_BAR_HEIGHT, width, 3), 24, np.uint8)
    where = (10, _BAR_HEIGHT - 9)
    cv2.putText(bar, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (235, 235, 235), 1, cv2.LINE_AA)
    return bar
