"""What the check of the alignment says of real cameras, for docs/registration.md.

python benchmarks/drift.py --data ../shared/data
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dreamif_model.arrays import Points, Size
from dreamif_model.cameras import Both
from dreamif_model.errors import CalibrationError
from dreamif_model.image_files import find_pairs, read_gray
from dreamif_model.registration.drift import LOOKS, Drift, LaidPair, displacement, size_px
from dreamif_ros.evaluation.footage import thermal_gray, visible_luma
from dreamif_ros.fusion.parameters import RegistrationSettings

LIMIT_PX = RegistrationSettings().drift_px
SHIFT_PX = 4.0
CROP = 8  # a part of this size is left out of each side length, somewhere else in each frame
EVERY = 15  # frames of a clip: a look every half second
SINGLE = ("roadscene", "msrs", "llvip")
CLIPS = ("0113_1714", "0117_1605")
ORDERS = 100  # in which the scenes of one camera come
Grays = Both[np.ndarray]  # (H, W) uint8, infrared on the visible pixels
Look = Points | None


@dataclass
class Said:
    """What was said of sequences: aligned frames, then frames of moved infrared."""

    sequences: int = 0
    judged: int = 0  # sequences in which the start was known
    false: int = 0  # of these, those with an alarm while nothing had moved
    found: int = 0  # of these, those with an alarm at the end
    errors: list[float] | None = None  # of the move that was found, in pixels

    def add(self, size: Size, aligned: Sequence[Look], moved: Sequence[Look], move: Points) -> None:
        """Give one sequence's looks to the check."""
        drift, alarms = Drift(size), 0
        self.sequences += 1
        for look in filter(_is_known, aligned):
            drift.add(look)
            alarms += drift.moves is not None and size_px(drift.moves) > LIMIT_PX
        if drift.moves is None:
            return
        self.judged += 1
        self.false += alarms > 0
        for look in filter(_is_known, moved):
            drift.add(look)
        found = size_px(drift.moves) > LIMIT_PX
        self.found += found
        if found:
            error = float(np.linalg.norm(drift.moves.mean(axis=0) + move))
            self.errors = [*(self.errors or []), error]

    def row(self, name: str) -> str:
        error = f"{np.median(self.errors):.2f}" if self.errors else ""
        cells = (name, self.sequences, self.judged, self.false, self.found, error)
        return f"| {' | '.join(map(str, cells))} |"


def _is_known(look: Look) -> bool:
    return look is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with pairs and video")
    parser.add_argument("--step", type=int, default=1, help="of the trembling pairs, take each …th")
    options = parser.parse_args()
    rng = np.random.default_rng(2026)
    head = ("frames", "sequences", "judged", "alarms, nothing moved", f"{SHIFT_PX:g} px found")
    print(f"| {' | '.join(head)} | error, px |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in SINGLE:
        pairs = list(read_pairs(options.data / "pairs" / name))
        said = trembling(pairs[:: options.step], rng)
        print(said.row(f"{name}, one pair, trembling"), flush=True)
        if name != "roadscene":  # whose pairs were aligned by hand, one by one
            print(one_camera(pairs, rng, ORDERS).row(f"{name}, pairs in random order"), flush=True)
    for name in CLIPS:
        frames = list(read_clip(options.data / "video", name))
        print(one_camera(frames, rng, 1).row(f"clip {name}"), flush=True)


def trembling(pairs: Sequence[Grays], rng: np.random.Generator) -> Said:
    """For each pair a sequence: frames are parts of it, as if the rig had turned a little."""
    said = Said()
    for pair in pairs:
        move = random_move(rng)
        aligned = [look(_part(pair, rng)) for _ in range(2 * LOOKS)]
        shifted = shift(pair, move)
        moved = [look(_part(shifted, rng)) for _ in range(LOOKS)]
        said.add(_part(pair, rng).visible.shape[::-1], aligned, moved, move)
    return said


def one_camera(frames: Sequence[Grays], rng: np.random.Generator, orders: int) -> Said:
    """All frames as one sequence of one rig; again with moved infrared."""
    said, move = Said(), random_move(rng)
    looks = [(look(_part(f)), look(_part(shift(f, move)))) for f in frames]
    for _ in range(orders):
        order = rng.permutation(len(looks)) if orders > 1 else range(len(looks))
        aligned, moved = zip(*(looks[place] for place in order), strict=True)
        said.add(frames[0].visible.shape[::-1], aligned, moved, move)
    return said


def look(pair: Grays) -> Look:
    """Where infrared fits best; None where the edges do not tell."""
    try:
        return displacement(LaidPair(pair.infrared, pair.visible))
    except CalibrationError:
        return None


def random_move(rng: np.random.Generator) -> Points:
    """(2,): SHIFT_PX in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return SHIFT_PX * np.array([np.cos(angle), np.sin(angle)])


def shift(pair: Grays, move: Points) -> Grays:
    """Infrared moved on the visible pixels."""
    matrix = np.column_stack((np.eye(2), move))
    size = pair.infrared.shape[::-1]
    moved = cv2.warpAffine(pair.infrared, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return Both(moved, pair.visible)


def _part(pair: Grays, rng: np.random.Generator | None = None) -> Grays:
    """A part of both images, somewhere or in the middle, without what a move brought in."""
    left = [side // CROP for side in pair.visible.shape]
    y, x = (rng.integers(SHIFT_PX, side - SHIFT_PX) if rng else side // 2 for side in left)
    height, width = (side - out for side, out in zip(pair.visible.shape, left, strict=True))
    return pair.map(lambda image: np.ascontiguousarray(image[y : y + height, x : x + width]))


def read_pairs(folder: Path) -> Iterator[Grays]:
    for pair in find_pairs(folder / "ir", folder / "vi"):
        grays = thermal_gray(read_gray(pair.infrared)), visible_luma(read_gray(pair.visible))
        yield Both(*grays).map(lambda gray: np.rint(255 * gray).astype(np.uint8))


def read_clip(folder: Path, name: str) -> Iterator[Grays]:
    clips = Both(*(cv2.VideoCapture(str(folder / kind / f"{name}.mp4")) for kind in ("ir", "vi")))
    count = 0
    while True:
        infrared, visible = (clip.read() for clip in clips)
        if not (infrared[0] and visible[0]):
            return
        if count % EVERY == 0:
            yield Both(infrared[1][..., 1], visible[1][..., 1])
        count += 1


if __name__ == "__main__":
    main()
