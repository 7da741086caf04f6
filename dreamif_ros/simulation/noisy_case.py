"""The pictures of the demo's noisy case: what the node made, beside each frame fused alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dreamif_model import DreamIFError, FusionPipeline
from dreamif_model.image_files import write_image
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros import codec
from dreamif_ros.pictures import Picture, contact_sheet, gray_to_rgb, write_video
from dreamif_ros.simulation.demo_run import DemoRecording
from dreamif_ros.stamps import to_seconds

COLUMNS = ("infrared", "visible", "each frame alone", "with memory")
FILM_WIDTH = 640  # pixels of each of the four pictures of a frame


def write_noisy_case(
    recording: DemoRecording,
    pipeline: FusionPipeline,
    sheet: Path,
    film: Path,
    moments: int,
) -> None:
    """Write a contact sheet of some moments, evenly spread, and a film of all frames.

    Args:
        recording: of a node that fused with memory.
        pipeline: a new one, which fuses each frame alone.
        sheet: image file.
        film: video file.
        moments: on the contact sheet.

    Raises:
        DreamIFError: no frame was recorded with both its inputs.
    """
    stamps = sorted(recording.fused.keys() & recording.infrared.keys() & recording.visible.keys())
    if not stamps:
        raise DreamIFError("no frame was recorded with both its inputs")
    step = max(1, len(stamps) // moments)
    shown = set(stamps[step // 2 :: step][:moments])
    rows: list[list[Picture]] = []

    def frames() -> Iterator[Picture]:
        for stamp, row in zip(stamps, _rows(recording, pipeline, stamps), strict=True):
            if stamp in shown:
                rows.append(row)
            halves = slice(0, 2), slice(2, 4)
            parts = [contact_sheet(COLUMNS[half], [row[half]], FILM_WIDTH) for half in halves]
            yield np.vstack(parts)

    seconds = to_seconds(stamps[-1] - stamps[0])
    write_video(film, frames(), (len(stamps) - 1) / seconds if seconds else 1.0)
    write_image(sheet, contact_sheet(COLUMNS, rows))


def _rows(
    recording: DemoRecording, pipeline: FusionPipeline, stamps: list[int]
) -> Iterator[list[Picture]]:
    """The four pictures of each moment."""
    to_gray = ThermalNormalizer()
    for stamp in stamps:
        infrared = codec.decode_infrared(recording.infrared[stamp])
        visible = codec.decode_visible(recording.visible[stamp])
        alone = pipeline.fuse(visible=visible, infrared=infrared).fused
        gray = gray_to_rgb(to_gray.normalize(infrared))
        yield [gray, visible, alone, codec.decode_visible(recording.fused[stamp])]
