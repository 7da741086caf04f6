"""Registration: the infrared image on the visible camera's pixels.

A :class:`Calibration` says which pixels correspond. A :class:`Registrar` warps infrared images by
maps that it computes once for each image size.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import Matrix, Points, Size
from dreamif_model.cameras import Camera
from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.registration.geometry import CameraPair, Homography, image_corners, transform

FEATHER_PX = 16.0  # visible pixels over which infrared fades out before it ends
ASPECT_TOLERANCE = 0.01
OVERLAP_POINTS = 256  # along each side of the visible image
COARSE_STEP = 8  # visible pixels; what lenses bend in between is below 1/32 infrared pixel
SHIFT_POINTS = 9  # along each side of the visible image
OUTSIDE = "the calibration puts the infrared image outside the visible one: calibrate again"
Resizable = TypeVar("Resizable", NDArray[np.uint8], NDArray[np.float32])  # gray (H, W)


@dataclass(frozen=True, eq=False)
class Calibration:
    """How the pixels and the clocks of both cameras correspond.

    It holds for images of the calibrated sizes and for images scaled from them.

    Attributes:
        geometry: which infrared pixel belongs to a visible pixel.
        infrared_size: (width, height) in pixels.
        visible_size: (width, height) in pixels.
        clock_offset_s: seconds to add to infrared stamps to be on the visible camera's clock;
            None if not measured.
        residual_px: distance of independent estimates, or of a board's corners, in visible pixels;
            None if not measured.
        adjustment: (4, 2), how far infrared is moved after all this, by the moves of the corners
            of an image of the calibrated visible size, clockwise from the first pixel; None for
            not at all. No file has it.

    Raises:
        ConfigError: a size is below 1 pixel.
    """

    geometry: Homography | CameraPair
    infrared_size: Size
    visible_size: Size
    clock_offset_s: float | None = None
    residual_px: float | None = None
    adjustment: Points | None = None

    def __post_init__(self) -> None:
        for name in ("infrared_size", "visible_size"):
            if min(getattr(self, name)) < 1:
                raise ConfigError(
                    f"{name} must be width and height in pixels, got {getattr(self, name)}"
                )

    def to_infrared(self, pixels: Points, infrared_size: Size, visible_size: Size) -> Points:
        """Look up the infrared positions of visible pixels.

        Args:
            pixels: (N, 2), x and y in the visible image; the centre of its first pixel is (0, 0).
            infrared_size: (width, height) of the infrared image in pixels.
            visible_size: (width, height) of the visible image in pixels.

        Returns:
            (N, 2), x and y in the infrared image; NaN where there is none.

        Raises:
            ImageError: an image's ratio of width to height is not the calibrated one.
        """
        visible_scale = _scale(Camera.VISIBLE, visible_size, self.visible_size)
        infrared_scale = _scale(Camera.INFRARED, infrared_size, self.infrared_size)
        calibrated = (pixels + 0.5) / visible_scale - 0.5  # pixels are areas: edges stay edges
        with np.errstate(all="ignore"):  # positions that overflow are outside
            if self.adjustment is not None:
                calibrated = transform(self._unadjusted, calibrated)
            found = self.geometry.to_infrared(calibrated)
            return (found + 0.5) * infrared_scale - 0.5

    @property
    def _unadjusted(self) -> Matrix:
        """(3, 3), from an adjusted visible pixel to where it was."""
        own = image_corners(self.visible_size).astype(np.float32)
        moved = own + np.asarray(self.adjustment, np.float32)
        return np.asarray(cv2.getPerspectiveTransform(moved, own), np.float64)

    def at(self, distance_m: float) -> Calibration:
        """The same cameras, for a scene at another distance.

        Args:
            distance_m: depth along the visible camera's axis in metres, above 0.

        Returns:
            That calibration.

        Raises:
            ConfigError: the calibration is a homography, which holds at one distance only.
        """
        if isinstance(self.geometry, Homography):
            raise ConfigError(
                "a homography holds at one distance only: for other distances the calibration "
                "must have both cameras (model: cameras), as `dreamif calibrate --board 6x5:0.03 "
                "--distance METRES` writes it"
            )
        return replace(self, geometry=replace(self.geometry, distance_m=distance_m))

    def shift_px(self, other: Calibration) -> float:
        """Measure how far infrared moves if another calibration is used.

        Args:
            other: of the same cameras.

        Returns:
            The maximum over some visible pixels, in infrared pixels; infinite where none of them
            sees infrared with either.
        """
        points = _spread(self.visible_size, SHIFT_POINTS)
        sizes = self.infrared_size, self.visible_size
        places = [calibration.to_infrared(points, *sizes) for calibration in (self, other)]
        seen = _covered(places[0], sizes[0]) | _covered(places[1], sizes[0])
        moved = np.linalg.norm(places[0] - places[1], axis=1)[seen]
        known = moved[np.isfinite(moved)]
        return float(known.max()) if known.size else np.inf


def _scale(camera: Camera, size: Size, calibrated: Size) -> NDArray[np.float64]:
    scale: NDArray[np.float64] = np.array(size, np.float64) / calibrated
    if abs(scale[0] / scale[1] - 1) > ASPECT_TOLERANCE:
        raise ImageError(
            f"the {camera} image is {size[0]}x{size[1]}, but the calibration is for "
            f"{calibrated[0]}x{calibrated[1]}, which has another shape: calibrate again"
        )
    return scale


class Registrar:
    """Warps infrared images to the visible camera's pixels; keeps the maps of the last sizes.

    Maps are made for images that come, never for the calibrated sizes alone, which a file may
    claim to be huge. ConfigError if infrared lies outside the visible image.
    """

    def __init__(self, calibration: Calibration, feather_px: float = FEATHER_PX) -> None:
        if not feather_px >= 0:
            raise ConfigError(f"feather_px must be 0 pixels or more, got {feather_px}")
        self.calibration, self.feather_px = calibration, feather_px
        self._warp: Warp | None = None
        _check_lens_sizes(calibration)
        _check_overlap(calibration)

    def warp(self, infrared_shape: tuple[int, ...], visible_shape: tuple[int, ...]) -> Warp:
        """The warp from (h, w) to (H, W); ImageError if the calibration does not fit these."""
        infrared_size = (infrared_shape[1], infrared_shape[0])
        visible_size = (visible_shape[1], visible_shape[0])
        if self._warp is None or self._warp.sizes != (infrared_size, visible_size):
            pixels = _pixels(visible_size)
            points = self.calibration.to_infrared(pixels, infrared_size, visible_size)
            self._warp = Warp(points, infrared_size, visible_size, self.feather_px)
        return self._warp

    def moved(self, calibration: Calibration) -> Registrar:
        """A registrar for another distance of the same cameras, its warp ready for the last sizes.

        It is made while frames are fused, so positions are computed at every COARSE_STEP pixels
        only, and interpolated. ConfigError if infrared lies outside the visible image.
        """
        other, before = copy(self), self._warp
        other.calibration = calibration
        if before:
            other._warp = Warp(_coarse(calibration, *before.sizes), *before.sizes, self.feather_px)
        else:
            _check_overlap(calibration)
        return other


class Warp:
    """Bilinear look-up of an infrared image at given points, one for each visible pixel.

    Positions are rounded to 1/32 pixel.

    Attributes:
        coverage: (H, W) float32: 0 where infrared does not reach, and rising to 1 over
            ``feather_px`` inside that border.
        covers_all: infrared reaches every visible pixel, so that coverage is 1 everywhere.
    """

    def __init__(
        self,
        points: Points,
        infrared_size: Size,
        visible_size: Size,
        feather_px: float = FEATHER_PX,
    ) -> None:
        self.sizes = infrared_size, visible_size
        shape = visible_size[1], visible_size[0]
        covered = _covered(points, infrared_size).reshape(shape)
        if not covered.any():
            raise ConfigError(OUTSIDE)
        self.coverage = _feathered(covered, feather_px)
        self.covers_all = bool(covered.all())
        places = points.reshape(*shape, 2)
        steps = _shrink(places, covered)
        self._size = tuple(
            max(1, side // step) for side, step in zip(infrared_size, steps, strict=True)
        )
        places = (places + 0.5) * (np.array(self._size) / infrared_size) - 0.5
        places = np.nan_to_num(places, nan=0.0).clip(-1, self._size).astype(np.float32)
        x, y = np.moveaxis(places, -1, 0)
        self._maps = cv2.convertMaps(x, y, cv2.CV_16SC2)
        self._nearest = _nearest(points, covered, infrared_size)

    def __call__(self, infrared: Resizable) -> Resizable:
        """Warp (h, w), uint8 or float32, to (H, W); border pixels repeat beyond the image."""
        if self._size != self.sizes[0]:
            infrared = cast(
                "Resizable", cv2.resize(infrared, self._size, interpolation=cv2.INTER_AREA)
            )
        x, y = self._maps
        warped = cv2.remap(infrared, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cast("Resizable", warped)

    def nearest(self, infrared: NDArray[Any]) -> NDArray[Any]:
        """Look up (h, w) of any type at the nearest pixels: (H, W) without values in between.

        NaN, or 0 in whole numbers, where infrared does not reach.
        """
        outside = np.nan if np.issubdtype(infrared.dtype, np.floating) else 0
        return np.asarray(
            cv2.remap(
                infrared,
                self._nearest,
                np.empty(0, np.uint16),  # no places between pixels
                cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=outside,
            )
        )


def _check_lens_sizes(calibration: Calibration) -> None:
    """ConfigError if a camera's intrinsics are for images of another size than calibrated."""
    for camera in Camera:
        lens = getattr(calibration.geometry, camera.value)
        size = getattr(calibration, f"{camera.value}_size")
        if lens and lens.size != size:
            raise ConfigError(
                f"the {camera} camera's intrinsics are for {lens.size[0]}x{lens.size[1]}, but the "
                f"calibration is for {size[0]}x{size[1]}: calibrate both at one size"
            )


