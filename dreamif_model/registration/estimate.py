"""How an infrared image lies on a visible one: a homography estimated from pairs of images.

Alignment is judged by the edges, see :mod:`dreamif_model.registration.alignment`. The sum of
products of two fields of doubled angles over all shifts is one FFT's work, so a search over scales
and rotations at low resolution finds where to start; an ascent over the four corners, from coarse
to fine, finishes. It is done three times: for each half of a checkerboard over the visible image,
whose answers know nothing of each other, and for the whole.

Points are (x, y) in pixels, the centre of the first pixel at (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dreamif_model.errors import CalibrationError, ImageError
from dreamif_model.registration.alignment import agreement, edge_threshold, gradient_field, smooth
from dreamif_model.registration.geometry import Matrix

Gray = NDArray[np.float32]
Item = TypeVar("Item")

MOST_PAIRS = 6  # that are looked at, chosen evenly
SMALLEST_SIDE = 32  # pixels
SEARCH_WIDTH = 160  # pixels of the visible image in the search
LEVEL_WIDTHS = (160, 320, 640)  # and in the ascent
SCALES = tuple(1.04**i for i in range(-8, 9))  # 0.73 to 1.37 times the concentric fit
ROTATIONS = tuple(math.radians(2 * i) for i in range(-3, 4))
GREATEST_SHIFT = 0.12  # of the visible width and height, around the concentric fit
MARGIN = 2.0  # infrared pixels at the border that smoothing has spoiled
BLOCKS = 8  # squares of the checkerboard along the width
STEPS = 40  # of the ascent, per level
STIFFNESS = 0.002  # of agreement per squared pixel (of 320 in the width) off a similarity
LEAST_AGREEMENT = 0.18  # unrelated photographs reach 0.15
GREATEST_RESIDUAL = 0.01  # of the visible diagonal


@dataclass(frozen=True)
class Alignment:
    """Where infrared pixels lie in the visible image."""

    homography: Matrix  # (3, 3), infrared pixel to visible pixel
    residual_px: float  # visible pixels: mean corner distance of the answers of two halves
    agreement: float  # of the edges in [-1, 1], see alignment_score; at most 320 pixels wide


def align(
    infrared: Sequence[Gray], visible: Sequence[Gray], finest_width: int = LEVEL_WIDTHS[-1]
) -> Alignment:
    """Estimate the homography from pairs of the same moment, each camera's of one size.

    infrared: (h, w) each, in [0, 1]. visible: luma (H, W) each, in [0, 1]. Found are shifts up to
    0.12 of the width and height, rotations to 6 degrees and scales of 0.73 to 1.37 around the
    infrared image that is centred on the visible one and covers it. finest_width: of the visible
    image in the last level, in pixels. CalibrationError where the images do not tell, because
    edges agree no better than by chance or the two halves disagree.
    """
    pairs = _Pairs(_stack(infrared, "infrared"), _stack(visible, "visible"))
    surfaces = _search(pairs)
    starts = [_start(pairs, surface) for surface in (*surfaces, sum(surfaces, torch.zeros(())))]
    widths = sorted({min(width, finest_width, pairs.visible_size[0]) for width in LEVEL_WIDTHS})
    levels = [_Level(pairs, width) for width in widths]
    corners = [
        _climb(levels, start, half) for half, start in zip((0, 1, None), starts, strict=True)
    ]
    residual = float((corners[0] - corners[1]).norm(dim=1).mean())
    judge = next(level for level in reversed(levels) if level.width <= LEVEL_WIDTHS[1])
    reached = float(judge.agreement(judge.to_level(corners[2])))
    _refuse_doubts(reached, residual, pairs)
    matrix = _homography(pairs.corners, corners[2]).numpy()
    return Alignment(matrix, residual, reached)


def _refuse_doubts(reached: float, residual: float, pairs: _Pairs) -> None:
    advice = "take sharp pairs of the same moment with edges that both cameras see"
    if not reached >= LEAST_AGREEMENT:
        raise CalibrationError(
            f"the edges of both cameras agree no better than chance would have it ({reached:.2f}, "
            f"needed {LEAST_AGREEMENT:g}): {advice}"
        )
    limit = GREATEST_RESIDUAL * math.hypot(*pairs.visible_size)
    if not residual <= limit:
        raise CalibrationError(
            f"two halves of the image say different things, {residual:.1f} pixels apart (at most "
            f"{limit:.1f}): {advice} all over the image"
        )


def _stack(images: Sequence[Gray], camera: str) -> Tensor:
    """(K, 1, H, W) of at most MOST_PAIRS images, chosen evenly."""
    if not images:
        raise CalibrationError(f"there are no {camera} images to calibrate from")
    shapes = {image.shape for image in images}
    if len(shapes) > 1 or len(images[0].shape) != 2:
        raise ImageError(f"the {camera} images must be (H, W) of one size, got {sorted(shapes)}")
    if min(images[0].shape) < SMALLEST_SIDE:
        raise ImageError(
            f"the {camera} images are {images[0].shape}, expected {SMALLEST_SIDE} pixels or more"
        )
    return torch.from_numpy(np.stack(evenly(images)).astype(np.float32))[:, None]


def evenly(items: Sequence[Item]) -> list[Item]:
    """As many as an estimate looks at, spread from the first to the last."""
    places = np.linspace(0, len(items) - 1, min(MOST_PAIRS, len(items))).round().astype(int)
    return [items[place] for place in places]


class _Pairs:
    """Images (K, 1, h, w) and (K, 1, H, W) in full size."""

    def __init__(self, infrared: Tensor, visible: Tensor) -> None:
        if len(infrared) != len(visible):
            raise ImageError(
                f"{len(infrared)} infrared and {len(visible)} visible images are no pairs"
            )
        self.infrared, self.visible = infrared, visible
        self.infrared_size = infrared.shape[3], infrared.shape[2]
        self.visible_size = visible.shape[3], visible.shape[2]
        width, height = self.infrared_size
        right, bottom = width - 1, height - 1
        self.corners = torch.tensor(
            [[0, 0], [right, 0], [right, bottom], [0, bottom]], dtype=torch.float64
        )
        # Visible pixels per infrared pixel where infrared just covers the visible image.
        self.fit = max(self.visible_size[0] / width, self.visible_size[1] / height)


class _Level:
    """Both cameras with the visible image ``width`` wide, and a pixel of both the same size."""

    def __init__(self, pairs: _Pairs, width: int) -> None:
        self.width, self._pairs = width, pairs
        factor = width / pairs.visible_size[0]
        visible = smooth(_resize(pairs.visible, factor))
        self.infrared = smooth(_resize(pairs.infrared, factor * pairs.fit))
        self.visible_shape, self.infrared_shape = visible.shape[2:], self.infrared.shape[2:]
        self.visible_field = gradient_field(visible, edge_threshold(visible))
        self.threshold = edge_threshold(self.infrared)
        self._visible_scale = _scale(self.visible_shape, pairs.visible_size)
        infrared_scale = _scale(self.infrared_shape, pairs.infrared_size)
        self.corners = (pairs.corners + 0.5) * infrared_scale - 0.5

    def to_level(self, corners: Tensor) -> Tensor:
        """Visible points of the full size here."""
        return (corners + 0.5) * self._visible_scale - 0.5

    def to_full(self, corners: Tensor) -> Tensor:
        """The inverse."""
        return (corners + 0.5) / self._visible_scale - 0.5

    def agreement(self, corners: Tensor, half: int | None = None) -> Tensor:
        """Of the edges, if the infrared corners lie there (4, 2) in this level's visible image."""
        points = _apply(_homography(corners, self.corners), self.visible_shape)
        weight = _inside(points, self.infrared_shape)
        if half is not None:
            weight = weight * _checkerboard(self.visible_shape)[half]
        field = gradient_field(_look_up(self.infrared, points), self.threshold)
        return agreement(field, self.visible_field, weight)


