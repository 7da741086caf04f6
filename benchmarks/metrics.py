"""Compare time and values of the metrics with a simple version by scipy's convolve2d.

For each image size: median and interquartile range of the time per image in one thread, without
reading, both versions in turns on the same images. Then `dreamif metrics` on a folder with all
cores, including reading and the start of its processes. Exits with 1 if a value differs by more
than 1e-6 or the metrics are less than three times as fast.

    make benchmark-metrics
    .venv/bin/python benchmarks/metrics.py --ir pairs/ir --vi pairs/vi --images 20
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test"))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import scipy  # noqa: E402
from helpers import scipy_metrics  # noqa: E402

from dreamif_model.device import keep_freed_memory  # noqa: E402
from dreamif_model.image_files import find_pairs, read_gray, write_image  # noqa: E402
from dreamif_model.metrics import METRICS, evaluate  # noqa: E402
from dreamif_model.metrics.filters import use_one_thread  # noqa: E402
from dreamif_model.metrics.scoring import find_triples, score_all  # noqa: E402

SIZES = ((500, 330), (640, 480), (1280, 1024))  # width, height
TOLERANCE, WANTED = 1e-6, 3.0
FOLDER_IMAGES = 120  # of the second size

Images = tuple[np.ndarray, np.ndarray, np.ndarray]  # fused, infrared, visible: (H, W) uint8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ir", type=Path, help="infrared images (default: random textures)")
    parser.add_argument("--vi", type=Path, help="visible images")
    parser.add_argument(
        "--images", type=int, default=5, help="images per size (default: %(default)s)"
    )
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"numpy {np.__version__}, OpenCV {cv2.__version__}, scipy {scipy.__version__}"
    )
    use_one_thread()
    keep_freed_memory()  # for both versions
    if options.ir and options.vi:
        fine = _compare(_read(options.ir, options.vi, options.images))
    else:
        results = [_compare(_made_up(size, options.images)) for size in SIZES]
        fine = all([*results, _compare_folder(_made_up(SIZES[1], 10))])
    return 0 if fine else 1


def _compare(images: list[Images]) -> bool:
    """Compare in one thread, both versions in turns."""
    evaluate(*images[0])  # warm-up
    slow, fast, worst = [], [], 0.0
    for image in images:
        expected, seconds = _timed(scipy_metrics.evaluate, *image)
        slow.append(seconds)
        values, seconds = _timed(evaluate, *image)
        fast.append(seconds)
        worst = max(worst, *(abs(values[name] - expected[name]) for name in expected))
    ratio = float(np.median(slow) / np.median(fast))
    height, width = images[0][0].shape
    print(
        f"{width}×{height}, {len(images)} images, one thread: scipy {_spread(slow)}, "
        f"dreamif_model.metrics {_spread(fast)}, {ratio:.1f}× as fast; "
        f"maximum difference {worst:.1e}"
    )
    print(f"  of which {_costs(images)}")
    return ratio >= WANTED and worst <= TOLERANCE


def _costs(images: list[Images]) -> str:
    """Median milliseconds of each metric, the slowest first."""
    costs = {
        name: 1000 * float(np.median([_timed(metric.score, *image)[1] for image in images]))
        for name, metric in METRICS.items()
        if metric.score
    }
    ordered = sorted(costs.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in ordered)


def _compare_folder(images: list[Images]) -> bool:
    """Compare files on all cores with scipy in one thread on the same images in memory."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("fused", "ir", "vi")]
        for path, kind in zip(paths, zip(*images, strict=True), strict=True):
            path.mkdir()
            for i in range(FOLDER_IMAGES):
                write_image(path / f"{i:03}.png", kind[i % len(kind)])
        start = time.perf_counter()
        count = len(list(score_all(find_triples(*paths))))
        seconds = (time.perf_counter() - start) / count
    slow = float(np.median([_timed(scipy_metrics.evaluate, *image)[1] for image in images]))
    print(
        f"folder of {count} files of {SIZES[1][0]}×{SIZES[1][1]}, all cores: {seconds * 1000:.0f} "
        f"ms per image, scipy in one thread {slow * 1000:.0f} ms, {slow / seconds:.1f}× as fast"
    )
    return slow / seconds >= WANTED


def _timed(function: Callable[..., Any], *images: np.ndarray) -> tuple:
    start = time.perf_counter()
    result = function(*images)
    return result, time.perf_counter() - start


def _spread(seconds: list[float]) -> str:
    low, middle, high = np.percentile(seconds, (25, 50, 75)) * 1000
    return f"{middle:.0f} ms ({low:.0f} to {high:.0f})"


def _read(infrared: Path, visible: Path, count: int) -> list[Images]:
    images = []
    for pair in find_pairs(infrared, visible)[:count]:
        ir, vi = read_gray(pair.infrared), read_gray(pair.visible)
        images.append((np.maximum(ir, vi), ir, vi))
    return images


def _made_up(size: tuple[int, int], count: int) -> list[Images]:
    """Textures of several scales with noise, the same at every call."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        ir, vi = (
            sum(
                cv2.resize(rng.uniform(0, 256 / 4, (2 + side, 2 + side)), size)
                for side in (2, 10, 50, 250)
            )
            for _ in range(2)
        )
        fused = np.maximum(ir, 0.8 * vi) + rng.normal(0, 2, ir.shape)
        images.append(
            tuple(np.rint(image).clip(0, 255).astype(np.uint8) for image in (fused, ir, vi))
        )
    return images


if __name__ == "__main__":
    sys.exit(main())
