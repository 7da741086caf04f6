"""Check that the fusion node's memory does not grow and no image gets lost, over minutes at 30 Hz.

Two cameras (640×480, bgr8 and mono16), the node with variant average and a listener run in a
process each. Prints a line each minute. Exits with 1 if the node's resident memory grows by 20 MB
or more after the warm-up, or if an image is neither published nor counted as dropped for a reason.

With --faults the faults of benchmarks/faults.py happen one after the other, each once in every
round, in an order and to cameras that follow from the seed. The detector and the live page, with a
client that watches all of it, run as well. Memory counts once the first round is over.

    make soak
    make soak-long
    .venv/bin/python benchmarks/soak.py --seconds 300 --faults 1 --model MODEL --picture soak.png
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import faults
from faults import FAULTS, SIZE, Faults, Outcome, print_misses, print_outcomes

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test"))

from helpers.camera_rig import CameraRig, camera_rig, unaccounted  # noqa: E402
from helpers.ros_processes import parameters, running, spin_until  # noqa: E402

from dreamif_model.cameras import Camera  # noqa: E402
from dreamif_ros.detection.diagnostics import DROPS_OF_IMAGES  # noqa: E402

WARM_UP_S = 10.0
GROWTH_MB = 20.0
LINE_S = 60.0  # between two printed lines
LONGEST_S = 6.0  # a fault lasts at least 2 s
STAGE = "stamp_to_publish"  # age of the visible image when its result was published


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


# -- With faults.


@dataclass(frozen=True)
class Sample:
    """What is seen of the processes at one moment."""

    second: float
    resident_mb: dict[str, float]  # by process
    age_s: float  # of the newest fused image that was heard
    latency_ms: dict[str, float]  # p50 and p99 over the node's last 1000 frames


class Sampler(threading.Thread):
    """Takes a sample each second, while faults happen in the main thread."""

    def __init__(self, rig: CameraRig, pids: dict[str, int]) -> None:
        super().__init__(daemon=True)
        self._rig, self._pids, self._begun_s = rig, pids, time.monotonic()
        self.samples: list[Sample] = []
        self.ended = threading.Event()

    @property
    def second(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun_s

    def run(self) -> None:
        """Take samples until ``ended`` is set."""
        while not self.ended.wait(1.0):
            status = self._rig.statuses.get("/fusion_node")
            values = {item.key: item.value for item in status.values} if status else {}
            keys = {quantile: f"{STAGE} {quantile} (ms)" for quantile in ("p50", "p99")}
            latency_ms = {q: float(values[key]) for q, key in keys.items() if key in values}
            age_s = time.time() - self._rig.images[-1][0] / 1e9
            resident_mb = {name: _resident_mb(pid) for name, pid in self._pids.items()}
            self.samples.append(Sample(self.second, resident_mb, age_s, latency_ms))


@dataclass(frozen=True)
class Endurance:
    """A soak with faults: what became of each, and when it ended."""

    soak: Soak
    outcomes: list[tuple[float, Outcome]]
    samples: list[Sample]

    def misses(self) -> list[str]:
        """Every failure, in words."""
        return self.soak.misses() + faults.misses([outcome for _, outcome in self.outcomes])


def endure(seconds: float, folder: Path, seed: int, model: str) -> Endurance:
    """Soak the node, the detector and the live page while faults happen."""
    with ExitStack() as stack:
        rig = stack.enter_context(camera_rig(folder / "log"))
        others = list(_others(stack, folder, model))
        pids = {name: p.popen.pid for name, p in [("fusion_node", rig.process), *others]}
        injected = Faults(rig)
        sampler = Sampler(rig, pids)
        sampler.start()
        outcomes: list[tuple[float, Outcome]] = []
        for name, camera, lasts_s in schedule(Random(seed)):
            outcome = injected.inject(name, camera, lasts_s)
            outcomes.append((sampler.second, outcome))
            node_mb = _resident_mb(pids["fusion_node"])
            print(f"{sampler.second:6.0f} s {node_mb:8.1f} MB  {name}", flush=True)
            if sampler.second > seconds:
                break
        sampler.ended.set()
        sampler.join()
        detector = _unaccounted_by_detector(rig) if model else {}
        for name, process in others:
            assert process.popen.poll() is None, f"{name} has ended: {process.output()}"
    begun_s = outcomes[len(FAULTS) - 1][0] if len(outcomes) >= len(FAULTS) else 0.0
    resident_mb = [s.resident_mb["fusion_node"] for s in sampler.samples if s.second >= begun_s]
    return Endurance(Soak(resident_mb, injected.counts, detector), outcomes, sampler.samples)


def schedule(random: Random) -> Iterator[tuple[str, Camera, float]]:
    """Faults without end: each once in every round, to either camera, for 2 to 6 s."""
    while True:
        for name in random.sample(list(FAULTS), len(FAULTS)):
            yield name, random.choice(list(Camera)), random.uniform(2.0, LONGEST_S)


def _others(stack: ExitStack, folder: Path, model: str) -> Iterator[tuple[str, Any]]:
    """The detector, if there is a model, and the live page, which a client watches."""
    from helpers.view_process import running_view  # needs aiohttp (extra view)

    if model:
        given = parameters(model=model, device="cpu")
        detector = stack.enter_context(
            running("dreamif_ros.detection.node", *given, log=folder / "detector")
        )
        detector.wait_for_output("detecting ")
        yield "detector_node", detector
    view = stack.enter_context(running_view(log=folder / "view"))
    threading.Thread(target=_watch, args=(view.url,), daemon=True).start()
    yield "view", view


def _watch(url: str) -> None:
    """What a browser does that shows every stream."""
    import aiohttp

    async def watch() -> None:
        session = aiohttp.ClientSession()
        async with session, session.ws_connect(f"{url}live") as connection:
            state = json.loads(await connection.receive_str())
            await connection.send_json({"watch": list(range(len(state["streams"])))})
            async for message in connection:
                if message.type is aiohttp.WSMsgType.BINARY:
                    await connection.send_json({"shown": message.data[0]})

    asyncio.run(watch())


def _unaccounted_by_detector(rig: CameraRig) -> dict[str, int]:
    """Images that the detector received and that are in none of its counts, at a pause."""
    name = "/detector_node"
    assert spin_until(rig.node, lambda: name in rig.statuses), rig.statuses
    values = {item.key: item.value for item in rig.statuses[name].values}
    kept = ("published", *(f"images {reason}" for reason in DROPS_OF_IMAGES))
    missing = int(values["received"]) - sum(int(values[key]) for key in kept)
    return {"images received by the detector": missing}


def draw(endurance: Endurance, path: Path) -> None:
    """Memory, latency and age over time in one picture, with the faults that happened."""
    from matplotlib import pyplot  # comes with ultralytics (extra detect)

    seconds = [sample.second for sample in endurance.samples]
    figure, (memory, latency, age) = pyplot.subplots(3, 1, figsize=(12, 9), sharex=True)
    for name in endurance.samples[0].resident_mb:
        memory.plot(seconds, [s.resident_mb[name] for s in endurance.samples], label=name)
    for quantile in ("p50", "p99"):
        values = [s.latency_ms.get(quantile, math.nan) for s in endurance.samples]
        latency.plot(seconds, values, label=f"{STAGE} {quantile}")
    age.plot(seconds, [s.age_s for s in endurance.samples], label="newest fused image")
    for second, outcome in endurance.outcomes:
        age.annotate(outcome.fault, (second, 0), rotation=90, fontsize=6, va="bottom", ha="right")
    labels = {memory: "resident memory (MB)", latency: "latency (ms)", age: "age (s)"}
    for axes, label in labels.items():
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper right")
    age.set_xlabel("s; each fault stands where its check ended")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="default: %(default)g")
    parser.add_argument("--faults", type=int, metavar="SEED", help="let faults happen")
    parser.add_argument("--model", default="", help="YOLO model for the detector, with --faults")
    parser.add_argument("--picture", type=Path, help="PNG file to draw, with --faults")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder:
        if options.faults is None:
            soak = run(options.seconds, Path(folder) / "log")
            misses = soak.misses()
        else:
            endurance = endure(options.seconds, Path(folder), options.faults, options.model)
            soak, misses = endurance.soak, endurance.misses()
            print_outcomes([outcome for _, outcome in endurance.outcomes])
            if options.picture:
                draw(endurance, options.picture)
    print(f"resident memory grew by {soak.growth_mb:.1f} MB (must be below {GROWTH_MB:g} MB)")
    print(", ".join(f"{count} {key}" for key, count in soak.counts.items() if count))
    return print_misses(misses)


if __name__ == "__main__":
    sys.exit(main())
