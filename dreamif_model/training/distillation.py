"""Distillation: a small network learns from what a larger, trained one makes of the same input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamif_model.color import luma
from dreamif_model.network import DreamIF, NetworkOutput


@torch.no_grad()
def teach(teacher: DreamIF, infrared: Tensor, visible: Tensor) -> NetworkOutput:
    """The teacher's output for images (B, 1 or 3, H, W) in [0, 1], luma or RGB as they come."""
    if teacher.config.luma:
        infrared, visible = luma(infrared), luma(visible)
    else:
        infrared, visible = (image.expand(-1, 3, -1, -1) for image in (infrared, visible))
    output: NetworkOutput = teacher(infrared, visible)
    return output.float()


def distillation_loss(student: NetworkOutput, teacher: NetworkOutput) -> Tensor:
    """Sum of three mean absolute differences: fused luma, dominance maps, attention.

    Dominance maps are compared level by level from the coarsest, the teacher's resized to the
    student's. Attention A = Σ_c F_c² / ‖Σ_c F_c²‖ of the finest decoder features needs no equal
    number of channels (Zagoruyko & Komodakis 2017).
    """
    loss = F.l1_loss(luma(student.fused), luma(teacher.fused))
    if student.dominance and teacher.dominance:
        maps = [
            F.l1_loss(own, _resized(shown, own))
            for own, shown in zip(student.dominance, teacher.dominance, strict=True)
        ]
        loss = loss + torch.stack(maps).mean()
    shown = _attention(_resized(teacher.features, student.features))
    return loss + F.l1_loss(_attention(student.features), shown)


def _resized(image: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(image, like.shape[2:], mode="bilinear", align_corners=False)


def _attention(features: Tensor) -> Tensor:
    """(2B, C, h, w) to (2B, h·w), with a mean square of 1."""
    energy: Tensor = features.square().sum(1).flatten(1)
    return energy / energy.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
