"""CPU time of the fusion node without its model, and the age of its frames.

    make benchmark-node
    .venv/bin/python benchmarks/node.py --only latency --seconds 30

Stages: CPU time of each stage per pair of 640×480 images (mono16 and bgr8, 30 Hz, registered,
variant average), over all threads of the process, without the model; the same for a plain rclpy
node. Whole: both nodes at the same time, with their models, CPU time from /proc. Latency: cameras
at 60 Hz and a model of 100 ms; the age of each frame when it arrives. Cameras, nodes and subscriber
are processes of their own. Compare figures of one run only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import plain_node
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dreamif_model import Calibration
from dreamif_model.device import machine_name, settle_memory
from dreamif_model.registration.calibration_file import write_calibration
from dreamif_model.registration.geometry import Homography
from dreamif_ros.node.transport import choose_dds_settings

FOLDER = Path(__file__).resolve().parent
PROCESSES, PLAIN_NODE = (str(FOLDER / name) for name in ("node_processes.py", "plain_node.py"))
SIZE = (640, 480)
CAMERA_HZ, FAST_CAMERA_HZ = 30.0, 60.0
MODEL_S, MARGIN_S = 0.1, 0.02
WARM_UP_S = 3.0
START_S, STOP_S = 60.0, 20.0  # maximum until the first frame, and until a process ends
NAMED = ("decode", "pair", "normalize", "warp", "encode", "publish")
STAGES = (*NAMED, "receive", "transport", "other")
FUSED, PLAIN = "fused/image_raw", "plain/image_raw"
ALL_OUTPUTS: dict[str, type[Any]] = {
    FUSED: Image,
    f"{FUSED}/compressed": CompressedImage,
    "fused/camera_info": CameraInfo,
    "dominance/infrared": Image,
    "dominance/visible": Image,
    "dominance/overlay": Image,
    "dominance/overlay/compressed": CompressedImage,
}
Samples = dict[str, np.ndarray]  # milliseconds by stage


class Listener:
    """Subscribes, and records the age of each frame when it arrives."""

    def __init__(self, topics: dict[str, type[Any]]) -> None:
        settle_memory()  # a full collection takes 90 ms, which would count as age
        self.ages_ms: dict[str, list[float]] = defaultdict(list)
        self._topics, self._node = tuple(topics), Node("benchmark_listener")
        for topic, kind in topics.items():
            self._subscribe(topic, kind)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)

    def listen(self, seconds: float) -> None:
        """Record anew for this long."""
        self.ages_ms.clear()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait_for(self, *topics: str) -> None:
        """Wait for a frame on each topic; RuntimeError if one does not arrive."""
        end = time.monotonic() + START_S
        while not all(self.ages_ms[topic] for topic in topics):
            if time.monotonic() > end:
                raise RuntimeError(f"nothing on {' or '.join(topics)} within {START_S:.0f} s")
            self._executor.spin_once(timeout_sec=0.1)

    def cpu_spent_s(self, nodes: Iterable[subprocess.Popen[bytes]], seconds: float) -> list[float]:
        """CPU time of each node's process while this records, after a frame on each topic."""
        self.wait_for(*self._topics)
        self.listen(WARM_UP_S)
        before = [cpu_seconds(node) for node in nodes]
        self.listen(seconds)
        return [cpu_seconds(node) - s for node, s in zip(nodes, before, strict=True)]

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()

    def _subscribe(self, topic: str, kind: type[Any]) -> None:
        def note(message: Any) -> None:
            stamp = message.header.stamp
            self.ages_ms[topic].append((time.time() - stamp.sec - stamp.nanosec / 1e9) * 1e3)

        self._node.create_subscription(kind, topic, note, QoSProfile(depth=10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("stages", "whole", "latency"))
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="duration of each row (default: 15)"
    )
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores of {machine_name('cpu')}, Python "
        f"{platform.python_version()}, OpenCV {cv2.__version__}; load "
        f"{os.getloadavg()[0]:.1f} at the start"
    )
    with ros("82") as folder:
        calibration = folder / "calibration.yaml"
        write_calibration(Calibration(Homography(plain_node.HOMOGRAPHY), SIZE, SIZE), calibration)
        parts = {"stages": print_stages, "whole": print_whole, "latency": print_latency}
        for name, part in parts.items():
            if options.only in (None, name):
                part(options.seconds, calibration)


def print_stages(seconds: float, calibration: Path) -> None:
    """Median and 10th to 90th percentile of each stage."""
    fusion = fusion_arguments(calibration, cpu_threads=1)  # the clocks would miss other threads
    rows = {
        "fusion node": measure("fusion", fusion, {FUSED: Image}, seconds),
        "fusion node, all outputs": measure("fusion", fusion, ALL_OUTPUTS, seconds),
    }
    for how in plain_node.NORMALIZE:
        samples = measure("plain", plain_arguments(how), {PLAIN: Image}, seconds)
        rows[f"plain node, {how}"] = samples
    print("\nCPU ms per pair without the model: median (p10-p90)\n")
    names = ("total", "named", *STAGES, "model")
    print(f"| | pairs | {' | '.join(names)} |")
    print(f"| --- | ---: |{' ---: |' * len(names)}")
    for row, samples in rows.items():
        cells = " | ".join(_spread(samples[name]) for name in names)
        print(f"| {row} | {len(samples['total'])} | {cells} |")
    print(f"\nnamed: {', '.join(NAMED)}. Ratios of medians, fusion node to plain node:")
    for how in plain_node.NORMALIZE:
        theirs = rows[f"plain node, {how}"]
        ratios = [
            np.median(rows["fusion node"][name]) / np.median(theirs[name])
            for name in ("total", "named")
        ]
        print(f"{how}: {ratios[0]:.2f} of all, {ratios[1]:.2f} of the named")


