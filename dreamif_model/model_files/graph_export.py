"""Write a network for other engines: ONNX, OpenVINO or TorchScript, with its metadata inside.

All need torch; ONNX also needs the package ``onnx``, OpenVINO the package ``openvino``.
"""

from __future__ import annotations

import importlib
import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dreamif_model.errors import ConfigError, DreamIFError
from dreamif_model.model_files.graph_info import GRAPH_KEY, GraphInfo
from dreamif_model.network import Network
from dreamif_model.network.frame import FrameNetwork
from dreamif_model.tensor_images import rgb_to_ycbcr, to_bytes, ycbcr_to_rgb

OPSET = 18
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torchscript": ".torchscript"}
# By how much an export may differ from eager torch in fp32: gray levels of the fused image (one,
# because they are rounded), and dominance in [0, 1].
FUSED_TOLERANCE, DOMINANCE_TOLERANCE = 1.0, 1e-3


@dataclass(frozen=True)
class Difference:
    """Maximum absolute differences between an export and eager torch, over all pairs."""

    fused: float  # gray levels
    dominance: float


class WholeNetwork(nn.Module):
    """The network with what the engine does around it, for programs without our engine.

    Input: infrared (1, 1, H, W) and visible RGB (1, 3, H, W), uint8, H and W multiples of the
    size multiple. Output: fused RGB (1, 3, H, W) and dominance of both (1, 2, H, W), uint8.
    Chroma is the visible image's; unlike the engine's, it is not smoothed where there is noise.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.frame = FrameNetwork(network)
        self.stem, self.luma = network.config.stem, network.config.luma
        self.noise_map = network.config.noise_map

    def forward(self, infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        rgb = visible.float()
        shown = rgb_to_ycbcr(rgb)[:, :1].round() if self.luma else rgb
        images = torch.cat((infrared.float(), shown), dim=1)
        phases = F.pixel_unshuffle(images, self.stem).to(torch.uint8)
        if self.noise_map:
            phases = torch.cat((phases, torch.zeros_like(phases[:, :2])), dim=1)
        fused, dominance, *_ = self.frame(phases)
        fused = F.pixel_shuffle(fused, self.stem)
        if self.luma:
            chroma = rgb_to_ycbcr(rgb)[:, 1:]
            fused = ycbcr_to_rgb(torch.cat((fused, chroma), dim=1))
        maps = F.interpolate(dominance, visible.shape[2:], mode="bilinear", align_corners=False)
        return to_bytes(fused), to_bytes(maps * 255)


def export(
    network: Network,
    info: GraphInfo,
    path: Path,
    file_format: str,
    whole: bool = False,
    size: tuple[int, int] | None = None,
) -> GraphInfo:
    """Write a network to ``path``.

    Args:
        network: in torch, with its weights.
        info: the metadata to write.
        path: the file; OpenVINO writes a second one beside it, with suffix ``.bin``.
        file_format: ``onnx``, ``openvino`` or ``torchscript``.
        whole: write :class:`WholeNetwork`, else :class:`FrameNetwork`.
        size: (width, height) in pixels, for images of one size only; None for any size.

    Returns:
        The metadata as written.

    Raises:
        ConfigError: the size is not a multiple of the network's, or a package is missing.
    """
    width, height = size or (0, 0)
    multiple = info.size_multiple
    if width % multiple or height % multiple:
        raise ConfigError(
            f"the size must be a multiple of {multiple} in both directions for {info.variant}, "
            f"got {width}x{height}"
        )
    info = replace(info, width=width, height=height, whole=whole)
    module = WholeNetwork(network) if whole else FrameNetwork(network)
    data = _WRITERS[file_format](module.eval(), _example(info), info)
    if isinstance(data, bytes):
        path.write_bytes(data)
    else:
        import_package("openvino").save_model(data, path, compress_to_fp16=False)
    return info


def onnx_bytes(network: Network, info: GraphInfo) -> bytes:
    """The bytes of an ONNX file, for images of any size."""
    return _onnx(FrameNetwork(network).eval(), _example(info), info)


def _example(info: GraphInfo) -> tuple[Tensor, ...]:
    """Inputs to trace with."""
    height, width = info.height or 2 * info.size_multiple, info.width or 3 * info.size_multiple
    if info.whole:
        return tuple(torch.zeros(1, c, height, width, dtype=torch.uint8) for c in (1, 3))
    stem = info.stem
    return (torch.zeros(1, info.channels, height // stem, width // stem, dtype=torch.uint8),)


def _names(info: GraphInfo) -> tuple[list[str], list[str]]:
    """Names of the file's inputs and outputs."""
    if info.whole:
        return ["infrared", "visible"], ["fused", "dominance"]
    return ["phases"], ["fused", "dominance", "removed", "restored"]


