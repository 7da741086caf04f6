"""Check that the memory for evaluating a bag does not grow with its length.

Writes a bag of 640×512 images (mono16 and rgb8, drifting noise). Evaluates a tenth of it, all of
it, and all of it with its end cut off, each in a process of its own. Prints the peak resident
memory and the speed relative to real time. Exits with 1 if the large bag takes 100 MB more than the
small one.

    .venv/bin/python benchmarks/bag_memory.py                        # 2 GB
    .venv/bin/python benchmarks/bag_memory.py --gigabytes 10 --variant nano --storage sqlite3
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test"))

WIDTH, HEIGHT, RATE_HZ = 640, 512, 25.0
PAIR_BYTES = WIDTH * HEIGHT * (2 + 3)
GROWTH_MB = 100.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--variant", default="average")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    parser.add_argument("--check", action="store_true", help="also estimate offset and alignment")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.variant, options.check)))
        return 0
    pairs = round(options.gigabytes * 1e9 / PAIR_BYTES)
    plugin = StoragePlugin[options.storage.upper()]
    with tempfile.TemporaryDirectory(prefix="bag_memory_") as folder:
        peaks = [tell(name, bag, options) for name, bag in bags(Path(folder), pairs, plugin)]
    growth = max(peaks[1:]) - peaks[0]
    print(f"the large bag takes {growth:.0f} MB more than the small one")
    return int(growth > GROWTH_MB)


def bags(folder: Path, pairs: int, plugin: StoragePlugin) -> Iterator[tuple[str, Path]]:
    """A tenth of the bag, all of it, and all of it without its end."""
    from helpers.bag_files import write_bag

    yield "a tenth", write_bag(folder / "tenth", messages(pairs // 10), plugin)
    bag = write_bag(folder / "bag", messages(pairs), plugin)
    yield "whole", bag
    file = next(path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    with file.open("r+b") as stream:
        stream.truncate(int(file.stat().st_size * 0.95))
    yield "cut off", bag


def messages(pairs: int) -> Iterator[tuple[str, int, str, Any]]:
    from helpers.bag_files import START_NS, TOPICS, image

    rng = np.random.default_rng(0)
    infrared = rng.integers(28000, 31000, (HEIGHT, 2 * WIDTH), np.uint16)
    visible = rng.integers(0, 255, (HEIGHT, 2 * WIDTH, 3), np.uint8)
    for index in range(pairs):
        left = index * 3 % WIDTH
        time_ns = START_NS + round(index * 1e9 / RATE_HZ)
        for topic, wide in zip(TOPICS, (infrared, visible), strict=True):
            part = np.ascontiguousarray(wide[:, left : left + WIDTH])
            yield topic, time_ns, *image(part, time_ns)


def tell(name: str, bag: Path, options: argparse.Namespace) -> float:
    """Measure in a new process, print, and return the peak in MB."""
    command = [sys.executable, __file__, "--measure", str(bag), "--variant", options.variant]
    command += ["--check"] if options.check else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    size_gb = sum(path.stat().st_size for path in bag.iterdir()) / 1e9
    print(
        f"{name:8} {size_gb:6.2f} GB, {found['fused']} pairs: peak {found['peak_mb']:.0f} MB, "
        f"{found['times_real_time']:.1f} times real time {found['faults'] or ''}",
        flush=True,
    )
    return float(found["peak_mb"])


def measure(bag: Path, variant: str, check: bool) -> dict[str, Any]:
    """Evaluate a bag and write all files; peak of resident memory in MB."""
    from dreamif_model import FusionPipeline
    from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings, evaluate_bag

    pipeline = FusionPipeline(variant, "cpu")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        found = evaluate_bag(bag, pipeline, EvaluationSettings(check=check), Path(out))
    wall_s = time.perf_counter() - started
    return {
        "fused": found.fused,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "times_real_time": found.duration_s / wall_s,
        "faults": list(found.faults),
    }


if __name__ == "__main__":
    sys.exit(main())
