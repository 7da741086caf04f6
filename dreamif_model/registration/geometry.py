"""The positions of visible pixels in the infrared image, by a homography or two cameras.

Pixels are (x, y), the centre of the first pixel at (0, 0). A pixel without a counterpart (behind
the camera, or outside the range of the lens model) becomes NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import Matrix, Points, Size
from dreamif_model.errors import ConfigError

DISTORTION_MODELS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8,)}  # coefficient counts
UNDISTORT_STEPS = 100
UNDISTORT_TOLERANCE = 1e-6  # focal lengths: a thousandth of a pixel at a focal length of 1000
MAX_CONDITION = 1e15  # of a matrix that is inverted: a float64 has 16 digits
MAX_RAY = 6.0  # tan of 80 degrees, the maximum angle between a ray and the axis


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """A camera as OpenCV and ``sensor_msgs/CameraInfo`` describe it.

    size: (width, height) in pixels. matrix: (3, 3), ``k`` row by row. distortion: k1, k2, p1, p2,
    k3 of ``plumb_bob``, followed by k4, k5, k6 of ``rational_polynomial``; empty for none.
    """

    size: Size
    matrix: Matrix
    distortion: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"

    def __post_init__(self) -> None:
        counts = DISTORTION_MODELS.get(self.distortion_model)
        if counts is None:
            raise ConfigError(
                f"distortion model {self.distortion_model!r} is unknown: expected "
                f"{' or '.join(DISTORTION_MODELS)}"
            )
        if len(self.distortion) not in counts:
            raise ConfigError(
                f"{self.distortion_model} takes {' or '.join(map(str, counts))} distortion "
                f"coefficients, got {len(self.distortion)}"
            )
        if not np.isfinite(self.distortion).all():
            raise ConfigError(f"distortion coefficients must be finite, got {self.distortion}")
        _check_size(self.size)
        _check_camera_matrix(self.matrix)

    @classmethod
    def from_camera_info(cls, info: Any) -> Intrinsics:
        """Convert a ``sensor_msgs/CameraInfo``, or an object with its fields.

        Binning and regions of interest are ignored, because ``k`` is for the full image.
        ConfigError if the message is zero, as that of an uncalibrated camera is.
        """
        return cls(
            (int(info.width), int(info.height)),
            np.array(info.k, np.float64).reshape(3, 3),
            tuple(float(value) for value in info.d),
            info.distortion_model or "plumb_bob",
        )

    def project(self, rays: Points) -> Points:
        """Rays (x / z, y / z) to pixels, (N, 2) both; NaN outside the range of the lens model."""
        bent = _distort(rays, self.distortion)
        bent[(rays**2).sum(axis=1) > _max_radius(self.distortion) ** 2] = np.nan
        return bent @ self.matrix[:2, :2].T + self.matrix[:2, 2]

    def rays(self, pixels: Points) -> Points:
        """The inverse of :meth:`project`, by fixed-point iteration as in OpenCV."""
        bent = (pixels - self.matrix[:2, 2]) @ np.linalg.inv(self.matrix[:2, :2]).T
        return _undistort(bent, self.distortion)

    def undistort(self, pixels: Points) -> Points:
        """Pixels of this camera to those of one with its matrix and no distortion, (N, 2) both."""
        return self.rays(pixels) @ self.matrix[:2, :2].T + self.matrix[:2, 2]

    def distort(self, pixels: Points) -> Points:
        """The inverse of :meth:`undistort`."""
        inverse = np.linalg.inv(self.matrix[:2, :2])
        return self.project((pixels - self.matrix[:2, 2]) @ inverse.T)


@dataclass(frozen=True, eq=False)
class Homography:
    """A plane, or a distant scene, seen by two cameras.

    matrix: (3, 3), infrared pixel to visible pixel. infrared, visible: the lens of a camera; if it
    is known, the matrix is for pixels without its distortion (:meth:`Intrinsics.undistort`).
    """

    matrix: Matrix
    infrared: Intrinsics | None = None
    visible: Intrinsics | None = None

    def __post_init__(self) -> None:
        check_matrix("homography", self.matrix, (3, 3))
        with np.errstate(all="ignore"):  # what overflows has no inverse either
            regular = self.matrix[2, 2] != 0 and _has_inverse(self._normalized)
        if not regular:
            raise ConfigError(f"the homography has no inverse: {self.matrix.tolist()}")

    def to_infrared(self, pixels: Points) -> Points:
        """Visible pixels to infrared pixels, (N, 2) both."""
        inverse = np.linalg.inv(self._normalized).astype(np.float64)
        return _through(self.visible, inverse, self.infrared, pixels)

    def to_visible(self, pixels: Points) -> Points:
        """Infrared pixels to visible pixels, (N, 2) both."""
        return _through(self.infrared, self._normalized, self.visible, pixels)

    @property
    def _normalized(self) -> Matrix:
        """The matrix scaled so that the first infrared pixel has depth 1."""
        normalized: Matrix = self.matrix / self.matrix[2, 2]
        return normalized


@dataclass(frozen=True, eq=False)
class CameraPair:
    """Two calibrated cameras and the distance of the scene.

    rotation (3, 3) and translation (3,) in metres transform a point from the visible camera's
    coordinates to the infrared camera's (x right, y down, z forward), as ``cv2.stereoCalibrate``
    returns them with the visible camera first. distance_m: depth along the visible camera's axis.
    """

    infrared: Intrinsics
    visible: Intrinsics
    rotation: Matrix
    translation: Matrix
    distance_m: float

    def __post_init__(self) -> None:
        check_matrix("rotation", self.rotation, (3, 3))
        check_matrix("translation", self.translation, (3,))
        with np.errstate(all="ignore"):  # what overflows is no rotation
            turned_back = self.rotation @ self.rotation.T
        if not np.abs(turned_back - np.eye(3)).max() <= 1e-3 or np.linalg.det(self.rotation) < 0:
            raise ConfigError(f"the rotation is no rotation matrix: {self.rotation.tolist()}")
        if not 0 < self.distance_m < np.inf:
            raise ConfigError(f"distance_m must be above 0 m, got {self.distance_m}")

    def to_infrared(self, pixels: Points) -> Points:
        """Visible pixels to infrared pixels, (N, 2) both."""
        rays = self.visible.rays(pixels)
        points = np.column_stack((rays, np.ones(len(rays)))) * self.distance_m
        seen = points @ self.rotation.T + self.translation
        depth = np.where(seen[:, 2:] > 0, seen[:, 2:], np.nan)
        return self.infrared.project(seen[:, :2] / depth)


def image_corners(size: Size) -> Points:
    """The centres of an image's corner pixels (4, 2), clockwise from the first pixel."""
    right, bottom = size[0] - 1, size[1] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float64)


