"""What the fusion node does about each fault, and how soon it recovers.

Two cameras (640×480, bgr8 and mono16) and the node with variant average run in a process each.
Each fault begins, lasts for 3 s, and ends. Prints a table in Markdown: the modes meanwhile, what
/diagnostics says, and the time from the end of the fault until images of both cameras are fused
and this has lasted for 2.5 s. Exits with 1 if the node did not recover, or if an image is neither
published nor counted as dropped for a reason.

    make faults
    .venv/bin/python benchmarks/faults.py --only "node stopped for 5 s" --times 20
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test"))

from helpers.camera_rig import QOS, CameraRig, camera_rig, unaccounted  # noqa: E402
from helpers.ros_processes import take_shared_memory  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402

from dreamif_model.cameras import Camera  # noqa: E402

SIZE = {"width": 640, "height": 480}
LASTS_S = 3.0
STOPPED_S = 5.0
HOLD_S = 2.5  # so long must images come before the node counts as recovered
RECENT_S = 0.5  # the newest image is not older while images come
LIMIT_S = 40.0
ANEW = "the process starts anew"  # the node's last words before its counts begin again
Begin = Callable[[CameraRig, Camera], Any]  # a fault of the rig, mostly of one camera


@contextmanager
def _told(rig: CameraRig, camera: Camera, **changes: object) -> Iterator[None]:
    source = rig.cameras[camera]
    before = {name: getattr(source.settings, name) for name in changes}
    source.tell(**changes)
    yield
    source.tell(**before)


@contextmanager
def _killed(rig: CameraRig, *cameras: Camera) -> Iterator[None]:
    rig.kill(*cameras)
    yield
    for camera in cameras:
        rig.cameras[camera].start()


@contextmanager
def _camera_stopped(rig: CameraRig, camera: Camera) -> Iterator[None]:
    rig.cameras[camera].signal(signal.SIGSTOP)
    yield
    rig.cameras[camera].signal(signal.SIGCONT)


@contextmanager
def _node_stopped(rig: CameraRig, _: Camera) -> Iterator[None]:
    rig.process.popen.send_signal(signal.SIGSTOP)
    rig.spin(STOPPED_S - LASTS_S)
    yield
    rig.process.popen.send_signal(signal.SIGCONT)


@contextmanager
def _memory_lost(rig: CameraRig, camera: Camera) -> Iterator[None]:
    take_shared_memory(rig.process)
    rig.cameras[camera].kill()
    rig.cameras[camera].start()
    yield
    rig.process.wait_for_output(ANEW)


@contextmanager
def _busy(_: CameraRig, __: Camera) -> Iterator[None]:
    """Twice as many busy processes as there are cores."""
    command = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as stack:
        for _ in range(2 * (os.cpu_count() or 1)):
            process = subprocess.Popen(command)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


@contextmanager
def _watched(rig: CameraRig, _: Camera) -> Iterator[None]:
    """Subscribers to outputs that nobody else wants."""
    topics = {"fused/image_raw": Image, "dominance/overlay": Image, "dominance/visible": Image}
    topics["fused/image_raw/compressed"] = CompressedImage
    made = [
        rig.node.create_subscription(kind, topic, lambda _: None, QOS)
        for topic, kind in topics.items()
    ]
    yield
    for subscription in made:
        rig.node.destroy_subscription(subscription)


KILLED = ("a camera killed, a new one", "both cameras killed, new ones")
MEMORY = "the node's shared memory deleted"  # no one ends this fault: the node heals itself
FAULTS: dict[str, Begin] = {
    "a camera silent": partial(_told, rate_hz=0.0),
    KILLED[0]: _killed,
    KILLED[1]: lambda rig, _: _killed(rig, *Camera),
    "a camera's process stopped": _camera_stopped,
    "stamps stand still": partial(_told, stamps="stopped"),
    "stamps run backwards": partial(_told, stamps="backwards"),
    "stamps jump by 10 s": partial(_told, ahead_s=10.0),
    "one picture again and again": partial(_told, pictures=1),
    "one gray level": partial(_told, blank=True, encoding="mono8"),
    "truncated data": partial(_told, data_bytes=100),
    "unknown encoding": partial(_told, told_encoding="yuv9"),
    "another size": partial(_told, width=320, height=256),
    "subscribers come and go": _watched,
    "CPU taken by busy processes": _busy,
    "node stopped for 5 s": _node_stopped,
    MEMORY: _memory_lost,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one fault."""

    fault: str
    modes: list[str]  # that were declared meanwhile
    says: str  # the message of the node's diagnostics at its end
    recovered_s: float | None  # after the end; None: not within LIMIT_S
    started_anew: bool  # the node's process, whose counts began again
    unaccounted: dict[str, int] = field(default_factory=dict)  # images, by where they got lost


