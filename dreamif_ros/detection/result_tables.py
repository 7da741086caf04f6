"""What a detector found in all images, as numbers, tables and a picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from dreamif_model.comparison import CLEAN
from dreamif_ros.detection.annotations import Truth
from dreamif_ros.detection.boxes import draw_boxes
from dreamif_ros.detection.detector import Detections
from dreamif_ros.detection.examples import Found
from dreamif_ros.detection.judging import Count, Score, count, judge
from dreamif_ros.pictures import Picture, contact_sheet

CLASS_COLUMNS = 4  # of the most frequent, where there is no truth

FiguresByMethod = Mapping[str, Score | Count]  # by method
Table = tuple[list[str], list[list[str]]]  # header, rows


class Results:
    """What was found in all images, and the pictures of one example with boxes.

    Args:
        shown: place of that example among all.
        names: of the detector's classes.
        confidence: of the boxes that are found, counted and drawn.
    """

    def __init__(self, shown: int, names: Mapping[int, str], confidence: float) -> None:
        self.detections: dict[str, dict[str, list[Detections]]] = {}  # condition: method: images
        self.truths: list[Truth] = []
        self.names = names
        self.confidence = confidence
        self.shown = ""  # name of the example that is drawn
        self._place = shown
        self._rows: list[dict[str, Picture]] = []

    def add(self, found: Found, *, draw: bool) -> None:
        """Take one example under one condition."""
        methods = self.detections.setdefault(found.condition, {})
        for name, detections in found.detections.items():
            methods.setdefault(name, []).append(detections)
        if found.condition == CLEAN and found.truth is not None:
            self.truths.append(found.truth)
        if draw and len(methods["visible"]) == self._place + 1:
            self.shown = found.example
            self._rows.append(
                {name: self._drawn(found, name, image) for name, image in found.pictures.items()}
            )

    def figures(self, classes: Mapping[str, int]) -> dict[str, dict[str, Score | Count]]:
        """By condition and method; classes: those that are judged, where there is truth."""
        return {
            condition: {name: self._figure(images, classes) for name, images in methods.items()}
            for condition, methods in self.detections.items()
        }

    def sheet(self) -> Picture:
        """A column per method, a row per condition."""
        titles = list(self._rows[0])
        cells = [[row[title] for title in titles] for row in self._rows]
        return contact_sheet(titles, cells)

    def _figure(self, images: Sequence[Detections], classes: Mapping[str, int]) -> Score | Count:
        if not self.truths:
            return count(images, self.names, self.confidence)
        return judge(images, self.truths, classes, self.names, self.confidence)

    def _drawn(self, found: Found, name: str, picture: Picture) -> Picture:
        seen = found.detections[name]
        keep = seen.scores >= self.confidence
        sure = Detections(seen.boxes[keep], seen.scores[keep], seen.classes[keep], None)
        return draw_boxes(picture, sure, self.names)


def table_of(rows: FiguresByMethod, confidence: float) -> Table:
    """Header and rows: a row per method."""
    scores = {name: row for name, row in rows.items() if isinstance(row, Score)}
    counts = {name: row for name, row in rows.items() if isinstance(row, Count)}
    return _score_table(scores, confidence) if scores else _count_table(counts)


def _score_table(rows: Mapping[str, Score], confidence: float) -> Table:
    header = ["method", "objects", "precision", "recall", "mAP@.5", "mAP@.5:.95"]
    header += [f"found@{confidence:g}", f"found dark@{confidence:g}"]
    cells = []
    for name, row in rows.items():
        values = [row.precision, row.recall, row.map50, row.map50_95, row.found, row.found_dark]
        shown = ["-" if value is None else f"{value:.3f}" for value in values]
        cells.append([name, str(row.objects), *shown])
    if all(row.found_dark is None for row in rows.values()):
        return header[:-1], [row[:-1] for row in cells]
    return header, cells


def _count_table(rows: Mapping[str, Count]) -> Table:
    totals: Counter[str] = Counter()
    for row in rows.values():
        totals.update(row.classes)
    shown = [name for name, _ in totals.most_common(CLASS_COLUMNS)]
    cells = [
        [name, str(row.detections), str(row.images), _confidence(row.confidence)]
        + [str(row.classes.get(column, 0)) for column in shown]
        for name, row in rows.items()
    ]
    return ["method", "boxes", "images with any", "confidence", *shown], cells


def _confidence(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
