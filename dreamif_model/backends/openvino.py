"""The network in OpenVINO on a CPU, without files in between and without telemetry.

OpenVINO is imported when it is used, and torch only for weights of a torch network.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model.backends.interface import OUTPUTS, NetworkBackend
from dreamif_model.device import bf16_is_fast, cpu_threads
from dreamif_model.errors import ConfigError, DeviceError, WeightsError
from dreamif_model.model_files.graph_info import GRAPH_KEY, GraphInfo
from dreamif_model.model_files.model_source import ModelSource

HINTS = {"fp32": "f32", "bf16": "bf16"}  # our precisions: OpenVINO's names
KEPT_SIZES = 2  # compiled sizes that stay: one for the node, one for a preview or a second pair
_TELEMETRY = "openvino_telemetry"


class OpenVINOBackend(NetworkBackend):
    """Runs a network in OpenVINO's CPU plugin.

    The graph is read once. It is compiled at the first pair of each size, and the last
    :data:`KEPT_SIZES` compiled graphs are kept. DeviceError if OpenVINO is missing, ConfigError
    for bf16 on a processor without it.
    """

    name, device = "openvino", "cpu"

    def __init__(self, source: ModelSource, device: str, precision: str) -> None:
        if device not in ("auto", "cpu"):
            raise ConfigError(
                f"backend openvino runs on the CPU only: got device {device!r}, choose cpu or auto"
            )
        self._core = openvino_core()
        self.precision = self._resolve(precision)
        self._graph, info = self._read(source)
        super().__init__(info, source)
        # By shape and number of outputs, last used last.
        self._requests: dict[tuple[tuple[int, ...], int], Any] = {}

    def infer(self, phases: NDArray[np.uint8], count: int) -> list[NDArray[np.float32]]:
        """Run the network; the next call overwrites the returned arrays."""
        request = self._request(phases.shape, count)
        outputs = request.infer([phases], share_inputs=True, share_outputs=True)
        return list(outputs.values())

    def _resolve(self, precision: str) -> str:
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "auto":
            return "bf16" if has_bf16 and bf16_is_fast() else "fp32"
        if precision not in HINTS:
            raise ConfigError(
                f"backend openvino has no precision {precision}: choose {', '.join(HINTS)} or auto"
            )
        if precision == "bf16" and not has_bf16:
            raise ConfigError("OpenVINO has no bf16 on this processor: choose precision fp32")
        return precision

    def _read(self, source: ModelSource) -> tuple[Any, GraphInfo]:
        path = source.graph_file((".onnx", ".xml"))
        if path is None:
            from dreamif_model.backends.openvino_convert import convert  # needs torch

            network, info = source.torch_network()
            return convert(network, info), info
        return read_graph(self._core, path)

    def _request(self, shape: tuple[int, ...], count: int = OUTPUTS) -> Any:
        """The inference request for phases of this shape, compiled if necessary."""
        request = self._requests.pop((shape, count), None) or self._compile(shape, count)
        self._requests[shape, count] = request
        if len(self._requests) > KEPT_SIZES:
            del self._requests[next(iter(self._requests))]
        return request

    def _compile(self, shape: tuple[int, ...], count: int) -> Any:
        graph = self._graph.clone()
        for result in graph.get_results()[count:]:  # what nobody wants is not computed
            graph.remove_result(result)
        graph.reshape(list(shape))
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS[self.precision],
            "INFERENCE_NUM_THREADS": cpu_threads(),
            "ENABLE_CPU_PINNING": False,  # a pinned thread waits for other programs on its core
        }
        return self._core.compile_model(graph, "CPU", settings).create_infer_request()


def read_graph(core: Any, path: Path) -> tuple[Any, GraphInfo]:
    """Read an exported network and its metadata; WeightsError if the file is something else."""
    try:
        graph = core.read_model(path)
        info = graph.get_rt_info()
        found = info["framework"] if "framework" in info else info  # noqa: SIM401  # no mapping
        text = str(found[GRAPH_KEY].value if GRAPH_KEY in found else "")
    except RuntimeError:
        raise WeightsError(
            f"{path} is damaged, or no network in a format that OpenVINO reads"
        ) from None
    return graph, GraphInfo.from_json(text, path)


@cache
def openvino_core() -> Any:
    """OpenVINO's core: one for the whole process, because two would make the next Ctrl-C crash.

    Each core installs a signal stack and restores the previous one at its end; the second core
    would restore the first one's, which is freed by then. Errors as in :func:`import_openvino`.
    """
    return import_openvino().Core()


def import_openvino() -> Any:
    """Import the package without its telemetry; DeviceError if it is missing or does not work."""
    blocked = _TELEMETRY not in sys.modules
    if blocked:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # as if not installed
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise DeviceError(
            f"backend openvino was asked for, but OpenVINO cannot be imported ({error}): "
            "pip install openvino, or choose backend auto or torch"
        ) from None
    finally:
        if blocked:
            del sys.modules[_TELEMETRY]
