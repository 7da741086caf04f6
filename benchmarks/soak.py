"""Check that the fusion node's memory does not grow and no image gets lost, over minutes at 30 Hz.

Two cameras (640×480, bgr8 and mono16), the node with variant average and a listener run in a
process each. Prints a line each minute. Exits with 1 if the node's resident memory grows by 20 MB
or more after the warm-up, or if an image is neither published nor counted as dropped for a reason.

    make soak
    .venv/bin/python benchmarks/soak.py --seconds 60
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test"))

from helpers.camera_rig import CameraRig, camera_rig, unaccounted  # noqa: E402

WARM_UP_S = 10.0
GROWTH_MB = 20.0
SIZE = {"width": 640, "height": 480}
LINE_S = 60.0  # between two printed lines


@dataclass(frozen=True)
class Soak:
    """The measurements after the warm-up."""

    resident_mb: list[float]  # of the node, once a second
    counts: dict[str, int]  # of cameras, node and listener
    unaccounted: dict[str, int]  # images, by where they got lost

    @property
    def growth_mb(self) -> float:
        """Growth from the first sample to the maximum."""
        return max(self.resident_mb) - self.resident_mb[0]

    def misses(self) -> list[str]:
        """Every failure, in words."""
        misses = [f"{n} {where} unaccounted for" for where, n in self.unaccounted.items() if n]
        if self.growth_mb >= GROWTH_MB:
            misses.append(f"resident memory grew by {self.growth_mb:.1f} MB")
        return misses


def run(seconds: float, log: Path) -> Soak:
    """Soak a new node, which writes its log to ``log``."""
    with camera_rig(log) as rig:
        rig.cameras.visible.heal(encoding="bgr8", **SIZE)
        rig.cameras.infrared.heal(encoding="mono16", **SIZE)
        rig.spin(WARM_UP_S)
        before = rig.pause()
        rig.resume()
        resident_mb = list(_samples(rig, seconds))
        after = rig.pause()
    counts = {key: count - before.get(key, 0) for key, count in after.items()}
    return Soak(resident_mb, counts, unaccounted(before, after))


def _samples(rig: CameraRig, seconds: float) -> Iterator[float]:
    """The node's resident memory in MB, once a second, while it fuses images."""
    print(f"{'s':>6} {'resident MB':>12} {'images heard':>13}")
    for second in range(round(seconds) + 1):
        resident_mb = _resident_mb(rig.process.popen.pid)
        if second % LINE_S == 0 or second == round(seconds):
            print(f"{second:6} {resident_mb:12.1f} {rig.heard:13}", flush=True)
        yield resident_mb
        rig.spin(1.0)


def _resident_mb(pid: int) -> float:
    """Without shared memory, because pages of the middleware's queues count once touched."""
    status = Path(f"/proc/{pid}/status").read_text()
    kinds = ("RssAnon:", "RssFile:")
    return sum(int(status.split(kind)[1].split()[0]) for kind in kinds) * 1024 / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="default: %(default)g")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        soak = run(options.seconds, Path(folder) / "log")
    print(f"resident memory grew by {soak.growth_mb:.1f} MB (must be below {GROWTH_MB:g} MB)")
    print(", ".join(f"{count} {key}" for key, count in soak.counts.items() if count))
    for miss in soak.misses():
        print(f"MISSED: {miss}")
    return 1 if soak.misses() else 0


if __name__ == "__main__":
    sys.exit(main())
