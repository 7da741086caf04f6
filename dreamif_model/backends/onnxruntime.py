"""The network in ONNX Runtime, on a CPU or on NVIDIA cards by CUDA or TensorRT.

We use ONNX Runtime's TensorRT provider instead of ``tensorrt`` itself, because it builds, caches
and feeds the engine, and falls back to CUDA for operations that TensorRT lacks.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model.backends.interface import NetworkBackend
from dreamif_model.device import cpu_threads
from dreamif_model.errors import ConfigError, DeviceError, WeightsError
from dreamif_model.model_files.graph_info import GRAPH_KEY, GraphInfo
from dreamif_model.model_files.model_source import ModelSource

_CPU, _CUDA, _TENSORRT = (
    "CPUExecutionProvider",
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
)


class ONNXRuntimeBackend(NetworkBackend):
    """Runs an ONNX file in fp32: the packaged one, or one of ``dreamif export --format onnx``.

    DeviceError if the package or its CUDA provider is missing.
    """

    name = "onnxruntime"

    def __init__(self, source: ModelSource, device: str, precision: str) -> None:
        runtime = import_onnxruntime(self.name)
        self.device = self._resolve_device(device, runtime.get_available_providers())
        self.precision = self._resolve_precision(precision)
        model = _onnx_model(source)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = cpu_threads()
        # Threads that spin while they wait would take a core that another program needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors
        try:
            self._session = runtime.InferenceSession(model, options, providers=self._providers())
        except Exception as error:  # ONNX Runtime has its own class for each error
            raise WeightsError(
                f"ONNX Runtime cannot load {source.weights or 'the network'}: {error}"
            ) from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        info = GraphInfo.from_json(metadata.get(GRAPH_KEY), source.weights)
        super().__init__(info, source)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [place.name for place in self._session.get_outputs()]

    def infer(self, phases: NDArray[np.uint8], count: int) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = self._session.run(
            self._outputs[:count], {self._input: phases}
        )
        return outputs

    def _resolve_device(self, device: str, providers: list[str]) -> str:
        if device == "auto":
            return "cuda" if _CUDA in providers else "cpu"
        if device != "cpu" and _CUDA not in providers:
            raise DeviceError(
                f"device {device!r} was asked for, but this ONNX Runtime has no CUDA provider: "
                "pip install onnxruntime-gpu, or choose device cpu"
            )
        return device

    def _resolve_precision(self, precision: str) -> str:
        if precision not in ("auto", "fp32"):
            raise ConfigError(
                f"backend {self.name} runs in the precision of its file, fp32: got {precision!r}, "
                "choose fp32 or auto"
            )
        return "fp32"

    def _providers(self) -> list[Any]:
        if self.device == "cpu":
            return [_CPU]
        return [(_CUDA, {"device_id": int(self.device.partition(":")[2] or 0)}), _CPU]


class TensorRTBackend(ONNXRuntimeBackend):
    """Runs it by TensorRT on CUDA, in fp16 unless you ask for fp32. No GPU has run this yet."""

    name = "tensorrt"

    def _resolve_device(self, device: str, providers: list[str]) -> str:
        if device == "cpu" or _TENSORRT not in providers:
            raise DeviceError(
                f"backend tensorrt needs an NVIDIA card and an ONNX Runtime with the TensorRT "
                f"provider (onnxruntime-gpu and tensorrt): got device {device!r} and providers "
                f"{', '.join(providers)}"
            )
        return "cuda" if device == "auto" else device

    def _resolve_precision(self, precision: str) -> str:
        if precision not in ("auto", "fp16", "fp32"):
            raise ConfigError(f"backend tensorrt has fp16 and fp32, got precision {precision!r}")
        return "fp32" if precision == "fp32" else "fp16"

    def _providers(self) -> list[Any]:
        settings = {
            "device_id": int(self.device.partition(":")[2] or 0),
            "trt_fp16_enable": self.precision == "fp16",
        }
        return [(_TENSORRT, settings), *super()._providers()]


def import_onnxruntime(backend: str) -> Any:
    """Import the package; DeviceError if it is missing or does not work."""
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise DeviceError(
            f"backend {backend} was asked for, but ONNX Runtime cannot be imported ({error}): "
            "pip install onnxruntime, or choose backend auto"
        ) from None


def _onnx_model(source: ModelSource) -> str | bytes:
    """Path of an ONNX file, or the bytes of a file converted from torch weights."""
    path = source.graph_file((".onnx",))
    if path is not None:
        return str(path)
    from dreamif_model.model_files.graph_export import onnx_bytes  # needs torch and onnx

    return onnx_bytes(*source.torch_network())
