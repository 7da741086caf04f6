"""Checks of the GPU and of what runs the network, with its speed here."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from dreamif_model.backends import available, choose_backend
from dreamif_model.device import cuda_is_here, has_nvidia_driver, machine_name, usable_cores
from dreamif_model.engine import FusionEngine
from dreamif_model.model_files.model_source import ModelSource
from dreamif_ros.doctor.findings import Finding, State
from dreamif_ros.doctor.trial import Trial, run_trial

VARIANT, SHAPE = "nano", (480, 640)
RUN_S = 2.0
TIMEOUT_S = 120.0  # TensorRT builds its engine first
CAMERA_HZ = 30.0


def check_gpu() -> Iterator[Finding]:
    """Which device ``auto`` takes."""
    if cuda_is_here():
        yield Finding("GPU", "ok", machine_name("cuda"))
    elif has_nvidia_driver():
        advice = "install torch from PyTorch's page for your CUDA version"
        text = "there is an NVIDIA driver, but torch is missing or finds no GPU"
        yield Finding("GPU", "warning", text, advice)
    else:
        text = f"none of NVIDIA; {usable_cores()} usable cores of {machine_name('cpu')}"
        yield Finding("GPU", "ok", text)


def check_engines() -> Iterator[Finding]:
    """The speed of the packaged nano with each backend that can run here."""
    chosen = choose_backend("auto", "auto", ModelSource(VARIANT, None, None))
    backends = list(dict.fromkeys(name for name, _ in available("auto")))
    if chosen not in backends:
        text = f"{chosen}, which auto takes, is not installed"
        yield Finding("engines", "error", text, f"pip install {chosen}")
    for backend in backends:
        command = sys.executable, "-m", "dreamif_ros.doctor.engines", backend
        trial = run_trial(command, TIMEOUT_S)
        yield judge_engine(backend, trial, is_chosen=backend == chosen)


def judge_engine(backend: str, trial: Trial, *, is_chosen: bool) -> Finding:
    """What it means that :func:`measure` printed or failed.

    is_chosen: Whether ``auto`` takes this backend.
    """
    name = f"engine {backend}"
    if trial.fault:
        advice = f"install {backend} again, or set the parameter backend to another one"
        state: State = "error" if is_chosen else "warning"
        return Finding(name, state, f"fails: {trial.fault}", advice)
    precision, milliseconds = trial.answer.split()
    pair_ms = float(milliseconds)
    chosen = ", which auto takes" if is_chosen else ""
    text = f"{pair_ms:.1f} ms for each pair of 640x480 with {VARIANT} in {precision}{chosen}"
    if is_chosen and pair_ms > 1000 / CAMERA_HZ:
        advice = (
            f"this is slower than cameras of {CAMERA_HZ:.0f} Hz, so that the node skips pairs: "
            "end other programs, or send smaller images"
        )
        return Finding(name, "warning", text, advice)
    return Finding(name, "ok", text)


def measure(backend: str, seconds: float = RUN_S) -> str:
    """Fuse one random pair again and again; returns the precision and the median in ms."""
    engine = FusionEngine(VARIANT, backend=backend)
    rng = np.random.default_rng(0)
    visible = rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    infrared = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    for _ in range(2):  # a CUDA graph is captured at the second
        engine.fuse(visible, infrared)
    took_s: list[float] = []
    until_s = time.perf_counter() + seconds
    while not took_s or time.perf_counter() < until_s:
        started_s = time.perf_counter()
        engine.fuse(visible, infrared)
        took_s.append(time.perf_counter() - started_s)
    return f"{engine.backend.precision} {1e3 * float(np.median(took_s)):.2f}"


if __name__ == "__main__":
    print(measure(sys.argv[1]))
