"""Contact sheets and videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.errors import DreamIFError
from dreamif_model.output_files import whole_file

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
CODEC = "MJPG"  # Motion JPEG in Matroska: every OpenCV wheel writes it, in little time
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


def write_video(path: Path, frames: Sequence[Picture], rate_hz: float) -> None:
    """Write frames of one size as Matroska at ``rate_hz``."""
    with whole_file(path) as unfinished:
        _write_video(unfinished, frames, rate_hz)


def _write_video(path: Path, frames: Sequence[Picture], rate_hz: float) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*CODEC), max(rate_hz, 1.0), (width, height)
    )
    if not writer.isOpened():
        raise DreamIFError(f"this OpenCV build cannot write {CODEC} video")
    try:
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


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
