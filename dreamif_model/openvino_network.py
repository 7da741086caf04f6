"""The network on the CPU through OpenVINO, converted in memory: no file, no telemetry.

OpenVINO is imported when it is asked for; nothing else in this package needs it.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dreamif_model.errors import ConfigError, DeviceError
from dreamif_model.layers import frame_layers
from dreamif_model.network import DreamIF

HINTS = {"fp32": "f32", "bf16": "bf16"}  # of OpenVINO for our precisions
KEPT_SIZES = 2  # compiled at a time: a node has one, a second camera pair or a preview another
_TELEMETRY = "openvino_telemetry"


class OpenVINONetwork:
    """Runs a network in OpenVINO's CPU plugin, with as many threads as torch has.

    The graph is converted once, for any size, and compiled for each size of images on its first
    pair: half a second for nano and tiny on two cores, and it then keeps the newest
    :data:`KEPT_SIZES`. In bf16 the sum of sources and residual stays fp32, as with torch.
    Not thread-safe. DeviceError where OpenVINO is missing, ConfigError for bf16 on a processor
    that has none.
    """

    def __init__(self, network: DreamIF, precision: str) -> None:
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        if precision == "bf16" and "BF16" not in self._capabilities():
            raise ConfigError("OpenVINO has no bf16 on this processor: choose precision fp32")
        self._hint = HINTS[precision]
        self._graph = _convert(network)
        self._requests: dict[torch.Size, Any] = {}  # one for each compiled size, newest last

    def __call__(self, infrared: Tensor, visible: Tensor) -> tuple[Tensor, ...]:
        """Two (1, 1 or 3, H', W') fp32 to what :func:`frame_layers` gives of them.

        The tensors returned are the caller's own.
        """
        request = self._request(visible.shape)
        inputs = [layer.contiguous().numpy() for layer in (infrared, visible)]
        outputs = request.infer(inputs, share_inputs=True)  # outputs are copies
        return tuple(torch.from_numpy(array) for array in outputs.values())

    def _request(self, shape: torch.Size) -> Any:
        """What infers pairs of this shape; compiled where it is not at hand."""
        request = self._requests.pop(shape, None) or self._compile(shape)
        self._requests[shape] = request
        if len(self._requests) > KEPT_SIZES:
            del self._requests[next(iter(self._requests))]
        return request

    def _compile(self, shape: torch.Size) -> Any:
        graph = self._graph.clone()
        graph.reshape({number: list(shape) for number in range(len(graph.inputs))})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self._hint,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # a pinned thread waits for whoever shares its core
        }
        return self._core.compile_model(graph, "CPU", settings).create_infer_request()

    def _capabilities(self) -> list[str]:
        names: list[str] = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return names


class _FrameNetwork(nn.Module):
    """The network with tensors for an output, as a graph has them."""

    def __init__(self, network: DreamIF) -> None:
        super().__init__()
        self.network = network

    def forward(self, infrared: Tensor, visible: Tensor) -> tuple[Tensor, ...]:
        return frame_layers(self.network(infrared, visible))


@torch.no_grad()
def _convert(network: DreamIF) -> Any:
    """The network as OpenVINO's graph, for any size.

    By the front end itself: ``openvino.convert_model`` does the same, but reports each use.
    A size that tracing would take for a constant is an error, so the example's does not matter.
    """
    decoders = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
    managers = importlib.import_module("openvino.frontend")
    extensions = importlib.import_module("openvino.frontend.pytorch")
    config = network.config
    side = 2 * config.size_multiple
    example = torch.zeros(1, config.image_channels, side, side)
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.trace, OpenVINO's way
        decoder = decoders.TorchScriptPythonDecoder(
            _FrameNetwork(network.eval()),
            example_input=(example, example),
            trace_kwargs={"check_trace": False},
        )
    front_end = managers.FrontEndManager().load_by_framework("pytorch")
    for operation, rule in (("aten::diagonal", _diagonal), ("aten::layer_norm", _layer_norm)):
        front_end.add_extension(extensions.ConversionExtension(operation, rule))
    return front_end.convert(front_end.load(decoder))


def _diagonal(node: Any) -> Any:
    """Diagonals of square matrices in the last two dimensions, which OpenVINO has no rule for."""
    ops = importlib.import_module("openvino.opset9")
    matrices = node.get_input(0)
    side = ops.gather(ops.shape_of(matrices, "i32"), ops.constant(-1), ops.constant(0))
    eye = ops.eye(side, side, ops.constant(0), "f32")
    return ops.reduce_sum(ops.multiply(matrices, eye), ops.constant([-1])).outputs()


def _layer_norm(node: Any) -> Any:
    """Of (B, h, w, C), computed as (B, C, h, w), in which OpenVINO has it: without any copies."""
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


def import_openvino() -> Any:
    """The package, importing which would otherwise report to its makers.

    DeviceError where there is none, or none that works.
    """
    blocked = _TELEMETRY not in sys.modules
    if blocked:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # as if not installed
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise DeviceError(
            f"backend openvino was asked for, but OpenVINO cannot be imported ({error}): "
            "pip install 'dreamif_ros[openvino]', or take backend torch"
        ) from None
    finally:
        if blocked:
            del sys.modules[_TELEMETRY]
