"""The processes of benchmarks/node.py: cameras, and nodes that measure themselves.

    python benchmarks/node_processes.py cameras RATE_HZ INFRARED_DELAY_S
    python benchmarks/node_processes.py measured fusion|plain SAMPLES_FILE [ROS arguments]
    python benchmarks/node_processes.py slow MODEL_S [ROS arguments]

Each runs until SIGINT.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import plain_node
import rclpy
from numpy.typing import NDArray
from rclpy.lifecycle import LifecyclePublisher
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_model import FusionPipeline, FusionResult
from dreamif_model.engine import FusionEngine
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.codec.message_builder import MessageBuilder
from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.fusion import node as fusion_node
from dreamif_ros.fusion.fusion_stream import FusionStream
from dreamif_ros.scene import Scene, SceneConfig
from dreamif_ros.stamps import from_seconds, split_ns

SIZE = (640, 480)
MOMENTS = 8  # of the scene: drawn once, published in turns
MODEL = "model"
Call = tuple[Any, str, str]  # owner and name of a function, and its stage
FUSION_CALLS: tuple[Call, ...] = (
    (FusionStream, "_on_image", "pair"),
    (FusionStream, "_decode", "decode"),
    (ThermalNormalizer, "normalize", "normalize"),
    (FusionPipeline, "_register", "warp"),
    (FusionEngine, "fuse", MODEL),
    (MessageBuilder, "image", "encode"),
    (MessageBuilder, "compressed", "encode"),
    (LifecyclePublisher, "publish", "publish"),
)
PLAIN_CALLS: tuple[Call, ...] = (
    (plain_node.PlainNode, "_pair", "pair"),
    (plain_node.PlainNode, "_decode", "decode"),
    (plain_node.PlainNode, "_normalize", "normalize"),
    (plain_node.PlainNode, "_warp", "warp"),
    (plain_node.PlainNode, "_fuse", MODEL),
    (plain_node.PlainNode, "_encode", "encode"),
    (Publisher, "publish", "publish"),
)
NODES: dict[str, tuple[Call, tuple[Call, ...], Callable[..., int]]] = {
    "fusion": ((FusionStream, "_process", "other"), FUSION_CALLS, fusion_node.main),
    "plain": ((plain_node.PlainNode, "_process", "other"), PLAIN_CALLS, plain_node.main),
}


class Stages:
    """CPU seconds of each pair by stage; their sum is the CPU time of the process.

    A stage does not include the stages that it calls. receive is the rest of the executor's thread,
    transport is the middleware's threads.
    """

    def __init__(self) -> None:
        self.samples: list[dict[str, float]] = []
        self._lock, self._inside = threading.Lock(), threading.local()
        self._spent: dict[str, float] = defaultdict(float)
        self._in_executor_s = 0.0  # of the stages
        self._executor = threading.main_thread()
        self._clock = time.pthread_getcpuclockid(self._executor.ident or 0)
        self._before = self._clocks()

    def measure(self, call: Call, end: Callable[[], None] = lambda: None) -> None:
        """Measure a function wherever it is called; ``end`` is called after it."""
        owner, name, stage = call
        function = getattr(owner, name)

        @functools.wraps(function)
        def measured(*arguments: Any, **options: Any) -> Any:
            outer_s, self._inside.seconds = getattr(self._inside, "seconds", 0.0), 0.0
            start = time.thread_time()
            result = function(*arguments, **options)
            seconds = time.thread_time() - start
            self._add(stage, seconds - self._inside.seconds)
            self._inside.seconds = outer_s + seconds
            end()
            return result

        setattr(owner, name, measured)

    def end_pair(self) -> None:
        """Store the time since the last pair's end as this pair's sample."""
        clocks = self._clocks()
        process, executor, thread = (b - a for a, b in zip(self._before, clocks, strict=True))
        own = 0.0 if threading.current_thread() is self._executor else thread
        with self._lock:
            spent, self._spent = self._spent, defaultdict(float)
            in_executor, self._in_executor_s = self._in_executor_s, 0.0
        spent["other"] += own - (sum(spent.values()) - in_executor)
        spent["receive"] = executor - in_executor
        spent["transport"] = process - executor - own
        spent["total"] = process - spent[MODEL]
        self.samples.append(dict(spent))
        self._before = clocks

    def _add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._spent[stage] += seconds
            if threading.current_thread() is self._executor:
                self._in_executor_s += seconds

    def _clocks(self) -> tuple[float, float, float]:
        return time.process_time(), time.clock_gettime(self._clock), time.thread_time()


def measured(kind: str, samples: str, *arguments: str) -> None:
    """Run a node that writes its samples into a file at its end."""
    stages = Stages()
    process, calls, main = NODES[kind]
    for call in calls:
        stages.measure(call)
    stages.measure(process, stages.end_pair)
    cv2.setNumThreads(1)  # the plain node too: what other threads do would not be seen
    main(list(arguments))
    Path(samples).write_text(json.dumps(stages.samples))


def slow(model_s: str, *arguments: str) -> None:
    """Run the fusion node with a model that only waits."""

    def fuse(self: FusionPipeline, visible: NDArray[Any], **_: Any) -> FusionResult:
        time.sleep(float(model_s))
        return self.visible_alone(visible)

    FusionPipeline.fuse = fuse
    fusion_node.main(list(arguments))


def cameras(rate_hz: str, infrared_delay_s: str) -> None:
    """Run two cameras that cost nearly nothing; infrared sees each moment later by a delay."""
    period_s, delay_s = 1 / float(rate_hz), float(infrared_delay_s)
    rclpy.init()
    node = rclpy.create_node("benchmark_cameras")
    visible, infrared = (
        node.create_publisher(Image, f"{camera}/image_raw", qos_profile_sensor_data)
        for camera in ("visible", "infrared")
    )
    moments = _draw_moments()
    start_s = time.time()
    frame = 0
    while rclpy.ok():
        pictures = moments[frame % MOMENTS]
        due_s = start_s + frame * period_s
        _publish_at(due_s, visible, pictures[0])
        _publish_at(due_s + delay_s, infrared, pictures[1])
        frame += 1
    node.destroy_node()


def _draw_moments() -> list[tuple[Image, Image]]:
    matrix = plain_node.HOMOGRAPHY
    scene = Scene(SceneConfig(0, SIZE, SIZE, homography=tuple(map(tuple, matrix.tolist()))))
    return [
        (
            ROS_MESSAGES.image(scene.visible(time_s), "bgr8", Header(frame_id="visible")),
            ROS_MESSAGES.image(scene.infrared(time_s), "mono16", Header(frame_id="infrared")),
        )
        for time_s in range(MOMENTS)
    ]


def _publish_at(due_s: float, publisher: Publisher[Image], message: Image) -> None:
    time.sleep(max(0.0, due_s - time.time()))
    stamp = message.header.stamp
    stamp.sec, stamp.nanosec = split_ns(from_seconds(due_s))
    publisher.publish(message)


def main() -> None:
    roles: dict[str, Callable[..., None]] = {"cameras": cameras, "measured": measured, "slow": slow}
    with contextlib.suppress(KeyboardInterrupt):
        roles[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
