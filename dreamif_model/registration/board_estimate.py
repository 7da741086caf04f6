"""Lenses and the alignment of both cameras, from the points of a board that both see."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import FloatImage, Points, Size
from dreamif_model.cameras import Both
from dreamif_model.errors import CalibrationError
from dreamif_model.registration.board import Board
from dreamif_model.registration.geometry import CameraPair, Homography, Intrinsics

MIN_LENS_PAIRS = 8
MAX_LENS_ERROR_PX = 1.0  # root mean square of a lens that is estimated
MIN_TURN_DEG = 15.0  # between two of the board's planes: parallel ones do not tell a focal length
MAX_FOCAL_DOUBT = 0.01  # standard deviation of a focal length, relative to it
MIN_COVERAGE = 0.1  # of the visible image, by the hull of all points
MAX_RESIDUAL = 0.005  # of the diagonal of the image in which it is measured
OUTLIER_PX = 3.0  # visible pixels
Geometry = TypeVar("Geometry", Homography, CameraPair)


@dataclass(frozen=True)
class BoardFit(Generic[Geometry]):
    """A geometry and the distances, in pixels, between found points and those that it predicts.

    median_px, max_px: of all points. held_out_px: median of points in pairs from which their
    geometry was not computed; None for one pair.
    """

    geometry: Geometry
    median_px: float
    max_px: float
    held_out_px: float | None

    @property
    def residual_px(self) -> float:
        """The median of held out points where there are any, else of all."""
        return self.median_px if self.held_out_px is None else self.held_out_px


def estimate_lens(board: Board, points: Points, size: Size) -> Intrinsics:
    """Estimate a camera's matrix and distortion (k1, k2, p1, p2; k3 = 0).

    Args:
        board: the board.
        points: (pairs, points, 2), its pixels.
        size: (width, height) of the images in pixels.

    Raises:
        CalibrationError: the points do not tell.
    """
    if len(points) < MIN_LENS_PAIRS:
        raise CalibrationError(
            f"pairs in which both cameras see the board: {len(points)}, needed {MIN_LENS_PAIRS}"
        )
    error, matrix, distortion, turns, _, doubts, *_ = cv2.calibrateCameraExtended(
        [board.points] * len(points),
        list(points.astype(np.float32)),
        size,
        np.eye(3),
        np.zeros(5),
        flags=cv2.CALIB_FIX_K3,
    )
    if not _widest_turn(turns) >= MIN_TURN_DEG:
        raise CalibrationError(
            f"all boards are within {_widest_turn(turns):.0f} degrees of each other (needed "
            f"{MIN_TURN_DEG:g}): tilt the board in several directions"
        )
    doubt = float((doubts.ravel()[:2] / np.diag(matrix)[:2]).max())
    if not doubt <= MAX_FOCAL_DOUBT:
        raise CalibrationError(
            f"the focal length is known to {100 * doubt:.2g} % only: tilt the board in several "
            "directions"
        )
    if not error <= MAX_LENS_ERROR_PX:
        raise CalibrationError(f"no lens fits the points: they are off by {error:.1f} pixels")
    return Intrinsics(size, np.asarray(matrix, np.float64), tuple(distortion.ravel()[:5].tolist()))


def _widest_turn(turns: Sequence[NDArray[Any]]) -> float:
    """The largest angle, in degrees, between the normals of boards turned by these vectors."""
    normals = np.array([cv2.Rodrigues(turn)[0][:, 2] for turn in turns])
    return math.degrees(math.acos(np.clip((normals @ normals.T).min(), -1, 1)))


def fit_plane(
    points: Both[Points], lenses: Both[Intrinsics | None], visible_size: Size
) -> BoardFit[Homography]:
    """Estimate the homography from infrared to visible pixels, without what lenses distort.

    Args:
        points: (pairs, points, 2) of each camera.
        lenses: of each camera; None if not known, and so taken as free of distortion.
        visible_size: (width, height) in pixels.

    Returns:
        The homography, and its errors in visible pixels.

    Raises:
        CalibrationError: the points cover too little of the image, or do not fit each other.
    """

    def fit(points: Both[Points]) -> Homography:
        return _homography(points, lenses)

    def errors(geometry: Homography, points: Both[Points]) -> FloatImage:
        moved = geometry.to_visible(points.infrared.reshape(-1, 2))
        return _distances(moved, points.visible.reshape(-1, 2))

    _refuse_small(points.visible, visible_size)
    found = _judged(points, fit, errors)
    _refuse_large(found, visible_size)
    return found


def fit_cameras(
    board: Board, points: Both[Points], lenses: Both[Intrinsics], distance_m: float
) -> BoardFit[CameraPair]:
    """Estimate how both cameras are placed, of a board whose spacing is known.

    Args:
        board: the board, with its spacing.
        points: (pairs, points, 2) of each camera.
        lenses: of each camera.
        distance_m: of the scenes that are to be registered.

    Returns:
        The cameras, and their errors in infrared pixels.

    Raises:
        CalibrationError: the points cover too little of the image, or do not fit each other.
    """

    def fit(points: Both[Points]) -> CameraPair:
        return _cameras(board, points, lenses, distance_m)

    def errors(geometry: CameraPair, points: Both[Points]) -> FloatImage:
        rays = [_infrared_rays(board, geometry, seen) for seen in points.visible]
        moved = geometry.infrared.project(np.concatenate(rays))
        return _distances(moved, points.infrared.reshape(-1, 2))

    _refuse_small(points.visible, lenses.visible.size)
    found = _judged(points, fit, errors)
    _refuse_large(found, lenses.infrared.size)
    return found


def _judged(
    points: Both[Points],
    fit: Callable[[Both[Points]], Geometry],
    errors: Callable[[Geometry, Both[Points]], FloatImage],
) -> BoardFit[Geometry]:
    geometry = fit(points)
    all_errors = errors(geometry, points)
    count = len(points.visible)
    left_out = []
    for i in range(count if count > 1 else 0):
        others = Both(*(np.delete(seen, i, axis=0) for seen in points))
        one = Both(*(seen[i : i + 1] for seen in points))
        left_out.append(errors(fit(others), one))
    held_out = float(np.median(np.concatenate(left_out))) if left_out else None
    return BoardFit(geometry, float(np.median(all_errors)), float(all_errors.max()), held_out)


def _homography(points: Both[Points], lenses: Both[Intrinsics | None]) -> Homography:
    infrared, visible = (
        lens.undistort(seen.reshape(-1, 2)) if lens else seen.reshape(-1, 2)
        for lens, seen in zip(lenses, points, strict=True)
    )
    known = np.isfinite(infrared).all(axis=1) & np.isfinite(visible).all(axis=1)
    matrix = None
    if known.sum() >= 4:
        matrix, _ = cv2.findHomography(infrared[known], visible[known], cv2.RANSAC, OUTLIER_PX)
    if matrix is None:
        raise CalibrationError("the board's points give no homography: take other pairs")
    return Homography(np.asarray(matrix, np.float64), *lenses)


def _cameras(
    board: Board, points: Both[Points], lenses: Both[Intrinsics], distance_m: float
) -> CameraPair:
    infrared, visible = lenses
    seen = points.map(lambda pixels: list(pixels.astype(np.float32)))
    _, _, _, _, _, rotation, translation, *_ = cv2.stereoCalibrate(
        [board.points] * len(seen.visible),
        seen.visible,
        seen.infrared,
        visible.matrix,
        np.array(visible.distortion),
        infrared.matrix,
        np.array(infrared.distortion),
        visible.size,
        flags=cv2.CALIB_FIX_INTRINSIC,
    )
    turned, moved = (np.asarray(found, np.float64) for found in (rotation, translation))
    return CameraPair(infrared, visible, turned, moved.ravel(), distance_m)


def _infrared_rays(board: Board, cameras: CameraPair, visible: Points) -> Points:
    """Rays of the board's points to the infrared camera; its pose is from the visible image."""
    lens = cameras.visible
    _, turned, moved = cv2.solvePnP(board.points, visible, lens.matrix, np.array(lens.distortion))
    placed = board.points @ cv2.Rodrigues(turned)[0].T + moved.ravel()
    seen = placed @ cameras.rotation.T + cameras.translation
    return np.asarray(seen[:, :2] / seen[:, 2:], np.float64)


def _distances(points: Points, others: Points) -> FloatImage:
    """(N,) pixels; infinite where a point is not known."""
    distances = np.linalg.norm(points - others, axis=1)
    return np.where(np.isfinite(distances), distances, np.inf)


def _refuse_small(visible: Points, size: Size) -> None:
    hull = cv2.convexHull(visible.reshape(-1, 2).astype(np.float32))
    share = float(cv2.contourArea(hull)) / (size[0] * size[1])
    if not share >= MIN_COVERAGE:
        raise CalibrationError(
            f"the board covers {100 * share:.1f} % of the visible image (at least "
            f"{100 * MIN_COVERAGE:g} %): bring it nearer, or take pairs all over the image"
        )


def _refuse_large(found: BoardFit[Geometry], size: Size) -> None:
    limit = MAX_RESIDUAL * math.hypot(*size)
    if not found.residual_px <= limit:
        raise CalibrationError(
            f"the board's points in both images differ by {found.residual_px:.1f} pixels (at most "
            f"{limit:.1f}): give the lenses by --ir-camera and --vi-camera, or {MIN_LENS_PAIRS} "
            "pairs with a tilted board; hold it still, at one distance or with --distance"
        )
