"""Evaluates one bag: what was recorded, what fusion makes of it, how the cameras agree.

The bag is read in three passes and never held in memory: a survey of all messages, the cameras'
agreement in its first minute, and the fusion of all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from dreamif_model import ConfigError, FusionPipeline
from dreamif_model.cameras import Both
from dreamif_model.device import cpu_threads
from dreamif_model.output_files import whole_file
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_ros.bag.bag_messages import MESSAGES
from dreamif_ros.bag.camera_topics import info_topic
from dreamif_ros.bag.recorded_pairs import PairingOptions
from dreamif_ros.bag.remote import absolute_bag
from dreamif_ros.bag.storage import Topic
from dreamif_ros.detection.detector import Detector, DetectorConfig
from dreamif_ros.evaluation.advice import advise_on_evaluation
from dreamif_ros.evaluation.camera_check import CameraCheck, check_cameras
from dreamif_ros.evaluation.evaluation_results import (
    DETECTED_IN,
    AlignmentFound,
    ClockOffsetFound,
    Evaluation,
    FrameRow,
)
from dreamif_ros.evaluation.film import small_jpeg
from dreamif_ros.evaluation.fused_bag import FusedBag
from dreamif_ros.evaluation.fused_frames import FramePass, FramesFound, Sinks
from dreamif_ros.evaluation.measuring import intervals, noise_medians
from dreamif_ros.evaluation.recorded_cameras import open_cameras
from dreamif_ros.evaluation.rerun_file import RerunFile
from dreamif_ros.evaluation.survey import CamerasSurvey
from dreamif_ros.pictures import VideoWriter
from dreamif_ros.stamps import to_seconds

VIDEO_NAME, BAG_NAME = "fused.mkv", "fused_bag"
ALIGNMENT_WIDTH = 640  # pixels of the alignment's pictures
MAX_WINDOWS = 1_000_000  # of one second
NO_CHECK = "the cameras' agreement was not checked"
Progress = Callable[[Iterator[Any], str, int | None], Iterator[Any]]  # items, what, how many


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, and how thoroughly.

    Attributes:
        infrared: topic; by default found by name and encoding.
        visible: topic; by default found by name and encoding.
        pairing: how images become pairs.
        calibration: its file; None: infrared is resized to the visible image.
        temporal: what the memory of earlier frames is used for.
        every: fuse every Nth pair.
        start_s: leave out what was recorded earlier, in seconds since the bag's first message.
        stop_s: leave out what was recorded then or later, in seconds since the first message.
        metric_frames: how many frames are measured, spread evenly.
        film_frames: how many frames are shown, spread evenly.
        check: estimate the clocks' offset and the cameras' alignment.
        detector: a model file, to look for objects.
        told: what else the report lists as settings.

    Raises:
        ConfigError: a value is out of range.
    """

    infrared: str | None = None
    visible: str | None = None
    pairing: PairingOptions = field(default_factory=PairingOptions)
    calibration: Path | None = None
    temporal: TemporalConfig = field(default_factory=TemporalConfig)
    every: int = 1
    start_s: float = 0.0
    stop_s: float | None = None
    metric_frames: int = 20
    film_frames: int = 24
    check: bool = True
    detector: str | None = None
    told: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"every is {self.every}, expected 1 or more")
        for name in ("metric_frames", "film_frames"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not 0 <= self.start_s < math.inf:
            raise ConfigError(f"the start is {self.start_s:g} s, expected 0 s or more")
        if self.stop_s is not None and not self.start_s < self.stop_s:
            raise ConfigError(f"the stop is {self.stop_s:g} s, expected more than the start")


def evaluate_bag(
    bag: Path,
    pipeline: FusionPipeline,
    settings: EvaluationSettings,
    out: Path,
    *,
    write_bag: bool = False,
    write_video: bool = True,
    rerun: Path | None = None,
    workers: int = 1,
    progress: Progress = lambda items, what, count: items,  # noqa: ARG005
) -> Evaluation:
    """Evaluate a bag; the result names what is wrong with it.

    Args:
        bag: rosbag2 folder, or its ``.mcap`` or ``.db3`` file.
        pipeline: a new one, without registration.
        settings: what is evaluated, and how thoroughly.
        out: existing folder, into which the video and the fused bag are written.
        write_bag: write the fused images and dominance maps as a bag.
        write_video: write the fused images as a video.
        rerun: file to write for the Rerun viewer; None for none.
        workers: threads that measure and draw frames; any number gives the same result.
        progress: wraps the iterations, to show how far they are.

    Raises:
        BagError: nothing can be read of the bag, or the cameras' topics are not clear.
        ConfigError: settings cannot be used.
        DreamIFError: ``rerun`` is given, and rerun-sdk is not installed.
    """
    with ExitStack() as stack:
        run = _BagRun(bag, pipeline, settings, workers, progress, stack)
        check = run.check()
        sinks = run.open_sinks(out, write_bag, write_video, rerun)
        frames = run.fuse(sinks)
        video = sinks.video.close() if sinks.video else None
        fused_bag = sinks.bag.close() if sinks.bag else None
        found = run.result(check, frames)
        found = replace(found, video=video, fused_bag=fused_bag)
        warnings = advise_on_evaluation(
            found, run.survey.recorded(), frames, run.cameras.clock_offset_s, settings.pairing
        )
        return replace(found, warnings=tuple(warnings))


class _BagRun:
    """One evaluation; it begins with the survey."""

    def __init__(
        self,
        bag: Path,
        pipeline: FusionPipeline,
        settings: EvaluationSettings,
        workers: int,
        progress: Progress,
        stack: ExitStack,
    ) -> None:
        self._pipeline, self._settings, self._progress = pipeline, settings, progress
        self._stack, self._workers = stack, workers
        self._detector = make_detector(settings.detector, pipeline)
        named = Both(settings.infrared, settings.visible)
        self.cameras = stack.enter_context(
            open_cameras(bag, named, settings.pairing, settings.calibration)
        )
        self._recording, self._topics = self.cameras.recording, self.cameras.chosen.topics
        self.survey = self._look()

    def _look(self) -> CamerasSurvey:
        """Read every message once."""
        settings, topics = self._settings, self._topics
        found = CamerasSurvey(topics, self.cameras.pairing, self._recording.start_ns)
        messages = self._recording.messages(list(topics), settings.start_s, settings.stop_s)
        for message in self._progress(messages, "message", None):
            found.add(message)
        found.finish()
        if not any(camera.recorded_ns for camera in found.cameras):
            self._check_extent(topics)
        return found

    def _check_extent(self, topics: Both[Topic]) -> None:
        """ConfigError where the start or the stop leaves out all images."""
        recording, settings = self._recording, self._settings
        long_s = to_seconds(recording.end_ns - recording.start_ns)
        if settings.start_s > long_s:
            raise ConfigError(
                f"the start is {settings.start_s:g} s, but the bag is only {long_s:.1f} s long: "
                "begin earlier"
            )
        firsts = [first for topic in topics if (first := recording.first(topic))]
        first_ns = min((first.timestamp_ns for first in firsts), default=recording.start_ns)
        first_s = to_seconds(first_ns - recording.start_ns)
        if settings.stop_s is not None and first_s >= settings.stop_s:
            raise ConfigError(
                f"the stop is {settings.stop_s:g} s, but the first image was recorded at "
                f"{first_s:.1f} s: both count from the bag's first message"
            )

    def check(self) -> CameraCheck:
        """How well the cameras agree."""
        if not self._settings.check:
            return CameraCheck(ClockOffsetFound(reason=NO_CHECK), AlignmentFound(reason=NO_CHECK))
        return check_cameras(
            self._recording, self._topics, self.cameras.calibration, self._settings.start_s
        )

    def open_sinks(
        self, out: Path, write_bag: bool, write_video: bool, rerun: Path | None
    ) -> Sinks:
        """Files in ``out``, the file ``rerun``, and the detector."""
        sinks = Sinks(detector=self._detector)
        if write_video:
            sinks.video = VideoWriter(out / VIDEO_NAME, self._fused_hz(), instead="give --no-video")
            self._stack.callback(sinks.video.close)
        if write_bag:
            sinks.bag = FusedBag(out / BAG_NAME, detections=self._detector is not None)
            self._stack.callback(sinks.bag.abort)
        if rerun is not None:
            unfinished = self._stack.enter_context(whole_file(rerun))
            names = self._detector.names if self._detector else {}
            sinks.rerun = RerunFile(unfinished, self._recording.path.resolve().name, names)
            self._stack.callback(sinks.rerun.close)
        return sinks

    def fuse(self, sinks: Sinks) -> FramesFound:
        """Fuse all pairs, or every Nth."""
        settings = self._settings
        count = math.ceil(self.survey.tally.pairs / settings.every)
        frames = FramePass(
            self._pipeline,
            self.cameras.calibration,
            sinks,
            count,
            settings.metric_frames,
            settings.film_frames,
            self._workers,
            settings.temporal,
        )
        self._stack.callback(frames.close)
        info = self._camera_info()
        pairs = self.cameras.pairs(settings.start_s, settings.stop_s)
        chosen = islice(pairs, 0, None, settings.every)
        for index, pair in enumerate(self._progress(chosen, "pair", count)):
            frames.add(index, pair, self.survey, info)
        return frames.finish()

    def _camera_info(self) -> Any | None:
        """The first message of the visible camera; None where none can be read."""
        topic = info_topic(self._topics.visible)
        first = self._recording.first(topic)
        try:
            return first and MESSAGES.deserialize(first.data, topic.type_name)
        except Exception:  # damaged bytes raise errors of any kind
            self._recording.say(f"{topic.name} holds damaged messages: no camera_info was written")
            return None

    def _fused_hz(self) -> float:
        rates = [camera.rate_hz for camera in self.survey.cameras if camera.rate_hz]
        return min(rates, default=0.0) / self._settings.every

    def result(self, check: CameraCheck, frames: FramesFound) -> Evaluation:
        """All of it, without warnings."""
        infrared, visible = (
            replace(found.record(), sizes_changed=frames.sizes_changed[camera])
            for camera, found in self.survey.cameras.items()
        )
        rows, found = frames.rows, self.survey
        drops = {reason: count for reason, count in found.tally.unpaired.items() if count}
        return Evaluation(
            bag=absolute_bag(self._recording.path).name,
            settings=self._told(),
            duration_s=max(0.0, max(infrared.last_s, visible.last_s) - self._settings.start_s),
            infrared=infrared,
            visible=visible,
            pairs=found.tally.pairs,
            fused=len(rows),
            drops=drops,
            rates=_rates(found, frames, drops),
            rows=tuple(rows),
            skew_ms=_skew(rows),
            clock_offset=check.clock_offset,
            alignment=check.alignment,
            metrics=intervals(rows),
            flicker=frames.flicker.ratios() if frames.couples else {},
            noise=noise_medians(rows),
            detections=_detections(frames) if self._settings.detector else {},
            faults=(*self._recording.faults, *self.cameras.chosen.faults),
            warnings=(),
            latency_ms={
                stage: _spread(1000 * np.array(seconds))
                for stage, seconds in frames.seconds.items()
            },
            film=tuple(frames.film),
            alignment_pictures={
                name: small_jpeg(picture, ALIGNMENT_WIDTH)
                for name, picture in check.pictures.items()
            },
        )

    def _told(self) -> dict[str, Any]:
        settings, engine = self._settings, self._pipeline.engine
        thermal = self._pipeline.normalizer.config
        return settings.told | {
            "infrared": self._topics.infrared.name,
            "visible": self._topics.visible.name,
            "variant": engine.variant,
            "backend": engine.backend.name,
            "device": engine.backend.device,
            "precision": engine.backend.precision,
            "cpu_threads": cpu_threads(),
            "sync.slop_s": settings.pairing.slop_s,
            "sync.infrared_offset_s": settings.pairing.infrared_offset_s,
            "sync.visible_offset_s": settings.pairing.visible_offset_s,
            **{f"thermal.{name}": value for name, value in asdict(thermal).items()},
            **{f"temporal.{name}": value for name, value in asdict(settings.temporal).items()},
            "registration.file": settings.calibration.name if settings.calibration else None,
            "calibration_clock_offset_s": self.cameras.clock_offset_s,
            "every": settings.every,
            "start_s": settings.start_s,
            "stop_s": settings.stop_s,
            "metric_frames": settings.metric_frames,
            "detector": Path(settings.detector).name if settings.detector else None,
        }


def make_detector(model: str | None, pipeline: FusionPipeline) -> Detector | None:
    """The detector of a model file, on the pipeline's device; None without a file."""
    if model is None:
        return None
    return Detector(DetectorConfig(model=model, device=pipeline.engine.backend.device))


def _rates(
    found: CamerasSurvey, frames: FramesFound, drops: dict[str, int]
) -> dict[str, list[float]]:
    """Counts in windows of one second, from the bag's first message to its last.

    There are no windows where they would be too many, because a damaged time claims years.
    """
    events = found.events.copy()
    for row in frames.rows:
        events["fused", max(0, int(row.time_s))] += 1
    seconds = range(max((second for _, second in events), default=-1) + 1)
    if len(seconds) > MAX_WINDOWS:
        seconds = range(0)
    names = ["infrared", "visible", "fused"]
    rates = {name: [float(events[name, second]) for second in seconds] for name in names}
    for reason in drops:
        rates[reason] = [float(events[reason, second]) for second in seconds]
    return {"time_s": [float(second) for second in seconds], **rates}


def _detections(frames: FramesFound) -> dict[str, dict[str, float]]:
    """How many objects, and their mean confidence; 0 without objects."""
    objects = {
        name: sum(row.detections.get(name, 0) for row in frames.rows) for name in DETECTED_IN
    }
    return {
        name: {
            "objects": float(count),
            "confidence": frames.confidences[name] / count if count else 0.0,
        }
        for name, count in objects.items()
    }


def _skew(rows: Sequence[FrameRow]) -> dict[str, float]:
    """Median, 95th percentile and maximum of the absolute skew in ms; empty without pairs."""
    if not rows:
        return {}
    skews = [abs(row.skew_ms) for row in rows]
    maximum = {"greatest": max(skews)}  # the key that metrics.json has had since 0.1.0
    return _spread(skews, 95) | maximum


def _spread(values: Any, percentile: int = 99) -> dict[str, float]:
    """Median and a high percentile; empty without values."""
    if not len(values):
        return {}
    high = float(np.percentile(values, percentile))
    return {"median": float(np.median(values)), f"p{percentile}": high}
