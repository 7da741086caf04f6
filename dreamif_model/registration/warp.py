"""Registration: the infrared image on the visible camera's pixels, on the model's device.

A :class:`Calibration` says where the pixels lie; a :class:`Registrar` looks the infrared image up
there, by one grid that is computed once per image size.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.registration.geometry import CameraPair, Homography, Points

FEATHER_PX = 16.0  # visible pixels over which infrared fades out before it ends
ASPECT_TOLERANCE = 0.01
Size = tuple[int, int]  # (width, height) in pixels


@dataclass(frozen=True, eq=False)
class Calibration:
    """How two cameras see the same: for images of these sizes (width, height), or scaled ones.

    clock_offset_s: seconds to add to infrared stamps to be on the visible camera's clock.
    residual_px: visible pixels, how far independent estimates lay apart. None: not measured.
    """

    geometry: Homography | CameraPair
    infrared_size: Size
    visible_size: Size
    clock_offset_s: float | None = None
    residual_px: float | None = None

    def __post_init__(self) -> None:
        for name in ("infrared_size", "visible_size"):
            if min(getattr(self, name)) < 1:
                raise ConfigError(
                    f"{name} must be width and height in pixels, got {getattr(self, name)}"
                )

    def to_infrared(self, pixels: Points, infrared_size: Size, visible_size: Size) -> Points:
        """Visible pixels to infrared pixels, (N, 2) both, in images of these sizes.

        NaN where there is none. ImageError where an image has another shape than calibrated.
        """
        visible_scale = _scale("visible", visible_size, self.visible_size)
        infrared_scale = _scale("infrared", infrared_size, self.infrared_size)
        calibrated = (pixels + 0.5) / visible_scale - 0.5  # pixels are areas: edges stay edges
        found = self.geometry.to_infrared(calibrated)
        return (found + 0.5) * infrared_scale - 0.5


def _scale(camera: str, size: Size, calibrated: Size) -> NDArray[np.float64]:
    scale: NDArray[np.float64] = np.array(size, np.float64) / calibrated
    if abs(scale[0] / scale[1] - 1) > ASPECT_TOLERANCE:
        raise ImageError(
            f"the {camera} image is {size[0]}x{size[1]}, but the calibration is for "
            f"{calibrated[0]}x{calibrated[1]}, which has another shape: calibrate again"
        )
    return scale


class Registrar:
    """Warps infrared images to the visible camera's pixels; keeps the grid of the last sizes.

    It begins with the calibrated sizes. ConfigError where infrared misses the visible image.
    """

    def __init__(
        self,
        calibration: Calibration,
        device: torch.device | str = "cpu",
        feather_px: float = FEATHER_PX,
    ) -> None:
        if not feather_px >= 0:
            raise ConfigError(f"feather_px must be 0 pixels or more, got {feather_px}")
        self.calibration, self.feather_px = calibration, feather_px
        self._device = torch.device(device)
        self._warp = self._make_warp(calibration.infrared_size, calibration.visible_size)

    def warp(self, infrared_shape: tuple[int, ...], visible_shape: tuple[int, ...]) -> Warp:
        """The warp from (h, w) to (H, W); ImageError where the calibration is not for them."""
        infrared_size = (infrared_shape[1], infrared_shape[0])
        visible_size = (visible_shape[1], visible_shape[0])
        if self._warp.sizes != (infrared_size, visible_size):
            self._warp = self._make_warp(infrared_size, visible_size)
        return self._warp

    def _make_warp(self, infrared_size: Size, visible_size: Size) -> Warp:
        points = self.calibration.to_infrared(_pixels(visible_size), infrared_size, visible_size)
        return Warp(points, infrared_size, visible_size, self._device, self.feather_px)


class Warp:
    """Bilinear look-up of an infrared image at given points, one per visible pixel.

    coverage: (H, W) float32 on the device: 0 where infrared does not reach, rising to 1 within
    ``feather_px`` inside; 1 everywhere where it reaches every visible pixel.
    """

    def __init__(
        self,
        points: Points,
        infrared_size: Size,
        visible_size: Size,
        device: torch.device,
        feather_px: float = FEATHER_PX,
    ) -> None:
        self.sizes = infrared_size, visible_size
        shape = visible_size[1], visible_size[0]
        reach = (points >= -0.5 - 1e-6) & (points <= np.array(infrared_size) - 0.5 + 1e-6)
        covered: NDArray[np.bool_] = np.asarray(reach.all(axis=1)).reshape(shape)
        if not covered.any():
            raise ConfigError(
                "the calibration puts the infrared image outside the visible one: calibrate again"
            )
        self.coverage = torch.from_numpy(_feathered(covered, feather_px)).to(device)
        self._shrink = _shrink(points.reshape(*shape, 2), covered)
        normalized = (2 * points + 1) / np.array(infrared_size) - 1  # edges at -1 and 1
        grid = np.nan_to_num(normalized, nan=0.0).clip(-2, 2).astype(np.float32)
        self._grid = torch.from_numpy(grid.reshape(1, *shape, 2)).to(device)
        self._device = device

    def __call__(self, infrared: NDArray[np.float32]) -> Tensor:
        """(h, w) float32 to (H, W) on the device; beyond the image its last pixels go on."""
        image = torch.from_numpy(np.require(infrared, requirements=("C", "W")))
        if self._device.type == "cuda":
            image = image.pin_memory()
        image = image.to(self._device, non_blocking=True)[None, None]
        if self._shrink != (1, 1):
            image = F.interpolate(image, self._shrunk(image), mode="area")
        warped = F.grid_sample(
            image, self._grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return warped[0, 0]

    def _shrunk(self, image: Tensor) -> tuple[int, int]:
        height, width = image.shape[2:]
        return max(1, height // self._shrink[1]), max(1, width // self._shrink[0])


def _pixels(size: Size) -> Points:
    """All pixels of an image, row by row: (width · height, 2)."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.column_stack((x.ravel(), y.ravel())).astype(np.float64)


def _feathered(covered: NDArray[np.bool_], feather_px: float) -> NDArray[np.float32]:
    """Smoothstep of the distance to the nearest pixel that is not covered; 0 there."""
    if covered.all():
        return np.ones(covered.shape, np.float32)
    distance = cv2.distanceTransform(covered.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    share = np.clip(distance / np.float32(feather_px + 1), 0, 1)
    smooth: NDArray[np.float32] = (share * share * (3 - 2 * share)).astype(np.float32)
    return smooth


def _shrink(points: NDArray[np.float64], covered: NDArray[np.bool_]) -> tuple[int, int]:
    """Infrared pixels per visible pixel, along the infrared x and y: as many are averaged.

    points: (H, W, 2). Rounded down, so that nothing is averaged that bilinear look-up can tell.
    """
    if min(covered.shape) < 2:
        return 1, 1
    steps = []
    for axis in (0, 1):
        step = np.hypot(*np.gradient(points[..., axis]))
        known = step[covered & np.isfinite(step)]
        steps.append(max(1, int(np.median(known) + 1e-6)) if known.size else 1)
    return steps[0], steps[1]


def resize(image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Bilinear, antialiased where it shrinks; the image itself where the size fits."""
    if image.shape == size:
        return image
    resized = F.interpolate(
        torch.from_numpy(image)[None, None], size, mode="bilinear", antialias=True
    )
    return resized[0, 0].numpy()
