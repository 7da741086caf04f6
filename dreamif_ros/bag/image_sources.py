"""Where the images of a new bag come from: image files, videos, published data sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dreamif_model.arrays import StoredImage
from dreamif_model.cameras import Both
from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import PairPaths, find_pairs
from dreamif_model.video_files import VideoFrame, VideoReader, as_gray, as_rgb, is_video
from dreamif_ros.stamps import NANOSECONDS

SPLITS = ("all", "train", "test")
MAX_RATE_HZ = 1000.0


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
    are_videos = [is_video(path) for path in (infrared, visible)]
    if not any(are_videos):
        return image_files(find_pairs(infrared, visible), rate_hz)
    if not all(are_videos):
        raise ImageError(
            f"give two videos, two image files or two folders, got {infrared} and {visible}"
        )
    if rate_hz is not None:
        _check_rate(rate_hz)
    videos = Both(_Video(infrared, keeps_16_bit=True), _Video(visible))
    notes: list[str] = []
    return ImageSource(
        Both(
            videos.infrared.shots(as_gray, rate_hz, notes),
            videos.visible.shots(as_rgb, rate_hz, notes),
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
            (Shot(t, pair.read_infrared()) for t, pair in zip(times, pairs, strict=True)),
            (Shot(t, pair.read_visible()) for t, pair in zip(times, pairs, strict=True)),
        ),
        len(pairs),
    )


class _Video(VideoReader):
    """A video whose frames have times."""

    def shots(
        self,
        convert: Callable[[VideoFrame], StoredImage],
        rate_hz: float | None,
        notes: list[str],
    ) -> Iterator[Shot]:
        """All frames, at i / rate_hz or at their own times; adds a note where some are missing."""
        index, time_ns = 0, 0
        start_ms = self.time_ms
        for frame in self.frames():
            if rate_hz is not None:
                time_ns = _time_ns(index, rate_hz)
            elif index:
                time_ns = self._next_time_ns(time_ns, start_ms)
            yield Shot(time_ns, convert(frame))
            index += 1
        if self.expected is not None and index < self.expected:
            notes.append(f"{self.path} ended after {index} of {self.expected} frames")

    def _next_time_ns(self, last_ns: int, start_ms: float) -> int:
        """The time of the frame just read, as its file says, or by the frame rate."""
        stored_ms = self.time_ms - start_ms
        if math.isfinite(stored_ms) and round(stored_ms * 1e6) > last_ns:
            return round(stored_ms * 1e6)
        if self.rate_hz is None:
            raise ConfigError(f"{self.path} has no times and no frame rate: give --rate")
        return last_ns + round(NANOSECONDS / self.rate_hz)


def _time_ns(index: int, rate_hz: float) -> int:
    return round(index * NANOSECONDS / rate_hz)


def _check_rate(rate_hz: float) -> None:
    if not 0 < rate_hz <= MAX_RATE_HZ:
        raise ConfigError(f"the rate is {rate_hz:g} Hz, expected more than 0 to {MAX_RATE_HZ:g} Hz")
