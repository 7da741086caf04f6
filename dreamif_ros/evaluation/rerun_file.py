"""Writes a recording for the Rerun viewer: pictures, boxes and numbers, by stamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dreamif_model import DreamIFError
from dreamif_ros.detection.detector import Detections
from dreamif_ros.evaluation.evaluation_results import FrameRow
from dreamif_ros.evaluation.result_files import row_values

SUFFIX = ".rrd"  # by which the viewer knows its files
INSTALL = "--rerun needs rerun-sdk: pip install 'dreamif_ros[rerun]'"
TIMELINE = "stamp"
PICTURES = ("infrared", "visible", "fused", "dominance")
BOXES = "fused/boxes"
# Folders of the numbers. A metric has a chart of its own, because their scales differ.
ROWS, METRICS, LATENCY = "rows", "metrics", "latency_ms"
_NO_CHART = ("index", "time_s", "stamp_ns")  # columns that only name the frame


def check_rerun() -> Any:
    """The module rerun; DreamIFError where it is not installed."""
    try:
        import rerun
        import rerun.blueprint
    except ModuleNotFoundError as error:
        raise DreamIFError(f"{INSTALL} (there is no {error.name})") from None
    return rerun


class RerunFile:
    """A recording that is written frame by frame. Not safe to use from several threads.

    path: of the file. bag: name of the recording. names: class names of the detector by number.
    """

    def __init__(self, path: Path, bag: str, names: Mapping[int, str]) -> None:
        self._rerun, self._names = check_rerun(), names
        self._stamps_ns: list[int] = []  # of the frames so far
        self._stream = self._rerun.RecordingStream("dreamif")
        self._stream.save(path, default_blueprint=self._blueprint())
        self._stream.send_recording_name(bag)

    def add(self, stamp_ns: int, found: Detections | None, jpegs: Mapping[str, bytes]) -> None:
        """Write the next frame.

        Args:
            stamp_ns: of the pair.
            found: objects in pixels of the fused image; None without a detector.
            jpegs: the content of a JPEG file for each of PICTURES.
        """
        self._stamps_ns.append(stamp_ns)
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))
        for name, jpeg in jpegs.items():
            image = self._rerun.EncodedImage(contents=jpeg, media_type="image/jpeg")
            self._stream.log(name, image)
        if found is not None:
            self._stream.log(BOXES, self._boxes(found))

    def add_numbers(self, rows: Sequence[FrameRow], seconds: Mapping[str, Sequence[float]]) -> None:
        """Write what is known of the frames, once all were added.

        Args:
            rows: one for each frame.
            seconds: that each stage took, one for each frame.
        """
        series = {
            f"{LATENCY}/{stage.replace(' ', '_')}": 1000 * np.array(took)
            for stage, took in seconds.items()
        }
        flat = [_chart_values(row) for row in rows]
        for name in dict.fromkeys(name for values in flat for name in values):
            series[name] = np.array([values.get(name, np.nan) for values in flat])
        stamps = np.array(self._stamps_ns, "datetime64[ns]")
        for name, values in series.items():
            known = np.isfinite(values)
            if known.any():
                times = self._rerun.TimeColumn(TIMELINE, timestamp=stamps[known])
                columns = self._rerun.Scalars.columns(scalars=values[known])
                self._stream.send_columns(name, [times], columns)

    def close(self) -> None:
        """Finish the file."""
        self._stream.disconnect()

    def _boxes(self, found: Detections) -> Any:
        scored = zip(found.classes, found.scores, strict=True)
        return self._rerun.Boxes2D(
            array=found.boxes,
            array_format=self._rerun.Box2DFormat.XYXY,
            labels=[f"{self._names[int(key)]} {score:.2f}" for key, score in scored],
            class_ids=found.classes,
        )

    def _blueprint(self) -> Any:
        """The cameras above, what fusion makes of them below, and the charts beside."""
        views = self._rerun.blueprint
        pictures = [views.Spatial2DView(origin=name, name=name) for name in PICTURES]
        charts = (LATENCY, f"{METRICS}/Qabf", ROWS)
        series = [views.TimeSeriesView(origin=name, name=name) for name in charts]
        grid = views.Grid(*pictures, grid_columns=2)
        return views.Blueprint(
            views.Horizontal(grid, views.Vertical(*series), column_shares=[2, 1])
        )


def _chart_values(row: FrameRow) -> dict[str, float]:
    """The numbers of a row by their path; metrics as ``metrics/Qabf/fused``."""
    others = row_values(replace(row, metrics={}))
    values = {
        f"{METRICS}/{metric}/{method}": score
        for method, scores in row.metrics.items()
        for metric, score in scores.items()
    }
    return values | {
        f"{ROWS}/{name}": value
        for name, value in others.items()
        if name not in _NO_CHART and value is not None
    }