def print_whole(seconds: float, calibration: Path) -> None:
    """CPU time of the node processes over the same frames."""
    fusion = ["-m", "dreamif_ros.fusion.node", *fusion_arguments(calibration)]
    commands = {FUSED: fusion} | {
        f"{how}/image_raw": [PLAIN_NODE, *plain_arguments(how), "-r", f"{PLAIN}:={how}/image_raw"]
        for how in plain_node.NORMALIZE
    }
    with ExitStack() as stack:
        listener = stack.enter_context(closing(Listener(dict.fromkeys(commands, Image))))
        nodes = {t: stack.enter_context(running(*words)) for t, words in commands.items()}
        stack.enter_context(running(PROCESSES, "cameras", str(CAMERA_HZ), "0"))
        spent_s = listener.cpu_spent_s(nodes.values(), seconds)
    pairs = {topic: len(listener.ages_ms[topic]) for topic in nodes}
    print("\nCPU ms per fused pair of whole processes with their models, over the same frames\n")
    print("| | pairs | CPU ms | fusion node : it |\n| --- | ---: | ---: | ---: |")
    cost = {topic: 1e3 * s / pairs[topic] for topic, s in zip(nodes, spent_s, strict=True)}
    names = ("fusion node", *(f"plain node, {how}" for how in plain_node.NORMALIZE))
    for name, topic in zip(names, nodes, strict=True):
        print(f"| {name} | {pairs[topic]} | {cost[topic]:.2f} | {cost[FUSED] / cost[topic]:.2f} |")


def print_latency(seconds: float, calibration: Path) -> None:
    """Age at arrival of the frames of a slow model, with the cameras in step or not."""
    period_s = 1 / FAST_CAMERA_HZ
    limit_ms = 1e3 * (MODEL_S + period_s + MARGIN_S)
    print(f"\nAge of a frame at its arrival in ms; a model of {MODEL_S * 1e3:.0f} ms, cameras at")
    print(f"{FAST_CAMERA_HZ:.0f} Hz; the limit is {limit_ms:.1f}\n")
    print("| infrared after visible | frames | p50 | p99 | worst | above the limit |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for delay_s in (0.0, 0.003, period_s / 2):
        with ExitStack() as stack:
            listener = stack.enter_context(closing(Listener({FUSED: Image})))
            stack.enter_context(
                running(PROCESSES, "slow", str(MODEL_S), *fusion_arguments(calibration))
            )
            stack.enter_context(running(PROCESSES, "cameras", str(FAST_CAMERA_HZ), str(delay_s)))
            listener.wait_for(FUSED)
            listener.listen(WARM_UP_S)
            listener.listen(seconds)
        ages = np.array(listener.ages_ms[FUSED])
        print(
            f"| {delay_s * 1e3:.1f} ms | {len(ages)} | {np.median(ages):.1f} | "
            f"{np.percentile(ages, 99):.1f} | {ages.max():.1f} | {(ages > limit_ms).sum()} |"
        )


def measure(
    kind: str, arguments: list[str], topics: dict[str, type[Any]], seconds: float
) -> Samples:
    """Run a node that measures itself; its samples after the warm-up."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        samples = Path(folder) / "samples.json"
        listener = stack.enter_context(closing(Listener(topics)))
        node = stack.enter_context(running(PROCESSES, "measured", kind, str(samples), *arguments))
        stack.enter_context(running(PROCESSES, "cameras", str(CAMERA_HZ), "0"))
        listener.wait_for(*(topic for topic in topics if topic.endswith("image_raw")))
        listener.listen(WARM_UP_S + seconds)
        stop(node)
        pairs = json.loads(samples.read_text())[round(WARM_UP_S * CAMERA_HZ) :]
    names = {name for pair in pairs for name in pair}
    found = {name: 1e3 * np.array([pair.get(name, 0.0) for pair in pairs]) for name in names}
    return found | {"named": np.sum([found[name] for name in NAMED], axis=0)}


def fusion_arguments(calibration: Path, **others: Any) -> list[str]:
    """ROS arguments of the fusion node."""
    values = {"variant": "average", "device": "cpu", "registration.file": calibration}
    return parameters(values | others)


def plain_arguments(normalize: str) -> list[str]:
    """ROS arguments of the plain node."""
    return parameters({"normalize": normalize})


def parameters(values: dict[str, Any]) -> list[str]:
    """ROS arguments that set these parameters."""
    given = (("-p", f"{name}:={value}") for name, value in values.items())
    return ["--ros-args", *itertools.chain(*given)]


@contextmanager
def ros(domain: str) -> Iterator[Path]:
    """ROS for the block, in a domain of its own if none is set; the folder of its logs."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("ROS_DOMAIN_ID", domain)
        os.environ["ROS_LOG_DIR"] = folder
        choose_dds_settings()
        rclpy.init()
        yield Path(folder)
        rclpy.try_shutdown()


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process for the block; its log is shown if it failed."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log)
        try:
            yield process
        finally:
            stop(process)
            if process.returncode:
                log.seek(0)
                print(log.read().decode(), file=sys.stderr)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a process by the signal of Ctrl-C."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _spread(milliseconds: np.ndarray) -> str:
    low, middle, high = np.percentile(milliseconds, (10, 50, 90))
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


if __name__ == "__main__":
    main()
