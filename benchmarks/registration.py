"""The error of `dreamif calibrate` and the pairs that it accepts, for docs/registration.md.

python benchmarks/registration.py                               # simulated cameras
python benchmarks/registration.py --pairs ../shared/data/pairs  # photographs too
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from dreamif_model.arrays import Matrix
from dreamif_model.errors import CalibrationError
from dreamif_model.image_files import PairPaths, find_pairs, read_gray
from dreamif_model.registration.estimate import Alignment, align
from dreamif_model.registration.geometry import CameraPair, Intrinsics, image_corners, transform
from dreamif_model.registration.warp import Calibration, Registrar
from dreamif_ros.evaluation.footage import GrayShares, thermal_gray, visible_luma
from dreamif_ros.scene import Scene, SceneConfig

SIZE = (640, 480)
SHIFT, ROTATION, SCALE = 40.0, 5.0, (0.8, 1.25)  # maximum pixels and degrees; range
TIMES = (0.5, 2.5)  # seconds, of the two simulated pairs
SETS = ("tno", "roadscene", "vifb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=20, help="number of each kind (default: 20)")
    parser.add_argument("--pairs", type=Path, help="folder with tno, roadscene and vifb")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(2026)
    distances()
    simulated(options.count, rng)
    if options.pairs:
        pairs = [
            p for s in SETS for p in find_pairs(*(options.pairs / s / n for n in ("ir", "vi")))
        ]
        moved_photographs(pairs, options.count, rng)
        unrelated_photographs(pairs, options.count, rng)


def distances() -> None:
    """Maps for another distance while frames are fused: their error, and the time that they take.

    Both lenses bend, the infrared one as that of the real pair in docs/registration.md.
    """
    infrared = _camera((640, 512), 400.0, (-0.4, 0.2, 0.0, 0.0, 0.0))
    for size, focal in (((640, 480), 600.0), ((1280, 1024), 1200.0)):
        visible = _camera(size, focal, (-0.1, 0.03, 0.0, 0.0, 0.0))
        pair = CameraPair(infrared, visible, np.eye(3), np.array([0.1, 0.0, 0.0]), 5.0)
        near, far = (Calibration(pair, infrared.size, size).at(metres) for metres in (5.0, 6.0))
        shapes = (infrared.size[1], infrared.size[0]), (size[1], size[0])
        before, begin = Registrar(near), time.process_time()
        exact = before.warp(*shapes)
        exact_s, begin = time.process_time() - begin, time.process_time()
        moved = before.moved(near).warp(*shapes)
        moved_s = time.process_time() - begin
        x, y = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in infrared.size))
        error = max(float(np.abs(moved(plane) - exact(plane)).max()) for plane in (x, y))
        print(
            f"another distance, infrared 640x512 on {size[0]}x{size[1]}: {1e3 * moved_s:.0f} ms of "
            f"one core, within {error:.3f} infrared px of the exact maps, which take "
            f"{1e3 * exact_s:.0f} ms; 0.1 m apart, 5 and 6 m differ by {near.shift_px(far):.1f} px"
        )


def _camera(size: tuple[int, int], focal: float, bends: tuple[float, ...]) -> Intrinsics:
    matrix = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    return Intrinsics(size, matrix, bends)


def simulated(count: int, rng: np.random.Generator) -> None:
    """Random transforms of the simulated infrared camera, whose truth is known."""
    errors, residuals, seconds = [], [], []
    for index in range(count):
        truth = random_transform(SIZE, rng)
        scene = Scene(SceneConfig(100 + index, homography=tuple(map(tuple, truth.tolist()))))
        infrared = [thermal_gray(scene.infrared(t)) for t in TIMES]
        visible = [visible_luma(scene.visible(t)) for t in TIMES]
        begin = time.process_time()
        found = align(infrared, visible)
        seconds.append(time.process_time() - begin)
        errors.append(corner_error(found.homography, truth, SIZE))
        residuals.append(found.residual_px)
    print(
        f"simulated, {count} random transforms: mean corner error {np.mean(errors):.2f} px, worst "
        f"{max(errors):.2f}; residual {np.mean(residuals):.2f}, worst {max(residuals):.2f}; "
        f"{np.mean(seconds):.1f} s of one core each"
    )


def moved_photographs(pairs: list[PairPaths], count: int, rng: np.random.Generator) -> None:
    """Photographs with and without a move of infrared: the answers must differ by the move."""
    accepted, off = 0, []
    for place in rng.choice(len(pairs), count, replace=False):
        infrared, visible = read(pairs[place])
        size = visible.shape[1], visible.shape[0]
        move = random_transform(size, rng, 0.5)
        moved = cv2.warpPerspective(
            infrared, np.linalg.inv(move), size, borderMode=cv2.BORDER_REFLECT
        )
        before = answer(infrared, visible)
        accepted += before is not None
        after = answer(np.asarray(moved, np.float32), visible)
        if before and after:
            off.append(corner_error(after.homography, before.homography @ move, size))
    print(
        f"photographs: {accepted} of {count} single pairs accepted; moved by a known transform, "
        f"{len(off)} of both accepted answers differ by {np.median(off):.2f} px (median), worst "
        f"{max(off):.2f}"
    )


def unrelated_photographs(pairs: list[PairPaths], count: int, rng: np.random.Generator) -> None:
    """Infrared images with visible images of other places."""
    accepted = 0
    for _ in range(count):
        first, second = rng.choice(len(pairs), 2, replace=False)
        accepted += answer(read(pairs[first])[0], read(pairs[second])[1]) is not None
    print(f"unrelated photographs: {accepted} of {count} accepted")


def answer(infrared: GrayShares, visible: GrayShares) -> Alignment | None:
    """The estimate from one pair, or None where refused."""
    try:
        return align([infrared], [visible])
    except CalibrationError:
        return None


def read(pair: PairPaths) -> tuple[GrayShares, GrayShares]:
    """Infrared and visible as gray in [0, 1]."""
    return thermal_gray(read_gray(pair.infrared)), visible_luma(read_gray(pair.visible))


def random_transform(size: tuple[int, int], rng: np.random.Generator, part: float = 1.0) -> Matrix:
    """Infrared to visible pixels of equal sizes, up to ``part`` of the maximum transform."""
    angle = math.radians(rng.uniform(-ROTATION, ROTATION) * part)
    scale = rng.uniform(*SCALE) ** part
    linear = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    centre = (np.array(size) - 1) / 2
    shift = rng.uniform(-SHIFT, SHIFT, 2) * part * size[0] / SIZE[0]
    matrix: Matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre + shift - linear @ centre
    return matrix


def corner_error(found: Matrix, truth: Matrix, size: tuple[int, int]) -> float:
    """Mean distance of the infrared image's corners, in visible pixels."""
    moved = [transform(matrix, image_corners(size)) for matrix in (found, truth)]
    return float(np.linalg.norm(moved[0] - moved[1], axis=1).mean())


if __name__ == "__main__":
    main()
