"""A calibration from footage: by the edges that both cameras see, or by a board."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreamif_model.arrays import Matrix
from dreamif_model.cameras import Both, Camera
from dreamif_model.errors import CalibrationError, ConfigError
from dreamif_model.registration.board import Board, Sightings, find_boards
from dreamif_model.registration.board_estimate import (
    BoardFit,
    estimate_lens,
    fit_cameras,
    fit_plane,
)
from dreamif_model.registration.calibration_file import read_intrinsics
from dreamif_model.registration.estimate import align
from dreamif_model.registration.geometry import CameraPair, Homography, Intrinsics
from dreamif_model.registration.warp import Calibration
from dreamif_ros.evaluation.footage import Footage

MAX_BOARD_PAIRS = 30
LENS_OPTIONS = Both("--ir-camera", "--vi-camera")


@dataclass(frozen=True)
class Calibrated:
    """A calibration, and how it was found: numbers for JSON, lines to print."""

    calibration: Calibration
    pairs_used: int
    numbers: dict[str, Any]
    lines: list[str]


@dataclass(frozen=True)
class BoardTask:
    """What is known of the board and of the cameras.

    lenses: files of camera_calibration. distance_m: of the scenes; None for a homography.
    """

    board: Board
    lenses: Both[Path | None]
    distance_m: float | None = None

    def __post_init__(self) -> None:
        if self.distance_m is None:
            return
        if not 0 < self.distance_m < float("inf"):
            raise ConfigError(f"--distance must be above 0 m, got {self.distance_m}")
        if self.board.spacing_m is None:
            raise ConfigError(
                f"--distance needs the side of the board's squares in metres, such as --board "
                f"{self.board}:0.03"
            )


def from_edges(footage: Footage) -> Calibrated:
    """The homography by which the edges of both cameras agree best."""
    found = align(footage.images.infrared, footage.images.visible)
    used = len(footage.images.visible)
    numbers = {
        "homography": found.homography.tolist(),
        "residual_px": found.residual_px,
        "agreement": found.agreement,
    }
    lines = [
        f"homography, infrared pixel to visible pixel, from {used} of {footage.available} pairs:",
        *_rows(found.homography),
        f"residual: {found.residual_px:.2f} px between the answers of two halves of the image",
    ]
    calibration = _calibration(footage, Homography(found.homography), found.residual_px)
    return Calibrated(calibration, used, numbers, lines)


def from_board(footage: Footage, task: BoardTask) -> Calibrated:
    """The geometry by which a board's points in both cameras agree best."""
    seen = find_boards(task.board, *footage.images)
    lenses, sources = _lenses(footage, task, seen)
    fit: BoardFit[Homography] | BoardFit[CameraPair]
    if task.distance_m is None:
        fit = fit_plane(seen.points, lenses, footage.sizes.visible)
    elif lenses.infrared and lenses.visible:
        known = Both(lenses.infrared, lenses.visible)
        fit = fit_cameras(task.board, seen.points, known, task.distance_m)
    else:
        unknown = "; ".join(f"{c}: {sources[c]}" for c, lens in lenses.items() if lens is None)
        raise CalibrationError(
            f"--distance needs both lenses ({unknown}): give {' and '.join(LENS_OPTIONS)}"
        )
    lines = [
        f"board {task.board}: infrared {seen.found.infrared}, visible {seen.found.visible}, both "
        f"{len(seen.points.visible)} of {seen.tried} pairs, chosen from {footage.available}",
        *(f"{camera} lens: {source}" for camera, source in sources.items()),
        *_geometry_lines(fit.geometry),
        _residual_line(fit),
    ]
    calibration = _calibration(footage, fit.geometry, fit.residual_px)
    return Calibrated(calibration, len(seen.points.visible), _numbers(fit, seen), lines)


def _lenses(
    footage: Footage, task: BoardTask, seen: Sightings
) -> tuple[Both[Intrinsics | None], Both[str]]:
    """Each camera's lens from its file, else from the board where it tells, and whence it is."""
    lenses: Both[Intrinsics | None] = Both(None, None)
    sources = Both("", "")
    for camera in Camera:
        path, size = task.lenses[camera], footage.sizes[camera]
        if path:
            lenses[camera] = _checked(read_intrinsics(path), camera, path, size)
            sources[camera] = f"from {path}"
            continue
        try:
            lens = estimate_lens(task.board, seen.points[camera], size)
        except CalibrationError as error:
            sources[camera] = f"none, {error}"
            continue
        lenses[camera] = lens
        sources[camera] = (
            f"estimated, focal lengths {lens.matrix[0, 0]:.1f} and {lens.matrix[1, 1]:.1f} px, "
            f"distortion {' '.join(f'{value:.4f}' for value in lens.distortion)}"
        )
    return lenses, sources


def _checked(lens: Intrinsics, camera: Camera, path: Path, size: tuple[int, int]) -> Intrinsics:
    if lens.size != size:
        raise ConfigError(
            f"{path} is for images of {lens.size[0]}x{lens.size[1]}, but the {camera} images are "
            f"{size[0]}x{size[1]}: take the file of this camera and mode"
        )
    return lens


def _calibration(
    footage: Footage, geometry: Homography | CameraPair, residual_px: float
) -> Calibration:
    offset = footage.clock_offset
    return Calibration(
        geometry,
        footage.sizes.infrared,
        footage.sizes.visible,
        None if offset is None else round(offset.seconds, 4),
        round(residual_px, 3),
    )


def _numbers(fit: BoardFit[Any], seen: Sightings) -> dict[str, Any]:
    geometry = fit.geometry
    plane = isinstance(geometry, Homography)
    return {
        "homography": geometry.matrix.tolist() if plane else None,
        "rotation": None if plane else geometry.rotation.tolist(),
        "translation": None if plane else geometry.translation.tolist(),
        "residual_px": fit.residual_px,
        "median_px": fit.median_px,
        "max_px": fit.max_px,
        "held_out_px": fit.held_out_px,
        "boards_infrared": seen.found.infrared,
        "boards_visible": seen.found.visible,
    }


def _geometry_lines(geometry: Homography | CameraPair) -> list[str]:
    if isinstance(geometry, CameraPair):
        moved = " ".join(f"{value:.4f}" for value in geometry.translation)
        return [
            "rotation from the visible camera to the infrared one:",
            *_rows(geometry.rotation),
            f"translation: {moved} m; the calibration is for {geometry.distance_m:g} m",
        ]
    straight = "" if geometry.infrared is geometry.visible is None else ", without distortion"
    return [
        f"homography, infrared pixel to visible pixel{straight}:",
        *_rows(geometry.matrix),
    ]


def _residual_line(fit: BoardFit[Any]) -> str:
    pixels = "visible" if isinstance(fit.geometry, Homography) else "infrared"
    text = f"residual: {fit.median_px:.2f} {pixels} px (median), max {fit.max_px:.2f}"
    if fit.held_out_px is None:
        return f"{text}; nothing held out of one pair"
    return f"{text}; {fit.held_out_px:.2f} in pairs held out"


def _rows(matrix: Matrix) -> Iterable[str]:
    return ("  " + " ".join(f"{value:12.6g}" for value in row) for row in matrix)
