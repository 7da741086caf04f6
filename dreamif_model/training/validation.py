"""Losses and a picture of validation pairs during a training run."""

from __future__ import annotations

from itertools import chain, islice, zip_longest
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dreamif_model.arrays import StoredImage
from dreamif_model.degradations.degrade import degrade
from dreamif_model.image_files import PairPaths
from dreamif_model.network import Network, NetworkOutput
from dreamif_model.tensor_images import luma, to_image, to_tensor
from dreamif_model.training import data
from dreamif_model.training.losses import total_loss
from dreamif_model.training.train_config import TrainConfig

PAIRS = 8  # watched during a training, taken from all data sets in turn
SIDE = 192  # pixels of the square taken from the middle of each pair
NOISE = 25.0  # gray levels, σ, in the noisy pass


class Validation:
    """Fixed crops of the validation split, which training never sees."""

    def __init__(self, config: TrainConfig, multiple: int, max_pairs: int = PAIRS) -> None:
        splits = [data.split()[1] for data in config.data]
        in_turn = chain.from_iterable(zip_longest(*splits))
        pairs = list(islice((pair for pair in in_turn if pair is not None), max_pairs))
        self.loss_weights = config.loss_weights
        side = SIDE // multiple * multiple
        self.pairs = [_crops(pair, side) for pair in pairs]

    @torch.inference_mode()
    def run(self, network: Network) -> tuple[dict[str, float], NDArray[np.uint8]]:
        """Mean losses, clean and noisy, and a picture (height, width, 3) RGB.

        The picture has two rows for each pair, clean and noisy. A row shows the infrared and
        visible input, the fused image and the infrared dominance.
        """
        losses: dict[str, list[float]] = {"validation_clean": [], "validation_noisy": []}
        rows = []
        for number, (infrared, rgb, salient) in enumerate(self.pairs):
            visible = luma(rgb) if network.config.luma else rgb
            clean = infrared.expand_as(visible), visible
            generator = torch.Generator().manual_seed(number)
            noisy = (
                degrade(clean[0], "gaussian", NOISE, generator),
                degrade(clean[1], "gaussian", NOISE, generator),
            )
            for name, shown in zip(losses, (clean, noisy), strict=True):
                device = network.output.weight.device
                output = network(shown[0][None].to(device), shown[1][None].to(device)).float()
                gray, color, salience = (t[None].to(device) for t in (*clean, salient))
                total, _ = total_loss(output, gray, color, salience, self.loss_weights)
                losses[name].append(float(total))
                rows.append(_row(*shown, output))
        means = {name: float(np.mean(values)) for name, values in losses.items()}
        return means, np.concatenate(rows)


def _crops(pair: PairPaths, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """The middle of a pair, and the salience of its infrared image there."""
    infrared = cast("NDArray[np.uint8]", pair.read_infrared())
    images = infrared[..., None], pair.read_visible(), data.salience(infrared)[..., None]
    gray, color, salient = (_middle(image, side) for image in images)
    return gray, color, salient


def _middle(image: StoredImage, side: int) -> Tensor:
    """The middle of an image, (C, side, side) in [0, 1]; smaller images are mirrored."""
    missing = [max(0, side - length) for length in image.shape[:2]]
    padded = np.pad(image, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")
    top, left = ((length - side) // 2 for length in padded.shape[:2])
    crop = padded[top : top + side, left : left + side]
    return to_tensor(crop)


def _row(infrared: Tensor, visible: Tensor, output: NetworkOutput) -> NDArray[np.uint8]:
    """One row of the picture, (side, 4·side, 3)."""
    fused = output.fused[0].cpu()
    tiles = [infrared, visible, fused]
    if output.dominance:
        dominance = torch.nn.functional.interpolate(output.dominance[-1], fused.shape[1:])
        tiles.append(dominance[0, :1].cpu())
    joined = torch.cat([tile.expand(3, -1, -1) for tile in tiles], dim=2)
    return to_image(joined)
