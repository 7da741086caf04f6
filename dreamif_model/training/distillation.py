"""Distillation: a small network learns a larger trained one's output.

The teacher sees the clean images, the student the degraded ones: so noise does not change what the
student makes of a scene.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamif_model.network import Network, NetworkOutput
from dreamif_model.tensor_images import luma
from dreamif_model.training.losses import sobel


@torch.no_grad()
def teach(teacher: Network, infrared: Tensor, visible: Tensor) -> NetworkOutput:
    """The teacher's output for images (B, 1 or 3, H, W) in [0, 1], luma or RGB."""
    if teacher.config.luma:
        infrared, visible = luma(infrared), luma(visible)
    else:
        infrared, visible = (image.expand(-1, 3, -1, -1) for image in (infrared, visible))
    output: NetworkOutput = teacher(infrared, visible)
    return output.float()


def distillation_loss(student: NetworkOutput, teacher: NetworkOutput) -> Tensor:
    """Mean absolute difference of the fused luma, plus that of its Sobel gradients.

    The student does not learn the teacher's dominance maps, because that would cost it edges.
    """
    own, shown = luma(student.fused), luma(teacher.fused)
    return F.l1_loss(own, shown) + F.l1_loss(sobel(own), sobel(shown))