def _check_overlap(calibration: Calibration) -> None:
    """ConfigError if none of up to OVERLAP_POINTS² visible points lies in the infrared image."""
    sizes = calibration.infrared_size, calibration.visible_size
    points = _spread(sizes[1], OVERLAP_POINTS)
    if not _covered(calibration.to_infrared(points, *sizes), sizes[0]).any():
        raise ConfigError(OUTSIDE)


def _spread(size: Size, count: int) -> Points:
    """Pixels of an image, up to ``count`` along each side: (N, 2)."""
    x, y = (np.unique(np.linspace(0, side - 1, count).round()) for side in size)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def _coarse(calibration: Calibration, infrared_size: Size, visible_size: Size) -> Points:
    """Infrared positions of all visible pixels, bilinear between every COARSE_STEP of them."""
    count = tuple(-(-(side - 1) // COARSE_STEP) + 1 for side in visible_size)
    nodes = _pixels((count[0], count[1])) * COARSE_STEP
    found = calibration.to_infrared(nodes, infrared_size, visible_size)
    planes = found.reshape(count[1], count[0], 2).astype(np.float32)
    x, y = (np.arange(side, dtype=np.float32) / COARSE_STEP for side in visible_size)
    x, y = np.meshgrid(x, y)
    places = cv2.remap(planes, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return places.reshape(-1, 2).astype(np.float64)


def _covered(points: Points, infrared_size: Size) -> NDArray[np.bool_]:
    """Which points lie within the infrared image, up to rounding."""
    reach = (points >= -0.5 - 1e-6) & (points <= np.array(infrared_size) - 0.5 + 1e-6)
    return np.asarray(reach.all(axis=1))


def _nearest(points: Points, covered: NDArray[np.bool_], infrared_size: Size) -> NDArray[np.int16]:
    """(H, W, 2), x and y of the nearest infrared pixel; -1 where there is none."""
    places = np.nan_to_num(points).reshape(*covered.shape, 2).round()
    places = places.clip(0, np.array(infrared_size) - 1)
    return np.where(covered[..., None], places, -1).astype(np.int16)


def _pixels(size: Size) -> Points:
    """All pixels of an image, row by row: (width · height, 2)."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.column_stack((x.ravel(), y.ravel())).astype(np.float64)


def _feathered(covered: NDArray[np.bool_], feather_px: float) -> NDArray[np.float32]:
    """Smoothstep of the distance to the nearest pixel that is not covered."""
    if covered.all():
        return np.ones(covered.shape, np.float32)
    distance = cv2.distanceTransform(covered.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(distance / np.float32(feather_px + 1), 0, 1)
    smooth: NDArray[np.float32] = (share * share * (3 - 2 * share)).astype(np.float32)
    return smooth


def _shrink(points: NDArray[np.float64], covered: NDArray[np.bool_]) -> tuple[int, int]:
    """How many infrared pixels to average for one visible pixel, along the infrared x and y.

    points: (H, W, 2). Rounded down, so that no detail is lost that bilinear look-up can show.
    """
    if min(covered.shape) < 2:
        return 1, 1
    steps = []
    for axis in (0, 1):
        step = np.hypot(*np.gradient(points[..., axis]))
        known = step[covered & np.isfinite(step)]
        steps.append(max(1, int(np.median(known) + 1e-6)) if known.size else 1)
    return steps[0], steps[1]


def resize_nearest(image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Resize an image of any type to (H, W), each pixel a copy of the nearest one."""
    size = shape[1], shape[0]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST_EXACT))


def resize(image: Resizable, shape: tuple[int, ...]) -> Resizable:
    """Resize a gray image to (H, W): area means along a side that shrinks, else bilinear.

    Returns the image itself if it has this shape.
    """
    shrunk = min(image.shape[0], shape[0]), min(image.shape[1], shape[1])
    for (height, width), how in ((shrunk, cv2.INTER_AREA), (shape, cv2.INTER_LINEAR)):
        if image.shape != (height, width):
            image = cast("Resizable", cv2.resize(image, (width, height), interpolation=how))
    return image
