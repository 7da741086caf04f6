"""Dominance maps smoothed over frames where nothing moves, and replaced where something does."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from dreamif_model.arrays import FloatImage, FloatPair, GrayImage
from dreamif_model.errors import ConfigError

BLOCK = 8  # pixels, about; the inputs' means over such squares are compared, to reduce noise
REACH = 2  # blocks around a change where maps are new too, because the network sees so far
NOISE_MARGIN = 4.0  # times the noise of the blocks: a smaller change counts as noise
MIN_CHANGE, MAX_CHANGE = 0.02, 0.06  # of [0, 1]; limits of the change that counts as noise
LAPLACIAN = np.array((1.0, -2.0, 1.0))  # along both axes; slopes and straight edges give 0
LAPLACIAN_MEDIAN = 6 * 0.6745  # median absolute response to noise of σ = 1 (Immerkær 1996)
NEAR = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)


class DominanceSmoother:
    """Keeps the last maps and block means of the images that they belong to.

    Where neither input has changed, ``share`` of the old maps stays. On and around a change the
    maps are the new ones, so that moving objects leave no trail. The block means are smoothed like
    the maps, so that slow changes add up until they count.
    """

    def __init__(self, share: float = 0.0) -> None:
        self.share = share
        self._kept: tuple[FloatPair, FloatPair] | None = None

    @property
    def share(self) -> float:
        """Share of the old maps that stays where nothing moves, in [0, 1); 0 is off."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        if not 0 <= share < 1:
            raise ConfigError(f"dominance smoothing must be in [0, 1), got {share}")
        self._share = share
        if not share:
            self.reset()

    def reset(self) -> None:
        """Forget the frames so far."""
        self._kept = None

    def smooth(self, dominance: FloatPair, infrared: GrayImage, visible: GrayImage) -> FloatPair:
        """Smooth the maps (2, h, w) of a frame whose images are (H, W).

        Maps and images show the same view; h×w may be much smaller than H×W. After a change of
        size the maps are returned as they are. Later calls do not change the returned array.
        """
        if not self._share:
            return dominance
        blocks = np.stack([_blocks(image) for image in (infrared, visible)])
        sizes = dominance.shape, blocks.shape
        if self._kept and tuple(planes.shape for planes in self._kept) == sizes:
            old_dominance, old_blocks = self._kept
            stays = np.float32(self._share) * _stillness(blocks, old_blocks)
            blocks += stays * (old_blocks - blocks)
            dominance = dominance + _resized(stays, dominance.shape[1:]) * (
                old_dominance - dominance
            )
        self._kept = dominance.copy(), blocks
        return dominance


def _blocks(image: GrayImage) -> FloatImage:
    """Means over squares, in [0, 1]."""
    rows, columns = (-(-side // BLOCK) for side in image.shape)
    means = cv2.resize(image.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return cast("FloatImage", means) / np.float32(255)


def _stillness(blocks: FloatPair, old: FloatPair) -> FloatImage:
    """1 where no block within reach changed by more than noise, 0 for twice that and more."""
    changes = [
        np.abs(now - before) / min(max(NOISE_MARGIN * _noise(now), MIN_CHANGE), MAX_CHANGE)
        for now, before in zip(blocks, old, strict=True)
    ]
    nearby = cv2.dilate(np.maximum(*changes), NEAR)
    return cast("FloatImage", np.clip(2 - nearby, 0, 1))


def _noise(blocks: FloatImage) -> float:
    """σ of an input's noise, estimated from one frame so that motion does not count."""
    response = cv2.sepFilter2D(
        blocks, cv2.CV_32F, LAPLACIAN, LAPLACIAN, borderType=cv2.BORDER_REPLICATE
    )
    return float(np.median(np.abs(response))) / LAPLACIAN_MEDIAN


def _resized(stays: FloatImage, shape: tuple[int, ...]) -> FloatImage:
    return cast("FloatImage", cv2.resize(stays, shape[::-1], interpolation=cv2.INTER_LINEAR))
