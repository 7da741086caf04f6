"""The network in torch: on CUDA as a CUDA graph, on a CPU where OpenVINO is not wanted."""

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

    precision ``auto`` is fp16 on CUDA and fp32 on a CPU. The images, and the sum of sources and
    residual, are fp32 always: autocast runs the convolutions in ``precision``.
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
            frame: nn.Module = FrameNetwork(source.torch_network())
            info = source.info()
        else:
            frame, info = read_torchscript(path)
        super().__init__(info, source)
        self._network = self._place(frame)
        self._stage: Any = self._run
        if self._device.type == "cuda":
            self._stage = CapturedStage(self._run)

    @property
    def uses_cuda_graph(self) -> bool:
        """Whether another pair of the last one's size replays a CUDA graph."""
        return isinstance(self._stage, CapturedStage) and self._stage.is_captured

    @torch.inference_mode()
    def infer(self, phases: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Upload, run, download; the arrays are the caller's own."""
        tensor = torch.from_numpy(phases)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        with exact_arithmetic(self._device):
            outputs = self._stage(tensor)
        copies = [output.to("cpu", non_blocking=True) for output in outputs]
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return [copy.numpy() for copy in copies]

    def _run(self, phases: Tensor) -> tuple[Tensor, ...]:
        half = self._dtype != torch.float32
        with torch.autocast(self._device.type, self._dtype, enabled=half):
            outputs: tuple[Tensor, ...] = self._network(phases)
        return outputs

    def _place(self, network: nn.Module) -> nn.Module:
        """On the device, channels last; what autocast would convert each time, converted once.

        Normalizations, temperatures and prompts stay in fp32.
        """
        network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.to(self._dtype)
        return network


@cache
def _warn_of_spinning_threads() -> None:
    """Say once where torch was imported before this package could tell its threads to sleep."""
    if SET_TOO_LATE and torch.get_num_threads() > 1:
        _LOG.warning(
            "torch was imported before dreamif_model, so its threads spin while they wait, and "
            "frames take several times as long while another program uses a core: import "
            "dreamif_model first, or set OMP_WAIT_POLICY=passive"
        )


def resolve_device(name: str) -> torch.device:
    """``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    DeviceError when a CUDA device is asked for and missing: never a silent fallback.
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
    """ConfigError for fp16 on the CPU: torch emulates it there, many times slower."""
    if name == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 is for CUDA: on the CPU choose fp32 or bf16")
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError(f"{machine_name(str(device))} has no bf16: choose fp16 or fp32")
    return name


def read_torchscript(path: Path) -> tuple[nn.Module, GraphInfo]:
    """An exported network and its metadata; WeightsError where the file is something else."""
    extra = {GRAPH_KEY: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit
            module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
    except (RuntimeError, ValueError):
        raise WeightsError(f"{path} is damaged, or no network in TorchScript") from None
    text: str | bytes = extra[GRAPH_KEY]
    return module, GraphInfo.from_json(text.decode() if isinstance(text, bytes) else text, path)


@contextmanager
def exact_arithmetic(device: torch.device) -> Iterator[None]:
    """Let CUDA compute fp32 in fp32, and sum fp16 in fp32, while inside.

    By default convolutions round fp32 to TF32's 10 bits, which is off by more than 1e-4, and
    long fp16 sums may be split and added in fp16, where they overflow. These switches are the
    process's: set here and put back, they leave a program that trains beside the engine alone.
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
    """Whose, which, and what it must be."""
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    sums = [(matmul, "allow_fp16_reduced_precision_reduction", False)]
    if hasattr(matmul, "fp32_precision"):  # torch 2.9 and later; the two kinds do not mix
        return [(cudnn.conv, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee"), *sums]
    return [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False), *sums]
