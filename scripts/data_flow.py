"""Draw docs/data_flow.svg: the way of an image from the cameras to people and detectors.

python scripts/data_flow.py > docs/data_flow.svg
"""

from __future__ import annotations

import sys
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1000, 390
ORANGE, BLUE, GREEN, GRAY, WHITE = "#fbe0c4", "#cfe2f7", "#d6ecd2", "#eeeeee", "#ffffff"


class Box(NamedTuple):
    """A box of the picture; the first line of its text is bold."""

    x: int
    y: int
    width: int
    height: int
    color: str
    lines: tuple[str, ...]

    @property
    def middle(self) -> int:
        """The y of its middle."""
        return self.y + self.height // 2


INFRARED = Box(15, 60, 165, 62, ORANGE, ("thermal camera", "infrared/image_raw", "counts or °C"))
VISIBLE = Box(15, 160, 165, 62, BLUE, ("visible camera", "visible/image_raw", "colour or gray"))
RECORDING = Box(15, 300, 165, 62, GRAY, ("recording", "dreamif bag evaluate", "the same steps"))
NODE = Box(205, 20, 505, 242, WHITE, ())
STEPS = (
    Box(220, 105, 105, 72, GRAY, ("pair", "nearest stamp,", "with offset")),
    Box(345, 60, 105, 62, ORANGE, ("gray levels", "stable range,", "bad pixels")),
    Box(470, 60, 105, 62, ORANGE, ("register", "infrared on", "visible pixels")),
    Box(595, 105, 100, 72, GREEN, ("fuse", "restore both,", "dominance")),
)
OUTPUTS = (
    Box(735, 20, 250, 44, GREEN, ("fused/image_raw", "for people: view, RViz, Foxglove")),
    Box(735, 74, 250, 44, GREEN, ("dominance/…", "weight of each camera per pixel")),
    Box(735, 128, 250, 44, ORANGE, ("infrared/registered", "temperature at each visible pixel")),
    Box(735, 182, 250, 44, GRAY, ("/diagnostics, fusion_mode", "images counted, faults named")),
    Box(735, 236, 250, 44, GREEN, ("fused/detection_image", "for detectors")),
)
DETECTOR = Box(735, 318, 250, 44, GRAY, ("detector_node", "YOLO: boxes, tracks, temperatures"))
REPORT = Box(
    345,
    300,
    230,
    62,
    GRAY,
    ("report.html, metrics, video", "what was recorded, what", "to do about it"),
)


def box(item: Box) -> str:
    """The rectangle and its centred lines."""
    top = item.middle - 8 * (len(item.lines) - 1) + 4
    parts = [
        f'<rect x="{item.x}" y="{item.y}" width="{item.width}" height="{item.height}" rx="6" '
        f'fill="{item.color}" stroke="#555"/>'
    ]
    for number, line in enumerate(item.lines):
        weight = ' font-weight="bold"' if number == 0 else ""
        place = f'x="{item.x + item.width // 2}" y="{top + 16 * number}"'
        parts.append(f'<text {place} text-anchor="middle"{weight}>{escape(line)}</text>')
    return "\n".join(parts)


def arrow(*points: tuple[int, int]) -> str:
    """A line through the points, with a head at the last one."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="#555" marker-end="url(#head)"/>'


def across(start: Box, end: Box) -> str:
    """An arrow from the right side of a box to the left side of another."""
    right, left = start.x + start.width, end.x
    bend, above, below = (right + left) // 2, start.middle, end.middle
    return arrow((right, above), (bend, above), (bend, below), (left, below))


def picture() -> str:
    """The whole file."""
    pair, gray, register, fuse = STEPS
    visible_way = 205  # y of the visible image's way to the fusion
    arrows = [
        across(INFRARED, pair),
        across(VISIBLE, pair),
        across(pair, gray),
        across(gray, register),
        across(register, fuse),
        arrow(
            (pair.x + 52, pair.y + pair.height),
            (pair.x + 52, visible_way),
            (fuse.x + 50, visible_way),
            (fuse.x + 50, fuse.y + fuse.height),
        ),
        *(across(fuse, output) for output in OUTPUTS),
        arrow((860, 280), (860, 318)),
        across(RECORDING, REPORT),
    ]
    titles = (
        '<text x="217" y="42" font-weight="bold">fusion_node</text>',
        '<text x="412" y="198">visible image</text>',
        '<text x="220" y="248">If one camera fails, the other one is published alone.</text>',
    )
    shapes = [box(NODE), *arrows, *titles]
    shapes += [box(b) for b in (INFRARED, VISIBLE, RECORDING, *STEPS, *OUTPUTS, DETECTOR, REPORT)]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="13">',
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" '
            'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            *shapes,
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    sys.stdout.write(picture())