def transform(matrix: Matrix, pixels: Points) -> Points:
    """Transform (N, 2) by a homography (3, 3); NaN for points behind the camera."""
    moved = pixels @ matrix[:, :2].T + matrix[:, 2]
    result: Points = moved[:, :2] / np.where(moved[:, 2:] > 0, moved[:, 2:], np.nan)
    return result


def _through(
    origin: Intrinsics | None, matrix: Matrix, target: Intrinsics | None, pixels: Points
) -> Points:
    """Pixels of one camera to those of the other: undistorted, transformed, distorted."""
    straight = origin.undistort(pixels) if origin else pixels
    moved = transform(matrix, straight)
    return target.distort(moved) if target else moved


def check_matrix(name: str, matrix: Matrix, shape: tuple[int, ...]) -> None:
    """ConfigError if the matrix has another shape or is not finite."""
    if matrix.shape != shape or not np.isfinite(matrix).all():
        size = "×".join(map(str, shape))
        raise ConfigError(f"the {name} must be {size} finite numbers, got {matrix.tolist()}")


def _check_camera_matrix(matrix: Matrix) -> None:
    check_matrix("camera matrix", matrix, (3, 3))
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise ConfigError(
            f"the camera matrix needs focal lengths above 0, got {matrix.tolist()}: a camera_info "
            "of zeros is of an uncalibrated camera"
        )
    if not _has_inverse(matrix[:2, :2]):
        raise ConfigError(f"the camera matrix has no inverse: {matrix.tolist()}")


def _has_inverse(matrix: Matrix) -> bool:
    """Whether it can be inverted with some digits left; NaN and infinite ones cannot."""
    if not np.isfinite(matrix).all():
        return False
    return bool(abs(np.linalg.det(matrix)) >= 1e-12 and np.linalg.cond(matrix) < MAX_CONDITION)


def _check_size(size: Size) -> None:
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"an image size must be (width, height) in pixels, got {size}")


def _coefficients(distortion: tuple[float, ...]) -> tuple[float, ...]:
    return (*distortion, *(0.0,) * (8 - len(distortion)))


def _radial(squared: NDArray[np.float64], distortion: tuple[float, ...]) -> NDArray[np.float64]:
    """The radial factor for rays of squared radius r²."""
    k1, k2, _, _, k3, k4, k5, k6 = _coefficients(distortion)
    factor: NDArray[np.float64] = (1 + squared * (k1 + squared * (k2 + squared * k3))) / (
        1 + squared * (k4 + squared * (k5 + squared * k6))
    )
    return factor


def _tangential(rays: Points, distortion: tuple[float, ...]) -> Points:
    p1, p2 = _coefficients(distortion)[2:4]
    x, y = rays.T
    squared = x * x + y * y
    return np.column_stack(
        (
            2 * p1 * x * y + p2 * (squared + 2 * x * x),
            p1 * (squared + 2 * y * y) + 2 * p2 * x * y,
        )
    )


def _distort(rays: Points, distortion: tuple[float, ...]) -> Points:
    """Radial factor and tangential shift, as in OpenCV's documentation of calib3d."""
    squared = (rays**2).sum(axis=1, keepdims=True)
    return rays * _radial(squared, distortion) + _tangential(rays, distortion)


def _undistort(bent: Points, distortion: tuple[float, ...]) -> Points:
    """The inverse of :func:`_distort`; NaN if the iteration does not converge."""
    if not any(distortion):
        return bent
    rays = bent.copy()
    with np.errstate(all="ignore"):  # diverging points become NaN below
        for _ in range(UNDISTORT_STEPS):
            squared = (rays**2).sum(axis=1, keepdims=True)
            new = (bent - _tangential(rays, distortion)) / _radial(squared, distortion)
            moved = np.abs(new - rays).max(axis=1)
            rays = new
            if moved.max(initial=0.0) < UNDISTORT_TOLERANCE / 10:
                break
        missed = np.abs(_distort(rays, distortion) - bent).max(axis=1)
        too_wide = (rays**2).sum(axis=1) > _max_radius(distortion) ** 2
    rays[~(missed < UNDISTORT_TOLERANCE) | too_wide] = np.nan
    return rays


def _max_radius(distortion: tuple[float, ...]) -> float:
    """The largest radius before the distorted radius shrinks again."""
    if not any(distortion):
        return np.inf
    radii = np.linspace(0, MAX_RAY, 6001)
    bent = radii * _radial(radii**2, distortion)
    folded = np.flatnonzero(~(np.diff(bent) > 0))
    return float(radii[folded[0]]) if folded.size else MAX_RAY
