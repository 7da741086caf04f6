"""Time per frame: CPU and wall time, arithmetic, memory, and share of the machine's peak."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.arrays import GrayImage, RgbImage
from dreamif_model.benchmark.case import ANCHOR, PEER, Case
from dreamif_model.benchmark.classic_fusion import CLASSIC
from dreamif_model.device import (
    cpu_threads,
    is_out_of_memory,
    keep_freed_memory,
    use_cpu_threads,
)
from dreamif_model.engine import STAGES, FusionEngine
from dreamif_model.errors import DreamIFError, WeightsError
from dreamif_model.variants import AVERAGE, WEIGHTS_FOLDER

FULL_SIZE_BYTES = 3 + 1 + 3 + 8  # per pixel: visible, infrared and fused uint8, two float32 maps
Run = Callable[[], dict[str, float]]  # fuses one frame, returns the seconds of its stages


@dataclass(frozen=True)
class Figures:
    """The results of one case. Times include copies to and from a GPU.

    Attributes:
        weights: ``packaged``, ``random`` or ``none``.
        cpu_ms: median CPU time of the whole process, per frame.
        p50_ms: median wall time per frame.
        p99_ms: 99th percentile of the wall time per frame.
        stages_ms: median wall time of each of STAGES, for methods that have them.
        gmac: 10^9 multiply-accumulates of convolutions and matrix products; None if not counted.
        megabytes: what must be read and written: images, maps and weights, each once.
        memory_mib: peak memory: what torch allocated on the GPU, or the resident memory.
    """

    method: str
    weights: str
    width: int
    height: int
    backend: str
    device: str
    precision: str
    threads: int
    cuda_graph: bool
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    stages_ms: dict[str, float]
    gmac: float | None
    megabytes: float
    memory_mib: float


@dataclass
class _Subject:
    """A method that is ready to run, and its description."""

    run: Run
    weights: str = "none"
    backend: str = "opencv"
    device: str = "cpu"
    precision: str = "uint8"
    gmac: float | None = None
    weight_bytes: int = 0
    cuda_graph: Callable[[], bool] = field(default=lambda: False)


def measure_apart(case: Case) -> Figures:
    """Measure in a new process, so that no memory, thread or kernel of another case counts.

    DreamIFError if there is not enough memory.
    """
    context = multiprocessing.get_context("spawn")
    what = f"{case.method} at {case.width}x{case.height}"
    try:
        with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
            return pool.submit(measure, case).result()
    except BrokenProcessPool:
        raise DreamIFError(
            f"{what}: the process was killed, perhaps because memory ran out: smaller --size"
        ) from None
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise DreamIFError(f"{what}: not enough memory: smaller --size") from None
        raise


def measure(case: Case) -> Figures:
    """Fuse a random pair again and again, and measure each time."""
    use_cpu_threads(case.threads)
    keep_freed_memory()  # as our engine does, so that all methods are compared alike
    cv2.setNumThreads(cpu_threads())
    rng = np.random.default_rng(0)
    visible = rng.integers(0, 256, (case.height, case.width, 3), dtype=np.uint8)
    infrared = rng.integers(0, 256, (case.height, case.width), dtype=np.uint8)
    subject = _subject(case, visible, infrared)
    for _ in range(case.warmup):
        subject.run()
    wall, cpu, stages = [], [], []
    for _ in range(case.frames):
        at, cpu_at = time.perf_counter(), time.process_time()
        stages.append(subject.run())
        wall.append(time.perf_counter() - at)
        cpu.append(time.process_time() - cpu_at)
    pixels = case.width * case.height
    return Figures(
        method=case.method if case.file is None else case.file.name,
        weights=subject.weights,
        width=case.width,
        height=case.height,
        backend=subject.backend,
        device=subject.device,
        precision=subject.precision,
        threads=cpu_threads(),
        cuda_graph=subject.cuda_graph(),
        cpu_ms=float(np.median(cpu)) * 1e3,
        p50_ms=float(np.median(wall)) * 1e3,
        p99_ms=float(np.percentile(wall, 99)) * 1e3,
        stages_ms={
            stage: float(np.median([row[stage] for row in stages])) * 1e3
            for stage in STAGES
            if stage in stages[0]
        },
        gmac=subject.gmac,
        megabytes=(pixels * FULL_SIZE_BYTES + subject.weight_bytes) / 1e6,
        memory_mib=_peak_memory(subject.device) / 2**20,
    )


def _subject(case: Case, visible: RgbImage, infrared: GrayImage) -> _Subject:
    if case.method in CLASSIC:
        fuse = CLASSIC[case.method]

        def run_classic() -> dict[str, float]:
            fuse(infrared, visible)
            return {}

        return _Subject(run_classic)
    if case.method in (ANCHOR, PEER):
        from dreamif_model.benchmark.peers import make_anchor, make_peer

        maker: Any = make_anchor if case.method == ANCHOR else make_peer
        return _Subject(**maker(case, visible, infrared))
    engine, weights = _engine(case)
    subject = _Subject(
        lambda: engine.fuse(visible, infrared).seconds,
        weights,
        engine.backend.name,
        engine.backend.device,
        engine.backend.precision,
        cuda_graph=lambda: bool(getattr(engine.backend, "uses_cuda_graph", False)),
    )
    if case.method != AVERAGE:
        from dreamif_model.benchmark.complexity import complexity

        found = complexity(case.method, case.width, case.height)
        subject.gmac, subject.weight_bytes = found.macs / 1e9, found.parameters * 4
    return subject


def _engine(case: Case) -> tuple[FusionEngine, str]:
    """An engine with the packaged weights or, if none fit, random ones, which take as long."""
    packaged = (WEIGHTS_FOLDER / f"{case.method}.safetensors").is_file()
    if packaged or case.method == AVERAGE:
        try:
            engine = FusionEngine(
                case.method, case.device, precision=case.precision, backend=case.backend
            )
        except WeightsError:
            pass  # they do not fit the network any more; the row says random
        else:
            return engine, "packaged" if packaged else "none"
    import torch

    from dreamif_model.network import make_network
    from dreamif_model.variants import network_config

    torch.manual_seed(0)
    network = make_network(network_config(case.method))
    engine = FusionEngine(
        case.method, case.device, None, case.precision, network=network, backend=case.backend
    )
    return engine, "random"


@dataclass(frozen=True)
class Peak:
    """The measured peak of the machine.

    Attributes:
        gmac_per_s: 10^9 multiply-accumulates per second in one large fp32 matrix product.
        gigabytes_per_s: bytes read plus bytes written per second in a copy.
    """

    gmac_per_s: float
    gigabytes_per_s: float

    def share(self, figures: Figures) -> float | None:
        """Share of the roofline that a frame reaches: its minimum possible time over its time."""
        if figures.gmac is None:
            return None
        minimum_s = max(
            figures.gmac / self.gmac_per_s, figures.megabytes / 1e3 / self.gigabytes_per_s
        )
        return minimum_s / (figures.p50_ms / 1e3)


def measure_peak(threads: int) -> Peak:
    """Measure the peak by a matrix product of OpenVINO (numpy without it), and by a copy."""
    use_cpu_threads(threads)
    side, repeats = 1024, 7
    a = np.random.default_rng(0).random((side, side), dtype=np.float32)
    multiply = _matrix_product(a)
    block = np.zeros(1 << 26, np.uint8)
    copy = np.empty_like(block)
    arithmetic = _best_s(multiply, repeats)
    bandwidth = _best_s(lambda: np.copyto(copy, block), repeats)
    return Peak(side**3 / arithmetic / 1e9, 2 * block.nbytes / bandwidth / 1e9)


def _matrix_product(a: NDArray[np.float32]) -> Callable[[], object]:
    try:
        from dreamif_model.backends.openvino import import_openvino, openvino_core

        openvino = import_openvino()
    except DreamIFError:
        return lambda: a @ a
    ops = openvino.opset9
    place = ops.parameter(list(a.shape), np.float32)
    graph = openvino.Model([ops.matmul(place, ops.constant(a), False, False)], [place])
    settings = {"INFERENCE_NUM_THREADS": cpu_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino_core().compile_model(graph, "CPU", settings).create_infer_request()
    return lambda: request.infer([a], share_inputs=True, share_outputs=True)


def _best_s(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        at = time.perf_counter()
        work()
        times.append(time.perf_counter() - at)
    return min(times)


def _peak_memory(device: str) -> int:
    """Peak bytes that torch allocated on the GPU or, on a CPU, of the process."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated(torch.device(device))
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024  # "VmHWM:   123456 kB"
