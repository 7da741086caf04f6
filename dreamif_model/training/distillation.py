"""Distillation: a small network learns from what a larger, trained one makes of the same input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamif_model.color import luma
from dreamif_model.network import Network, NetworkOutput


@torch.no_grad()
def teach(teacher: Network, infrared: Tensor, visible: Tensor) -> NetworkOutput:
    """The teacher's output for images (B, 1 or 3, H, W) in [0, 1], luma or RGB as they come."""
    if teacher.config.luma:
        infrared, visible = luma(infrared), luma(visible)
    else:
        infrared, visible = (image.expand(-1, 3, -1, -1) for image in (infrared, visible))
    output: NetworkOutput = teacher(infrared, visible)
    return output.float()


def distillation_loss(student: NetworkOutput, teacher: NetworkOutput) -> Tensor:
    """Sum of two mean absolute differences: of fused luma, and of dominance maps.

    Dominance maps are compared level by level from the finest, as many as both networks have, the
    teacher's resized to the student's.
    """
    loss = F.l1_loss(luma(student.fused), luma(teacher.fused))
    maps = [
        F.l1_loss(own, _resized(shown, own))
        for own, shown in zip(student.dominance[::-1], teacher.dominance[::-1], strict=False)
    ]
    return loss + torch.stack(maps).mean() if maps else loss


def _resized(image: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(image, like.shape[2:], mode="bilinear", align_corners=False)