def _search(pairs: _Pairs) -> tuple[Tensor, Tensor]:
    """Excess over chance for every scale, rotation and shift, of each half of the checkerboard.

    Each (scales · rotations, rows, columns), the middle for no shift; not divided by the overlap,
    which would favour small ones.
    """
    level = _Level(pairs, min(SEARCH_WIDTH, pairs.visible_size[0]))
    shape = level.visible_shape
    reach = _reach(shape)
    padded = [side + greatest for side, greatest in zip(shape, reach, strict=True)]
    infrared = gradient_field(level.infrared, level.threshold)
    fields = [
        torch.fft.fft2(torch.view_as_complex(_last(level.visible_field * half)), padded)
        for half in _checkerboard(shape)
    ]
    surfaces: tuple[list[Tensor], list[Tensor]] = ([], [])
    for scale in SCALES:
        for rotation in ROTATIONS:
            similarity = _similarity(level, scale, rotation)
            points = _apply(torch.linalg.inv(similarity), shape)
            field = _look_up(infrared, points) * _inside(points, level.infrared_shape)
            turned = torch.view_as_complex(_last(field)) * np.exp(2j * rotation)
            spectrum = torch.fft.fft2(turned, padded).conj()
            for surface, visible in zip(surfaces, fields, strict=True):
                excess = torch.fft.ifft2((visible * spectrum).sum(dim=0)).real
                window = torch.roll(excess, reach, (0, 1))
                surface.append(window[: 2 * reach[0] + 1, : 2 * reach[1] + 1])
    return torch.stack(surfaces[0]), torch.stack(surfaces[1])


