"""The network in torch: as a CUDA graph on CUDA, or on a CPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dreamif_model._openmp import SET_TOO_LATE
from dreamif_model.backends.cuda_graph import CapturedStage
from dreamif_model.backends.interface import NetworkBackend
from dreamif_model.device import cpu_threads, machine_name
from dreamif_model.errors import ConfigError, DeviceError, WeightsError
from dreamif_model.model_files.graph_info import GRAPH_KEY, GraphInfo
from dreamif_model.model_files.model_source import ModelSource
from dreamif_model.network.frame import FrameNetwork

_LOG = logging.getLogger(__name__)
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchBackend(NetworkBackend):
    """Runs a network eagerly on a CPU, and as a CUDA graph on a GPU.

    Precision ``auto`` is fp16 on CUDA and fp32 on a CPU. Autocast runs the convolutions in this
    precision; images, and the sum of sources and residual, are always fp32.
    """

    name = "torch"

    def __init__(self, source: ModelSource, device: str, precision: str) -> None:
        self._device = resolve_device(device)
        self.device = str(self._device)
        self.precision = _resolve_precision(precision, self._device)
        self._dtype = DTYPES[self.precision]
        if self._device.type == "cpu":
            torch.set_num_threads(cpu_threads())
            _warn_of_spinning_threads()
        path = source.graph_file((".torchscript",))
        if path is None:
            network, info = source.torch_network()
            frame: nn.Module = FrameNetwork(network)
        else:
            frame, info = read_torchscript(path)
        super().__init__(info, source)
        self._network = self._place(frame)
        self._stage: Any = self._run
        if self._device.type == "cuda":
            self._stage = CapturedStage(self._run)

    @property
    def uses_cuda_graph(self) -> bool:
        """Whether the next pair of the same size replays a CUDA graph."""
        return isinstance(self._stage, CapturedStage) and self._stage.is_captured

    @torch.inference_mode()
    def infer(self, phases: NDArray[np.uint8], count: int) -> list[NDArray[np.float32]]:
        """Run the network; the returned arrays belong to the caller."""
        tensor = torch.from_numpy(phases)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        with exact_arithmetic(self._device):
            outputs = self._stage(tensor)
        copies = [output.to("cpu", non_blocking=True) for output in outputs[:count]]
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return [copy.numpy() for copy in copies]

    def _run(self, phases: Tensor) -> tuple[Tensor, ...]:
        half = self._dtype != torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=half):
            outputs: tuple[Tensor, ...] = self._network(phases)
        return outputs

    def _place(self, network: nn.Module) -> nn.Module:
        """Move the network to the device, channels last, with convolutions in the precision.

        Autocast would convert them at each call. Normalizations, temperatures and prompts stay
        in fp32.
        """
        network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(self._dtype)
        return network


@cache
def _warn_of_spinning_threads() -> None:
    """Warn once if torch was imported before this package could make its threads sleep."""
    if SET_TOO_LATE and torch.get_num_threads() > 1:
        _LOG.warning(
            "torch was imported before dreamif_model, so its threads spin while they wait, and "
            "frames take several times as long while another program uses a core: import "
            "dreamif_model first, or set OMP_WAIT_POLICY=passive"
        )


def resolve_device(name: str) -> torch.device:
    """The device of ``auto`` (CUDA if there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:N``.

    DeviceError if the CUDA device that was asked for is missing.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices here: use cpu or auto, "
            "or install a CUDA build of torch and its driver"
        )
    return torch.device(name)


def _resolve_precision(name: str, device: torch.device) -> str:
    """The precision; ConfigError for fp16 on a CPU, where torch emulates it many times slower."""
    if name == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 is for CUDA: on the CPU choose fp32 or bf16")
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError(f"{machine_name(str(device))} has no bf16: choose fp16 or fp32")
    return name


def read_torchscript(path: Path) -> tuple[nn.Module, GraphInfo]:
    """Read an exported network and its metadata; WeightsError if the file is something else."""
    extra = {GRAPH_KEY: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit warns
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError):
        raise WeightsError(f"{path} is damaged, or no network in TorchScript") from None
    text: str | bytes = extra[GRAPH_KEY]
    return module, GraphInfo.from_json(text.decode() if isinstance(text, bytes) else text, path)


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Let CUDA compute fp32 in fp32, and sum fp16 in fp32, inside the context.

    By default convolutions round fp32 to TF32's 10 bits, which changes results by more than 1e-4,
    and long fp16 sums may be added in fp16, where they overflow. The switches belong to the whole
    process; they are restored at the end, because the program may train beside the engine.
    """
    if device.type != "cuda":
        yield
        return
    switches = _arithmetic_switches()
    before = [getattr(owner, name) for owner, name, _ in switches]
    try:
        for owner, name, value in switches:
            setattr(owner, name, value)
        yield
    finally:
        for (owner, name, _), value in zip(switches, before, strict=True):
            setattr(owner, name, value)


def _arithmetic_switches() -> list[tuple[Any, str, Any]]:
    """Owner, name and required value of each switch."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    sums = [(matmul, "allow_fp16_reduced_precision_reduction", False)]
    if hasattr(matmul, "fp32_precision"):  # torch 2.9 and later; the two kinds do not mix
        return [(cudnn.conv, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee"), *sums]
    return [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False), *sums]
