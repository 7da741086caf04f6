"""The anchor and other people's networks, which the benchmark measures beside ours."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dreamif_model.arrays import GrayImage, RgbImage
from dreamif_model.backends.onnxruntime import import_onnxruntime
from dreamif_model.backends.pytorch import resolve_device
from dreamif_model.benchmark.case import ANCHOR_CHANNELS, Case
from dreamif_model.device import cpu_threads
from dreamif_model.errors import ConfigError, WeightsError


def make_anchor(case: Case, visible: RgbImage, infrared: GrayImage) -> dict[str, Any]:
    """Prepare seven 3×3 convolutions at full size: torch, fp32, channels last, random weights."""
    torch.set_num_threads(cpu_threads())
    device = resolve_device(case.device)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(ANCHOR_CHANNELS):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    network = nn.Sequential(*layers).eval()
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    luma = visible[..., 1]
    planes = torch.from_numpy(np.stack((infrared, luma))).float()[None] / 255
    planes = planes.to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    def run() -> dict[str, float]:
        network(planes).cpu()
        return {}

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(planes)
    count = sum(parameter.numel() for parameter in network.parameters())
    return {
        "run": run,
        "weights": "random",
        "backend": "torch",
        "device": str(device),
        "precision": "fp32",
        "gmac": counter.get_total_flops() / 2e9,
        "weight_bytes": 4 * count,
    }


def make_peer(case: Case, visible: RgbImage, infrared: GrayImage) -> dict[str, Any]:
    """Prepare another network; its inputs are infrared and visible luma, (1, 1, H, W) in [0, 1]."""
    assert case.file
    pair = [
        np.ascontiguousarray(image[None, None], np.float32) / np.float32(255)
        for image in (infrared, visible[..., 1])
    ]
    suffix = case.file.suffix.lower()
    if not case.file.is_file():
        raise WeightsError(f"no peer at {case.file}")
    if suffix == ".onnx":
        return _onnx_peer(case.file, pair)
    if suffix in (".torchscript", ".pt", ".ts"):
        return _torchscript_peer(case.file, pair)
    raise ConfigError(f"a peer is TorchScript (.torchscript, .ts, .pt) or ONNX, got {case.file}")


def _onnx_peer(path: Path, pair: list[NDArray[np.float32]]) -> dict[str, Any]:
    runtime = import_onnxruntime("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [place.name for place in session.get_inputs()]
        feed = dict(zip(names, pair, strict=True))
        session.run(None, feed)
    except Exception as error:  # ONNX Runtime has its own class for each error
        raise WeightsError(_refusal(path, error)) from None

    def run() -> dict[str, float]:
        session.run(None, feed)
        return {}

    return {"run": run, "weights": "its own", "backend": "onnxruntime", "precision": "its own"}


def _torchscript_peer(path: Path, pair: list[NDArray[np.float32]]) -> dict[str, Any]:
    torch.set_num_threads(cpu_threads())
    tensors = [torch.from_numpy(image) for image in pair]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit warns
            network = torch.jit.load(str(path), map_location="cpu").eval()
        with torch.inference_mode():
            network(*tensors)
    except RuntimeError as error:
        raise WeightsError(_refusal(path, error)) from None

    @torch.inference_mode()
    def run() -> dict[str, float]:
        network(*tensors)
        return {}

    return {"run": run, "weights": "its own", "backend": "torch", "precision": "its own"}


def _refusal(path: Path, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"the peer {path} does not take infrared and visible luma, float32 (1, 1, H, W): "
        f"{(lines or [type(error).__name__])[-1][:200]}"
    )