def _start(pairs: _Pairs, surface: Tensor) -> Tensor:
    """Infrared corners (4, 2) in the full visible image, at the greatest value."""
    level = _Level(pairs, min(SEARCH_WIDTH, pairs.visible_size[0]))
    pose, row, column = np.unravel_index(int(surface.argmax()), tuple(surface.shape))
    scale, rotation = divmod(int(pose), len(ROTATIONS))
    similarity = _similarity(level, SCALES[scale], ROTATIONS[rotation])
    reach = _reach(level.visible_shape)
    shift = torch.tensor([int(column) - reach[1], int(row) - reach[0]])
    return level.to_full(level.corners @ similarity[:2, :2].T + similarity[:2, 2] + shift)


def _climb(levels: Sequence[_Level], corners: Tensor, half: int | None) -> Tensor:
    for level in levels:
        corners = _ascend(level, corners, half)
    return corners


def _ascend(level: _Level, corners: Tensor, half: int | None) -> Tensor:
    """Infrared corners (4, 2) in the full visible image, moved to the best agreement near by."""
    start = level.to_level(corners)
    moved = torch.zeros_like(start, requires_grad=True)
    stiffness = STIFFNESS * (LEVEL_WIDTHS[1] / level.width) ** 2
    optimizer = torch.optim.LBFGS(
        [moved],
        max_iter=STEPS,
        tolerance_grad=1e-6,
        tolerance_change=1e-7,
        history_size=8,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = start + moved
        bent = _off_similarity(level.corners, found)
        value = stiffness * bent - level.agreement(found, half)
        value.backward()
        return value

    optimizer.step(loss)
    return level.to_full((start + moved).detach())


def _off_similarity(source: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of target (4, 2) to the best similarity of source (4, 2)."""
    before, after = (torch.complex(*(p - p.mean(dim=0)).unbind(1)) for p in (source, target))
    factor = (before.conj() * after).sum() / before.abs().square().sum()
    return (after - factor * before).abs().square().mean()


def _similarity(level: _Level, scale: float, rotation: float) -> Tensor:
    """(3, 3) infrared to visible pixel of a level, centre on centre."""
    cos, sin = scale * math.cos(rotation), scale * math.sin(rotation)
    linear = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    centres = [
        torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
        for height, width in (level.infrared_shape, level.visible_shape)
    ]
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[:2, :2], matrix[:2, 2] = linear, centres[1] - linear @ centres[0]
    return matrix


def _homography(source: Tensor, target: Tensor) -> Tensor:
    """(3, 3) that maps four points to four points, (4, 2) float64 each (Hartley & Zisserman, 4)."""
    unit = source.detach().abs().max()  # for the condition of the equations
    (x, y), (u, v) = (source / unit).unbind(1), (target / unit).unbind(1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows = (
        torch.stack((x, y, one, zero, zero, zero, -u * x, -u * y), dim=1),
        torch.stack((zero, zero, zero, x, y, one, -v * x, -v * y), dim=1),
    )
    solved = torch.linalg.solve(torch.cat(rows), torch.cat((u, v)))
    matrix = torch.cat((solved, one[:1])).view(3, 3)
    units = torch.stack((unit, unit, torch.ones_like(unit)))
    scaled = units[:, None] * matrix / units
    return scaled / scaled[2, 2]


def _apply(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """Where each pixel of an image (H, W) goes: (H, W, 2) float32."""
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    pixels = torch.stack((x, y, torch.ones_like(x)), dim=-1).float()
    moved = pixels @ matrix.float().T
    return moved[..., :2] / moved[..., 2:].clamp(min=1e-3)


def _look_up(image: Tensor, points: Tensor) -> Tensor:
    """(K, C, h, w) at points (H, W, 2), bilinear: (K, C, H, W)."""
    size = points.new_tensor((image.shape[3], image.shape[2]))
    grid = ((2 * points + 1) / size - 1)[None].expand(len(image), -1, -1, -1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _inside(points: Tensor, shape: Sequence[int]) -> Tensor:
    """(H, W) in [0, 1]: 1 for points well inside an image (h, w), with a ramp of one pixel."""
    far = points.new_tensor((shape[1] - 1, shape[0] - 1))
    return (torch.minimum(points, far - points).amin(dim=-1) - MARGIN).clamp(0, 1)


def _checkerboard(shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Its two halves (H, W), 0 or 1."""
    side = shape[1] / BLOCKS
    rows, columns = (torch.arange(n).div(side, rounding_mode="floor") for n in shape)
    odd = (rows[:, None] + columns) % 2
    return 1 - odd, odd


def _reach(shape: Sequence[int]) -> tuple[int, int]:
    """The greatest shift along y and x."""
    return math.ceil(GREATEST_SHIFT * shape[0]), math.ceil(GREATEST_SHIFT * shape[1])


def _resize(images: Tensor, factor: float) -> Tensor:
    size = [max(1, round(side * factor)) for side in images.shape[2:]]
    return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def _scale(shape: Sequence[int], size: tuple[int, int]) -> Tensor:
    return torch.tensor([shape[1] / size[0], shape[0] / size[1]], dtype=torch.float64)


def _last(field: Tensor) -> Tensor:
    """(K, 2, H, W) to (K, H, W, 2)."""
    return field.permute(0, 2, 3, 1).contiguous()
