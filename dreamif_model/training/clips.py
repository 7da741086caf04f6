"""Videos of both cameras as training data: each frame is a pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dreamif_model.arrays import RgbImage, StoredImage
from dreamif_model.errors import ImageError
from dreamif_model.image_files import PairPaths, match_files
from dreamif_model.registration.estimate import evenly
from dreamif_model.video_files import VIDEO_SUFFIXES, VideoReader, as_gray, as_rgb, count_frames

HELD_OUT = 8  # the last of so many equal parts of a clip is for validation
JUDGED = 8  # frames of that part, spread evenly: neighbours hardly differ


@dataclass(frozen=True)
class ClipFrame(PairPaths):
    """One frame of two videos, counted from 0."""

    frame: int = 0

    @property
    def stem(self) -> str:
        """File name of the visible video without its suffix, and the frame."""
        return f"{self.visible.stem}_{self.frame:06}"

    def read_infrared(self) -> StoredImage:
        """(h, w) uint8."""
        return as_gray(VideoReader(self.infrared).frame(self.frame))

    def read_visible(self) -> RgbImage:
        """(H, W, 3) RGB."""
        return as_rgb(VideoReader(self.visible).frame(self.frame))


def find_clips(infrared: Path, visible: Path) -> dict[str, list[ClipFrame]]:
    """The frames of all videos in two folders, by the stem of the video; empty without videos.

    Raises:
        ImageError: a video has no partner or another number of frames, or cannot be read.
    """
    return {
        clip.stem: [ClipFrame(clip.infrared, clip.visible, i) for i in range(_length(clip))]
        for clip in match_files(infrared, visible, VIDEO_SUFFIXES, "video")
    }


def split_clip(frames: Sequence[ClipFrame]) -> tuple[list[ClipFrame], list[ClipFrame]]:
    """Training frames, and validation frames out of the clip's last eighth."""
    first = len(frames) - max(1, len(frames) // HELD_OUT)
    return list(frames[:first]), judged(frames[first:])


def judged(frames: Sequence[ClipFrame]) -> list[ClipFrame]:
    """Up to JUDGED of these frames, spread evenly."""
    return evenly(frames, JUDGED)


def pair_names(pairs: Sequence[PairPaths]) -> list[str]:
    """The stems of image files; of each clip one name with the first and the last frame."""
    return [name for clip, group in groupby(pairs, _clip) for name in _names(clip, list(group))]


def _clip(pair: PairPaths) -> Path | None:
    return pair.visible if isinstance(pair, ClipFrame) else None


def _names(clip: Path | None, pairs: list[PairPaths]) -> Iterator[str]:
    if clip is None:
        yield from (pair.stem for pair in pairs)
    else:
        first, last = (pair.stem.rpartition("_")[2] for pair in (pairs[0], pairs[-1]))
        yield f"{clip.stem}_{first}-{last}"


def _length(clip: PairPaths) -> int:
    infrared, visible = (count_frames(path) for path in (clip.infrared, clip.visible))
    if infrared != visible:
        raise ImageError(
            f"{clip.infrared} has {infrared} frames and {clip.visible} has {visible}: frame i of "
            "both must show the same moment"
        )
    return visible
