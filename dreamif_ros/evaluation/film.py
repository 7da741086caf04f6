"""The pictures of an evaluation: small JPEGs for the report, and a video of all frames."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from dreamif_model.errors import DreamIFError
from dreamif_ros.codec.compressed import compress_jpeg
from dreamif_ros.pictures import CODEC, Picture

WIDTH = 480  # pixels of a picture of the film
QUALITY = 85  # of its JPEG
MAX_TALL = 4
VIDEO_SIDES = (2, 65_500)  # pixels of the sides that the codec can write
MAX_WAITING = 4  # frames of the video
MIN_HZ, MAX_HZ = 1.0, 120.0  # of the video; stamps may claim any rate


def small_jpeg(picture: Picture, width: int = WIDTH) -> bytes:
    """A JPEG of the picture, shrunk to at most ``width`` pixels, and MAX_TALL times that high."""
    scale = min(width / picture.shape[1], MAX_TALL * width / picture.shape[0])
    if scale < 1:
        size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return compress_jpeg(picture, QUALITY)


class FusedVideo:
    """A video file that is written frame by frame; all frames get the size of the first.

    Frames are encoded in a thread of its own, because that takes as long as fusing them. At most
    MAX_WAITING frames wait for it.
    """

    def __init__(self, path: Path, rate_hz: float) -> None:
        self.path, self._rate_hz = path, min(max(rate_hz, MIN_HZ), MAX_HZ)
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
                f"the fused images have a width of {self._size[0]} and a height of "
                f"{self._size[1]} pixels, and a video takes {VIDEO_SIDES[0]} to {VIDEO_SIDES[1]} "
                "of each: give --no-video"
            )
        codec = cv2.VideoWriter.fourcc(*CODEC)
        writer = cv2.VideoWriter(str(self.path), codec, self._rate_hz, self._size)
        if not writer.isOpened():
            raise DreamIFError(
                f"this OpenCV build cannot write {CODEC} video of {self._size[0]}x{self._size[1]} "
                "pixels: give --no-video"
            )
        return writer

    def _encode(self, writer: cv2.VideoWriter, frame: Picture) -> None:
        if (frame.shape[1], frame.shape[0]) != self._size:
            frame = np.asarray(cv2.resize(frame, self._size), np.uint8)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
