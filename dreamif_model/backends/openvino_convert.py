"""Convert a torch network to an OpenVINO graph in memory, for images of any size."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dreamif_model.model_files.graph_info import GraphInfo
from dreamif_model.network import Network
from dreamif_model.network.frame import FrameNetwork


def convert(network: Network, info: GraphInfo) -> Any:
    """Convert a network, wrapped as :class:`FrameNetwork`; ``info`` describes it."""
    side = 2 * info.size_multiple // info.stem
    example = torch.zeros(1, info.channels, side, side, dtype=torch.uint8)
    return convert_module(FrameNetwork(network), (example,))


@torch.no_grad()
def convert_module(module: nn.Module, example: tuple[Tensor, ...]) -> Any:
    """Convert a module; ``example`` are its inputs, which may later have other heights and widths.

    Uses OpenVINO's front end directly, because ``openvino.convert_model`` reports each use. It is
    an error if tracing would make the example's size a constant.
    """
    decoders = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
    managers = importlib.import_module("openvino.frontend")
    extensions = importlib.import_module("openvino.frontend.pytorch")
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.trace warns
        decoder = decoders.TorchScriptPythonDecoder(
            module,
            example_input=example,
            trace_kwargs={"check_trace": False},
        )
    front_end = managers.FrontEndManager().load_by_framework("pytorch")
    for operation, rule in (("aten::diagonal", _diagonal), ("aten::layer_norm", _layer_norm)):
        front_end.add_extension(extensions.ConversionExtension(operation, rule))
    return front_end.convert(front_end.load(decoder))


def _diagonal(node: Any) -> Any:
    """Diagonals of the last two dimensions, for which OpenVINO has no rule."""
    ops = importlib.import_module("openvino.opset9")
    matrices = node.get_input(0)
    side = ops.gather(ops.shape_of(matrices, "i32"), ops.constant(-1), ops.constant(0))
    eye = ops.eye(side, side, ops.constant(0), "f32")
    return ops.reduce_sum(ops.multiply(matrices, eye), ops.constant([-1])).outputs()


def _layer_norm(node: Any) -> Any:
    """Layer normalization of (B, h, w, C), computed as (B, C, h, w) to avoid copies."""
    ops = importlib.import_module("openvino.opset9")
    channels, shape = ops.constant([1]), ops.constant([1, -1, 1, 1])
    pixels = ops.transpose(node.get_input(0), ops.constant([0, 3, 1, 2]))
    centred = ops.subtract(pixels, ops.reduce_mean(pixels, channels, True))
    variance = ops.reduce_mean(ops.multiply(centred, centred), channels, True)
    epsilon = ops.constant(np.float32(node.get_values_from_const_input(4)))
    normal = ops.divide(centred, ops.sqrt(ops.add(variance, epsilon)))
    gain, bias = (ops.reshape(node.get_input(number), shape, False) for number in (2, 3))
    scaled = ops.add(ops.multiply(normal, gain), bias)
    return ops.transpose(scaled, ops.constant([0, 2, 3, 1])).outputs()
