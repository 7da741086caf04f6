"""One evaluation, from settings to a folder of files, in any process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from dreamif_model import ConfigError, FusionPipeline
from dreamif_model.device import cpu_threads, use_cpu_threads
from dreamif_model.thermal import ThermalConfig
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings, Progress, evaluate_bag
from dreamif_ros.evaluation.evaluation_results import Evaluation
from dreamif_ros.evaluation.report import check_libraries, write_report
from dreamif_ros.evaluation.rerun_file import check_rerun
from dreamif_ros.evaluation.result_files import (
    FRAMES,
    METRICS,
    REPORT,
    TIMINGS,
    write_frames,
    write_metrics,
    write_timings,
)


@dataclass(frozen=True)
class ModelOptions:
    """The arguments of :class:`~dreamif_model.FusionPipeline`."""

    variant: str
    device: str
    weights: Path | None
    precision: str
    backend: str
    thermal: ThermalConfig = field(default_factory=ThermalConfig)

    def pipeline(self) -> FusionPipeline:
        """A new pipeline, without registration."""
        return FusionPipeline(
            self.variant,
            self.device,
            self.weights,
            self.thermal,
            precision=self.precision,
            backend=self.backend,
        )


@dataclass(frozen=True)
class EvaluationJob:
    """One bag and all that its evaluation depends on.

    cpu_threads: of the network; another number changes the last digits. workers: threads that
    measure and draw frames meanwhile. rerun: file to write for the Rerun viewer.
    """

    bag: Path
    model: ModelOptions
    settings: EvaluationSettings
    write_bag: bool = False
    write_video: bool = True
    rerun: Path | None = None
    cpu_threads: int = 1
    workers: int = 1

    def __post_init__(self) -> None:
        for name in ("cpu_threads", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 1 or more")


def evaluate_into(
    job: EvaluationJob,
    folder: Path,
    progress: Progress = lambda items, what, count: items,  # noqa: ARG005
) -> Evaluation:
    """Evaluate a bag, and write all files into ``folder``, which must exist.

    Raises the errors of :func:`~dreamif_ros.evaluation.evaluate_bag.evaluate_bag`.
    """
    check_libraries()
    if job.rerun:
        check_rerun()
    started = time.perf_counter()
    with _cpu_threads(job.cpu_threads):
        evaluation = evaluate_bag(
            job.bag,
            job.model.pipeline(),
            job.settings,
            folder,
            write_bag=job.write_bag,
            write_video=job.write_video,
            rerun=job.rerun,
            workers=job.workers,
            progress=progress,
        )
    write_metrics(evaluation, folder / METRICS)
    write_frames(evaluation.rows, folder / FRAMES)
    write_timings(evaluation, time.perf_counter() - started, folder / TIMINGS)
    write_report(evaluation, folder / REPORT)
    return evaluation


@contextmanager
def _cpu_threads(count: int) -> Iterator[None]:
    before = cpu_threads(), cv2.getNumThreads()
    use_cpu_threads(count)
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        use_cpu_threads(before[0])
        cv2.setNumThreads(before[1])