def _onnx(module: nn.Module, example: tuple[Tensor, ...], info: GraphInfo) -> bytes:
    onnx = import_package("onnx")
    inputs, outputs = _names(info)
    outputs = outputs[: len(_outputs_of(module, example))]
    free = {} if info.width else {name: {2: f"{name}_h", 3: f"{name}_w"} for name in inputs}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about shapes; compare() checks the values
        torch.onnx.export(
            module,
            example,
            buffer,  # type: ignore[arg-type]  # this exporter takes a file-like object
            dynamo=False,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=free,
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(model, {GRAPH_KEY: info.to_json()})
    model.producer_name, model.doc_string = "dreamif", f"Dream-IF {info.variant}"
    data: bytes = model.SerializeToString()
    return data


def _openvino(module: nn.Module, example: tuple[Tensor, ...], info: GraphInfo) -> Any:
    from dreamif_model.backends.openvino_convert import convert_module

    graph = convert_module(module, example)
    for place, name in zip(graph.inputs, _names(info)[0], strict=True):
        place.tensor.set_names({name})
    for place, name in zip(graph.outputs, _names(info)[1], strict=False):
        place.tensor.set_names({name})
    if info.width:
        graph.reshape({i: list(tensor.shape) for i, tensor in enumerate(example)})
    graph.set_rt_info(info.to_json(), [GRAPH_KEY])
    return graph


def _torchscript(module: nn.Module, example: tuple[Tensor, ...], info: GraphInfo) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced: Any = torch.jit.trace(module, example, check_trace=False)
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer, _extra_files={GRAPH_KEY: info.to_json()})
    return buffer.getvalue()


_WRITERS: dict[str, Any] = {"onnx": _onnx, "openvino": _openvino, "torchscript": _torchscript}


@torch.no_grad()
def _outputs_of(module: nn.Module, example: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = module(*example)
    return found


def import_package(name: str) -> Any:
    """Import an optional package; ConfigError says what to install if it is missing."""
    if name == "openvino":
        from dreamif_model.backends.openvino import import_openvino

        return import_openvino()
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f"this export needs the package {name}: pip install {name}") from None


@torch.no_grad()
def compare(
    network: Network, info: GraphInfo, path: Path, inputs: list[tuple[NDArray[np.uint8], ...]]
) -> Difference:
    """Run an exported file beside eager torch.

    Args:
        network: the network that was exported.
        info: the file's metadata.
        path: the file.
        inputs: arrays for the file's inputs, for each pair to try.

    Returns:
        The maximum differences.

    Raises:
        DreamIFError: they exceed :data:`FUSED_TOLERANCE` or :data:`DOMINANCE_TOLERANCE`.
    """
    module = (WholeNetwork(network) if info.whole else FrameNetwork(network)).eval()
    run = _RUNNERS[path.suffix](path)
    fused = dominance = 0.0
    for arrays in inputs:
        expected = [out.numpy() for out in module(*(torch.from_numpy(array) for array in arrays))]
        found = run(arrays)
        fused = max(fused, _largest(expected[0], found[0]))
        dominance = max(dominance, _largest(expected[1], found[1]) / (255 if info.whole else 1))
    allowed = DOMINANCE_TOLERANCE + (1 / 255 if info.whole else 0)  # dominance in whole levels
    if not (fused <= FUSED_TOLERANCE and dominance <= allowed):
        raise DreamIFError(
            f"{path} differs from eager torch by {fused:.3g} gray levels (allowed "
            f"{FUSED_TOLERANCE:g}) and {dominance:.3g} of dominance (allowed {allowed:.3g}): "
            "do not use it"
        )
    return Difference(fused, dominance)


def _largest(first: NDArray[Any], second: NDArray[Any]) -> float:
    return float(np.abs(first.astype(np.float64) - second).max())


def _run_onnx(path: Path) -> Any:
    runtime = import_package("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [place.name for place in session.get_inputs()]
    return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))


def _run_openvino(path: Path) -> Any:
    from dreamif_model.backends.openvino import openvino_core

    core = openvino_core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    return lambda arrays: list(compiled(list(arrays)).values())


def _run_torchscript(path: Path) -> Any:
    from dreamif_model.backends.pytorch import read_torchscript

    module, _ = read_torchscript(path)
    return lambda arrays: [out.numpy() for out in module(*map(torch.from_numpy, arrays))]


_RUNNERS = {".onnx": _run_onnx, ".xml": _run_openvino, ".torchscript": _run_torchscript}