class Faults:
    """Injects faults into a rig, and accounts for every image from one to the next."""

    def __init__(self, rig: CameraRig) -> None:
        self._rig = rig
        rig.cameras.visible.heal(encoding="bgr8", **SIZE)
        rig.cameras.infrared.heal(encoding="mono16", **SIZE)
        self._recovered_s(time.monotonic())
        self.counts = rig.pause()

    def inject(self, name: str, camera: Camera, seconds: float = LASTS_S) -> Outcome:
        """Let a fault happen and end."""
        rig = self._rig
        rig.resume()
        self._recovered_s(time.monotonic())
        rig.process.forget_output()
        begun_s = time.monotonic()
        with FAULTS[name](rig, camera):
            rig.spin(seconds)
            status = rig.statuses.get("/fusion_node")
        ended_s = time.monotonic()
        modes = [mode for moment_s, mode in rig.modes if begun_s < moment_s < ended_s]
        recovered_s = self._recovered_s(ended_s)
        if name == MEMORY and recovered_s is not None:
            recovered_s += ended_s - begun_s
        return Outcome(
            name, modes, status.message if status else "", recovered_s, *self._account(name)
        )

    def _recovered_s(self, ended_s: float) -> float | None:
        """When images of both cameras came again and went on to come."""
        rig, since_s = self._rig, None
        ended_ns = time.time_ns() - round((time.monotonic() - ended_s) * 1e9)
        while (now_s := time.monotonic()) < ended_s + LIMIT_S:
            newest_ns = rig.images[-1][0] if rig.images else 0
            is_recent = newest_ns > max(ended_ns, time.time_ns() - RECENT_S * 1e9)
            if not (is_recent and rig.modes[-1][1] == "fused"):
                since_s = None
            elif since_s is None:
                since_s = now_s
            elif now_s - since_s > HOLD_S:
                return since_s - ended_s
            rig.node.spinner.spin_once(timeout_sec=0.05)
        return None

    def _account(self, name: str) -> tuple[bool, dict[str, int]]:
        """Whether the node started anew, and images that nobody counted if it did not."""
        before, self.counts = self.counts, self._rig.pause()
        if ANEW in self._rig.process.output():
            return True, {}
        found = unaccounted(before, self.counts)
        # What a camera sent in its life ends with it, and a new one sends before it is known.
        sent = [f"{camera} sent" for camera in Camera if name in KILLED]
        return False, {where: count for where, count in found.items() if where not in sent}


def as_markdown(outcomes: list[Outcome]) -> str:
    """One row for each kind of fault."""
    lines = [
        "| fault | times | modes meanwhile | `/diagnostics` | recovered (s): median | maximum |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(outcome.fault for outcome in outcomes):
        of_name = [outcome for outcome in outcomes if outcome.fault == name]
        modes = dict.fromkeys(mode for outcome in of_name for mode in outcome.modes)
        times = [o.recovered_s for o in of_name if o.recovered_s is not None]
        well = (
            f"{median(times):.1f} | {max(times):.1f}" if len(times) == len(of_name) else "never |"
        )
        shown = ", ".join(f"`{mode}`" for mode in modes) or "`fused`"
        says = max((outcome.says for outcome in of_name), key=len)
        lines.append(f"| {name} | {len(of_name)} | {shown} | {says} | {well} |")
    return "\n".join(lines)


def misses(outcomes: list[Outcome]) -> list[str]:
    """Every failure, in words."""
    never = [f"{o.fault}: not recovered" for o in outcomes if o.recovered_s is None]
    lost = [
        f"{o.fault}: {count} {where} unaccounted for"
        for o in outcomes
        for where, count in o.unaccounted.items()
        if count
    ]
    return never + lost


def print_outcomes(outcomes: list[Outcome]) -> None:
    anew = sum(outcome.started_anew for outcome in outcomes)
    print(as_markdown(outcomes))
    print(f"{len(outcomes)} faults; the node's process started anew after {anew} of them")


def print_misses(misses: list[str]) -> int:
    """Print every failure; the exit status: 1 if there is one."""
    for miss in misses:
        print(f"MISSED: {miss}")
    return int(bool(misses))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=FAULTS, metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--times", type=int, default=3, help="each fault; default: %(default)d")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    random, outcomes = Random(0), []
    with tempfile.TemporaryDirectory() as folder, camera_rig(Path(folder) / "log") as rig:
        faults = Faults(rig)
        for name in [options.only] if options.only else FAULTS:
            for _ in range(options.times):
                outcomes.append(faults.inject(name, random.choice(list(Camera))))
                print(outcomes[-1], file=sys.stderr, flush=True)
    print_outcomes(outcomes)
    return print_misses(misses(outcomes))


if __name__ == "__main__":
    sys.exit(main())
