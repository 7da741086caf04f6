"""Fusion and detection together: pairs per second, latency and CPU time.

    make benchmark-detection MODEL=/path/to/yolo11n_int8_openvino_model

Loop: fuses and detects on pairs of 640×480, without ROS. Nodes: cameras at 30 Hz with fusion_node
and detector_node in one process (pipeline_node) and in two, in turns; rate and age of the
detections when they arrive, and CPU time of the nodes' processes from /proc. Compare figures of one
run only.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack, closing
from pathlib import Path

import cv2
import numpy as np
from node import CAMERA_HZ, PROCESSES, SIZE, WARM_UP_S, Listener, parameters, ros, running
from vision_msgs.msg import Detection2DArray

from dreamif_model import FusionPipeline
from dreamif_model.device import machine_name
from dreamif_ros.detection.detector import Detector
from dreamif_ros.detection.detector_config import DetectorConfig
from dreamif_ros.scene import Scene, SceneConfig

DETECTIONS = "detections"
NODES = {
    "one process": (("dreamif_ros.detection.pipeline_node", ("fusion", "detector")),),
    "two processes": (
        ("dreamif_ros.fusion.node", ("fusion",)),
        ("dreamif_ros.detection.node", ("detector",)),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, help="YOLO model: a file or folder")
    parser.add_argument("--variant", default="nano")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="duration of each row (default: 15)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="turns of each (default: 2)")
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores of {machine_name('cpu')}, "
        f"load {os.getloadavg()[0]:.1f} at the start; {options.variant} by "
        f"{options.backend} in {options.precision} on {options.device}, {options.model.name}"
    )
    print_loop(options)
    with ros("83"):
        print_nodes(options)


def print_loop(options: argparse.Namespace) -> None:
    """Median and 10th to 90th percentile of fuse, detect and both."""
    scene = Scene(SceneConfig(0, SIZE, SIZE))
    pairs = [(scene.visible(time_s), scene.infrared(time_s)) for time_s in range(8)]
    how = {name: getattr(options, name) for name in ("device", "backend", "precision")}
    pipeline = FusionPipeline(options.variant, **how)
    detector = Detector(DetectorConfig(str(options.model), device=options.device))
    pipeline.warm_up()
    detector.warm_up()
    cv2.setNumThreads(1)
    times: dict[str, list[float]] = {"fuse": [], "detect": [], "both": []}
    end = time.monotonic() + WARM_UP_S + options.seconds
    while time.monotonic() < end:
        for visible, infrared in pairs:
            started = time.perf_counter()
            result = pipeline.fuse(visible, infrared)
            fused = time.perf_counter()
            detector.detect(result.fused)
            done = time.perf_counter()
            if time.monotonic() > end - options.seconds:
                for name, seconds in zip(
                    times, (fused - started, done - fused, done - started), strict=True
                ):
                    times[name].append(1e3 * seconds)
    print(f"\nOne after the other, {len(times['both'])} pairs of {SIZE[0]}×{SIZE[1]}\n")
    print("| | ms: median (p10-p90) | per second |\n| --- | ---: | ---: |")
    for name, milliseconds in times.items():
        low, middle, high = np.percentile(milliseconds, (10, 50, 90))
        print(f"| {name} | {middle:.1f} ({low:.1f}-{high:.1f}) | {1e3 / middle:.1f} |")


def print_nodes(options: argparse.Namespace) -> None:
    """Rate, age and CPU time of detections, with one process and with two in turns."""
    print(f"\nNodes, cameras at {CAMERA_HZ:.0f} Hz\n")
    print("| | detections | per second | age ms: p50 | p99 | CPU ms each |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    cost: dict[str, list[tuple[float, float]]] = {name: [] for name in NODES}
    for _ in range(options.rounds):
        for name in NODES:
            ages, cpu_ms = measure_nodes(name, options)
            cost[name].append((float(np.median(ages)), cpu_ms))
            print(
                f"| {name} | {len(ages)} | {len(ages) / options.seconds:.1f} | "
                f"{np.median(ages):.0f} | {np.percentile(ages, 99):.0f} | {cpu_ms:.0f} |"
            )
    one, two = (np.median(cost[name], axis=0) for name in NODES)
    print(f"\none to two processes: {one[0] / two[0]:.2f} of the age, {one[1] / two[1]:.2f} of CPU")


def measure_nodes(name: str, options: argparse.Namespace) -> tuple[np.ndarray, float]:
    """Ages of the detections in ms, and CPU ms of the nodes per detection."""
    values = {
        "fusion": {
            key: getattr(options, key) for key in ("variant", "device", "backend", "precision")
        },
        "detector": {"model": options.model.absolute(), "device": options.device},
    }
    with ExitStack() as stack:
        listener = stack.enter_context(closing(Listener({DETECTIONS: Detection2DArray})))
        nodes = []
        for module, kinds in NODES[name]:
            given = {key: value for kind in kinds for key, value in values[kind].items()}
            nodes.append(stack.enter_context(running("-m", module, *parameters(given))))
        stack.enter_context(running(PROCESSES, "cameras", str(CAMERA_HZ), "0"))
        spent_s = sum(listener.cpu_spent_s(nodes, options.seconds))
    ages = np.array(listener.ages_ms[DETECTIONS])
    return ages, 1e3 * spent_s / len(ages)


if __name__ == "__main__":
    main()
