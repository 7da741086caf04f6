"""Steadier dominance maps: smoothed over frames where nothing moves, new at once where it does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamif_model.errors import ConfigError

BLOCK = 8  # pixels; inputs are compared by the means of such squares, which have little noise
REACH = 2  # blocks; how far around a change the maps are new: what the network saw of it
NOISE_MARGIN = 4.0  # times the noise of the blocks, up to which a change counts as noise
LEAST, MOST = 0.02, 0.06  # of [0, 1]; such a change is still noise, or no more, whatever that is
LAPLACIAN = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))  # blind to slopes and edges
LAPLACIAN_MEDIAN = 6 * 0.6745  # of its absolute response to noise of σ = 1 (Immerkær 1996)


class DominanceSmoother:
    """Keeps the last maps, and what the cameras then saw.

    Where neither input has changed since, ``share`` of the old maps stays; where one has, and
    around it, the maps are the new ones, so that nothing trails behind what moves. The inputs
    are kept as smoothly as the maps: a slow change adds up until it counts.
    """

    def __init__(self, share: float = 0.0) -> None:
        self.share = share
        self._kept: tuple[Tensor, Tensor] | None = None

    @property
    def share(self) -> float:
        """Share of the old maps that stays where nothing moves, in [0, 1); 0 is off."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        if not 0 <= share < 1:
            raise ConfigError(f"dominance smoothing must be in [0, 1), got {share}")
        self._share = share

    def reset(self) -> None:
        """Forget the frames so far."""
        self._kept = None

    def smooth(self, dominance: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
        """Return the maps (2, H, W) of a frame, smoothed; those of a new size as they are.

        infrared, visible: (1, C, H', W') in [0, 1], what the maps were made of, H' and W' no
        less than H and W. What is returned is not written into later.
        """
        if not self._share:
            self.reset()
            return dominance
        seen = torch.cat([image.mean(1) for image in (infrared, visible)])[None]
        blocks = F.avg_pool2d(seen, BLOCK, ceil_mode=True)  # (1, 2, h, w)
        if self._kept is not None and self._kept[0].shape == dominance.shape:
            old_dominance, old_blocks = self._kept
            stays = self._share * _stillness(blocks, old_blocks)
            blocks = torch.lerp(blocks, old_blocks, stays)
            dominance = torch.lerp(dominance, old_dominance, _enlarged(stays, dominance))
        self._kept = dominance.clone(), blocks
        return dominance


def _stillness(blocks: Tensor, old: Tensor) -> Tensor:
    """1 where no block within reach changed by more than noise, 0 from twice that on.

    Two (1, 2, h, w) to (1, 1, h, w).
    """
    noise = (NOISE_MARGIN * _noise(blocks)).clamp(LEAST, MOST)
    nearby = ((blocks - old).abs() / noise).amax(1, keepdim=True)
    for rows, columns in ((REACH, 0), (0, REACH)):  # the maximum of a square, along each side
        window, padding = (2 * rows + 1, 2 * columns + 1), (rows, columns)
        nearby = F.max_pool2d(nearby, window, stride=1, padding=padding)
    return (2 - nearby).clamp(0, 1)


def _noise(blocks: Tensor) -> Tensor:
    """σ of the noise of both inputs (1, 2, 1, 1), from one frame, so that motion is none."""
    kernel = blocks.new_tensor(LAPLACIAN).expand(2, 1, 3, 3)
    padded = F.pad(blocks, (1, 1, 1, 1), mode="replicate")
    response = F.conv2d(padded, kernel, groups=2).abs().flatten(2)
    return response.median(2).values[..., None, None] / LAPLACIAN_MEDIAN


def _enlarged(stays: Tensor, maps: Tensor) -> Tensor:
    """Blocks (1, 1, h, w) to the pixels of maps (2, H, W): (1, H, W)."""
    pixels = F.interpolate(stays, scale_factor=BLOCK, mode="bilinear", align_corners=False)
    return pixels[0, :, : maps.shape[1], : maps.shape[2]]
