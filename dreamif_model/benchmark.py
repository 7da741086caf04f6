"""How long a frame takes, stage by stage, and how much memory it needs."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dreamif_model.checkpoints import WEIGHTS_FOLDER, load_network
from dreamif_model.device import is_out_of_memory, use_cpu_threads
from dreamif_model.engine import STAGES, FusionEngine
from dreamif_model.errors import DreamIFError, WeightsError
from dreamif_model.network import DreamIF
from dreamif_model.variants import AVERAGE, network_config


@dataclass(frozen=True)
class Case:
    """What to measure."""

    variant: str
    width: int
    height: int
    device: str = "auto"
    precision: str = "auto"
    frames: int = 20
    warmup: int = 3  # frames before those that count; a CUDA graph is captured at the second
    threads: int = 0  # of the CPU; 0 leaves it to torch
    backend: str = "torch"


@dataclass(frozen=True)
class Figures:
    """What came out; milliseconds per frame, upload and download included."""

    variant: str
    weights: str  # packaged, random or none
    width: int
    height: int
    backend: str
    precision: str
    threads: int
    cuda_graph: bool
    median_ms: float
    p10_ms: float
    p90_ms: float
    stages_ms: dict[str, float]  # medians of STAGES
    memory_mib: float  # peak: allocated on the GPU, or the whole process's resident on the CPU


def measure_apart(case: Case) -> Figures:
    """Measure in a new process, which has no memory, threads or cached kernels of another case.

    DreamIFError where the memory is not enough.
    """
    context = multiprocessing.get_context("spawn")
    what = f"{case.variant} at {case.width}x{case.height}"
    try:
        with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
            return pool.submit(measure, case).result()
    except BrokenProcessPool:
        raise DreamIFError(
            f"{what}: the process was ended from outside, perhaps because there is not enough "
            "memory: smaller --size"
        ) from None
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise DreamIFError(f"{what}: not enough memory: smaller --size") from None
        raise


def measure(case: Case) -> Figures:
    """Fuse random pairs of one size and take times."""
    use_cpu_threads(case.threads)
    network, weights = _network(case.variant)
    engine = FusionEngine(
        case.variant,
        case.device,
        precision=case.precision,
        network=network,
        backend=case.backend,
    )
    rng = np.random.default_rng(0)
    visible = rng.integers(0, 256, (case.height, case.width, 3), dtype=np.uint8)
    infrared = rng.random((case.height, case.width), dtype=np.float32)
    for _ in range(case.warmup):
        engine.fuse(visible, infrared)
    rows = np.array([_frame_ms(engine, visible, infrared) for _ in range(case.frames)])
    low, median, high = np.percentile(rows[:, 0], (10, 50, 90))
    return Figures(
        variant=case.variant,
        weights=weights,
        width=case.width,
        height=case.height,
        backend=engine.backend,
        precision=engine.precision,
        threads=torch.get_num_threads(),
        cuda_graph=engine.uses_cuda_graph,
        median_ms=float(median),
        p10_ms=float(low),
        p90_ms=float(high),
        stages_ms=dict(zip(STAGES, np.median(rows[:, 1:], axis=0).tolist(), strict=True)),
        memory_mib=_peak_memory(engine.device) / 2**20,
    )


def _network(variant: str) -> tuple[DreamIF | None, str]:
    """With the packaged weights or, where none fit, random ones: they take the same time."""
    if variant == AVERAGE:
        return None, "none"
    if (WEIGHTS_FOLDER / f"{variant}.safetensors").is_file():
        try:
            return load_network(variant), "packaged"
        except WeightsError:
            pass  # of another state of the network; the row says random
    torch.manual_seed(0)
    return DreamIF(network_config(variant)), "random"


def _frame_ms(engine: FusionEngine, visible: np.ndarray, infrared: np.ndarray) -> list[float]:
    """Whole frame, then its stages."""
    marks = _Marks(engine.device)
    started = time.perf_counter()
    marks.add()
    engine.fuse(visible, infrared, after_stage=marks.add)
    return [(time.perf_counter() - started) * 1e3, *marks.intervals_ms()]


class _Marks:
    """Moments of the device's own time: events on CUDA, where the host only launches."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self._seconds: list[float] = []

    def add(self) -> None:
        """Now, in the order of the device's work."""
        if self._device.type != "cuda":
            self._seconds.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)

    def intervals_ms(self) -> list[float]:
        """Between the marks."""
        if self._device.type != "cuda":
            return [(b - a) * 1e3 for a, b in zip(self._seconds, self._seconds[1:], strict=False)]
        self._events[-1].synchronize()
        return [a.elapsed_time(b) for a, b in zip(self._events, self._events[1:], strict=False)]


def _peak_memory(device: torch.device) -> int:
    """In bytes: of torch's allocations on the GPU, or of the process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024  # "VmHWM:   123456 kB"
