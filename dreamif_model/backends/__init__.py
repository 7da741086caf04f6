"""The backends, which run the network: each has a row in the table, a module and a test.

``auto`` is the fastest one here: torch on CUDA, OpenVINO on a CPU, torch if OpenVINO is not
installed. A backend that you ask for by name and that is missing is an error.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from dreamif_model.backends.interface import Backend, Layers
from dreamif_model.device import PRECISIONS, check_device_name, cpu_has_bf16, cuda_is_here
from dreamif_model.errors import ConfigError, DeviceError
from dreamif_model.model_files.model_source import ModelSource
from dreamif_model.variants import AVERAGE

__all__ = [
    "BACKENDS",
    "Backend",
    "Layers",
    "available",
    "check_available",
    "choose_backend",
    "make_backend",
]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Row:
    """A backend. Its module is imported only when it is used."""

    module: str
    name: str  # of the class
    package: str  # that must be installed
    cpu: tuple[str, ...] = ()  # precisions on a CPU, fastest first
    cuda: tuple[str, ...] = ()  # precisions on CUDA, fastest first


_TABLE: dict[str, _Row] = {
    "torch": _Row(
        "dreamif_model.backends.pytorch",
        "TorchBackend",
        "torch",
        cpu=("bf16", "fp32"),
        cuda=("fp16", "bf16", "fp32"),
    ),
    "openvino": _Row(
        "dreamif_model.backends.openvino", "OpenVINOBackend", "openvino", cpu=("bf16", "fp32")
    ),
    "onnxruntime": _Row(
        "dreamif_model.backends.onnxruntime",
        "ONNXRuntimeBackend",
        "onnxruntime",
        cpu=("fp32",),
        cuda=("fp32",),
    ),
    "tensorrt": _Row(
        "dreamif_model.backends.onnxruntime",
        "TensorRTBackend",
        "tensorrt",
        cuda=("fp16", "fp32"),
    ),
}
BACKENDS = ("auto", *_TABLE)
_ONLY_BACKENDS = {".torchscript": "torch", ".xml": "openvino"}  # that read such files


def make_backend(source: ModelSource, backend: str, device: str, precision: str) -> Backend:
    """Build the backend that runs a network.

    Args:
        source: the network.
        backend: one of :data:`BACKENDS`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.

    Raises:
        ConfigError: a name is unknown, or the settings exclude each other.
        DeviceError: a package or device that you asked for is missing.
        WeightsError: the weights cannot be used.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision {precision!r}: choose {', '.join(PRECISIONS)}")
    check_device_name(device)
    if source.variant == AVERAGE:
        from dreamif_model.backends.average import AverageBackend

        if device.startswith("cuda"):  # it runs on the CPU; a missing device is still an error
            from dreamif_model.backends.pytorch import resolve_device

            resolve_device(device)
        return AverageBackend()
    chosen = choose_backend(backend, device, source)
    check_available(chosen)
    row = _TABLE[chosen]
    made: Backend = getattr(importlib.import_module(row.module), row.name)(
        source, device, precision
    )
    return made


def available(device: str) -> list[tuple[str, str]]:
    """Backends and precisions that can run here on ``auto``, ``cpu`` or ``cuda[:N]``."""
    cuda = _takes_cuda(device)
    bf16 = cuda or cpu_has_bf16()
    return [
        (name, precision)
        for name, row in _TABLE.items()
        if find_spec(row.package) is not None
        for precision in (row.cuda if cuda else row.cpu)
        if bf16 or precision != "bf16"
    ]


def check_available(backend: str) -> None:
    """DeviceError, with what to install, if a backend's package is missing."""
    row = _TABLE.get(backend)
    if row is not None and find_spec(row.package) is None:
        raise DeviceError(
            f"backend {backend} was asked for, but {row.package} is not installed: "
            f"pip install {row.package}"
        )


def choose_backend(backend: str, device: str, source: ModelSource) -> str:
    """The backend itself or, for ``auto``, the fastest one that can run the source."""
    if backend != "auto":
        return backend
    suffix = source.weights.suffix.lower() if source.weights else ""
    if suffix in _ONLY_BACKENDS:
        return _ONLY_BACKENDS[suffix]
    on_cuda = _takes_cuda(device)
    has_openvino = find_spec("openvino") is not None
    if suffix == ".onnx" and (on_cuda or not has_openvino):
        return "onnxruntime"
    if not on_cuda and has_openvino:
        return "openvino"
    if not on_cuda:
        _warn_of_missing_openvino()
    return "torch"


def _takes_cuda(device: str) -> bool:
    return device.startswith("cuda") or (device == "auto" and cuda_is_here())


@cache
def _warn_of_missing_openvino() -> None:
    _LOG.warning(
        "OpenVINO is not installed, so torch runs the network, which is slower on a CPU: "
        "pip install openvino"
    )
