"""Everything about one bag: what was recorded, what fusion makes of it, how the cameras agree.

The bag is read in three passes and never held: a survey of all messages, the cameras' agreement
in its first minute, and the fusion of all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from dreamif_model import Calibration, ConfigError, FusionPipeline
from dreamif_model.device import cpu_threads
from dreamif_ros.bag.pairs import TYPES, Pairing, camera_topics, pair_images, read_images
from dreamif_ros.bag.recording import DamagedBagError, Recording, open_recording, salvage
from dreamif_ros.bag.storage import CAMERA_INFO
from dreamif_ros.bag.topics import CameraTopics, info_topic
from dreamif_ros.evaluation.camera_check import CameraCheck, check_cameras, complete
from dreamif_ros.evaluation.film import Video, small_jpeg
from dreamif_ros.evaluation.findings import warn
from dreamif_ros.evaluation.frames import FramePass, FramesFound, Sinks
from dreamif_ros.evaluation.measuring import intervals
from dreamif_ros.evaluation.recorder import FusedBag
from dreamif_ros.evaluation.results import (
    DETECTED_IN,
    AlignmentFound,
    Camera,
    ClockOffsetFound,
    Evaluation,
)
from dreamif_ros.evaluation.survey import CameraSurvey, Survey, survey
from dreamif_ros.fusion.camera_infos import CameraInfos
from dreamif_ros.stamps import NANOSECONDS

if TYPE_CHECKING:
    from dreamif_ros.detection.detector import Detector

VIDEO_NAME, BAG_NAME = "fused.mkv", "fused_bag"
ALIGNMENT_WIDTH = 640  # pixels of the alignment's pictures
MOST_WINDOWS = 1_000_000  # of one second
NO_CHECK = "the cameras' agreement was not to be checked"
Item = TypeVar("Item")
Progress = Callable[[Iterator[Any], str, int | None], Iterator[Any]]  # items, what, how many


@dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, and how thoroughly.

    infrared, visible: topics, by default ours or the only pair that fits. calibration: its file.
    every: of the pairs every so manieth is fused. start_s, stop_s: since the bag's first message.
    metric_frames, film_frames: how many are measured and shown, spread evenly. check: estimate
    the clocks' offset and the cameras' alignment. detector: a model file, to look for objects.
    told: what else the report shall list as settings.
    """

    infrared: str | None = None
    visible: str | None = None
    pairing: Pairing = field(default_factory=Pairing)
    calibration: Path | None = None
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
    workers: int = 1,
    progress: Progress = lambda items, what, count: items,  # noqa: ARG005
) -> Evaluation:
    """Evaluate a bag; the video and the fused bag go into ``out``, a folder that is there.

    pipeline: a new one, without registration. workers: threads that measure and draw frames beside
    the fusion; any number gives the same. progress: may show how far the iterations are.
    What is wrong with the bag is named in the result. Raises BagError where nothing can be read of
    it or the cameras' topics are not clear, ConfigError for settings that cannot be used.
    """
    with ExitStack() as stack:
        run = _Run(bag, pipeline, settings, workers, progress, stack)
        check = run.check()
        sinks = run.open_sinks(out, write_bag, write_video)
        frames = run.fuse(sinks)
        video = sinks.video.close() if sinks.video else None
        fused_bag = sinks.bag.close() if sinks.bag else None
        found = run.result(check, frames)
        found = replace(found, video=video, fused_bag=fused_bag)
        return replace(
            found, warnings=tuple(warn(found, frames, run.infos.clock_offset_s, settings.pairing))
        )


class _Run:
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
        self.infos = CameraInfos(settings.calibration)
        # As the node adds the calibration's offset to its own.
        infrared_s = settings.pairing.infrared_offset_s + self.infos.clock_offset_s
        self._pairing = replace(settings.pairing, infrared_offset_s=infrared_s)
        self._recording: Recording = stack.enter_context(open_recording(bag))
        try:
            self._chosen, self._survey = self._look()
        except DamagedBagError as error:
            self._recording = stack.enter_context(salvage(bag, error))
            self._chosen, self._survey = self._look()
        self._topics = self._chosen.infrared, self._chosen.visible
        self._calibration: Calibration | None = complete(self.infos, self._recording, self._topics)

    def _look(self) -> tuple[CameraTopics, Survey]:
        """At every message once."""
        settings = self._settings
        chosen = camera_topics(self._recording, settings.infrared, settings.visible)
        topics = chosen.infrared, chosen.visible
        images = read_images(self._recording, topics, settings.start_s, settings.stop_s)
        shown = self._progress(images, "message", None)
        found = survey(shown, topics, self._pairing, self._recording.start_ns)
        if settings.start_s and not (found.infrared.recorded_ns or found.visible.recorded_ns):
            self._check_start(settings.start_s)
        return chosen, found

    def _check_start(self, start_s: float) -> None:
        long_s = (self._recording.end_ns - self._recording.start_ns) / NANOSECONDS
        if start_s > long_s:
            raise ConfigError(
                f"the start is {start_s:g} s, but the bag is only {long_s:.1f} s long: begin "
                "earlier"
            )

    def check(self) -> CameraCheck:
        """How the cameras agree."""
        if not self._settings.check:
            return CameraCheck(
                ClockOffsetFound(None, None, NO_CHECK),
                AlignmentFound(None, None, None, None, NO_CHECK),
            )
        return check_cameras(
            self._recording, self._topics, self._calibration, self._settings.start_s
        )

    def open_sinks(self, out: Path, write_bag: bool, write_video: bool) -> Sinks:
        """Files in ``out``, and the detector."""
        sinks = Sinks(detector=self._detector)
        if write_video:
            sinks.video = Video(out / VIDEO_NAME, self._fused_hz())
            self._stack.callback(sinks.video.close)
        if write_bag:
            sinks.bag = FusedBag(out / BAG_NAME, detections=self._detector is not None)
            self._stack.callback(sinks.bag.abort)
        return sinks

    def fuse(self, sinks: Sinks) -> FramesFound:
        """All pairs, or every so manieth."""
        settings = self._settings
        count = math.ceil(self._survey.pairs / settings.every)
        frames = FramePass(
            self._pipeline,
            self._calibration,
            sinks,
            count,
            settings.metric_frames,
            settings.film_frames,
            self._workers,
        )
        self._stack.callback(frames.close)
        info = self._camera_info()
        images = read_images(self._recording, self._topics, settings.start_s, settings.stop_s)
        pairs = pair_images(images, self._pairing, self._recording.start_ns)
        chosen = islice(pairs, 0, None, settings.every)
        for index, pair in enumerate(self._progress(chosen, "pair", count)):
            frames.add(index, pair, self._survey, info)
        return frames.finish()

    def _camera_info(self) -> Any | None:
        """The first of the visible camera; None where there is none that can be read."""
        topic = info_topic(self._topics[1])
        first = self._recording.first(topic)
        try:
            return first and TYPES.deserialize_cdr(first.data, CAMERA_INFO)
        except Exception:  # whatever the parser meets in damaged bytes
            self._recording.say(f"{topic.name} holds damaged messages: no camera_info was written")
            return None

    def _fused_hz(self) -> float:
        rates = [camera.rate_hz for camera in self._cameras(FramesFound()) if camera.rate_hz]
        return min(rates, default=0.0) / self._settings.every

    def _cameras(self, frames: FramesFound) -> tuple[Camera, Camera]:
        def result(camera: CameraSurvey, name: str) -> Camera:
            return replace(camera.result(), sizes_changed=frames.sizes_changed[name])

        found = self._survey
        return result(found.infrared, "infrared"), result(found.visible, "visible")

    def result(self, check: CameraCheck, frames: FramesFound) -> Evaluation:
        """All of it, without warnings."""
        infrared, visible = self._cameras(frames)
        rows, found = frames.rows, self._survey
        drops = {reason.replace("_", " "): count for reason, count in found.drops.items() if count}
        return Evaluation(
            bag=self._recording.path.resolve().name,
            settings=self._told(),
            duration_s=max(0.0, max(infrared.last_s, visible.last_s) - self._settings.start_s),
            infrared=infrared,
            visible=visible,
            pairs=found.pairs,
            fused=len(rows),
            drops=drops,
            rates=_rates(found, frames, drops),
            rows=tuple(rows),
            skew_ms=_spread([abs(row.skew_ms) for row in rows], greatest=True),
            clock_offset=check.clock_offset,
            alignment=check.alignment,
            metrics=intervals(rows),
            flicker=frames.flicker.ratios() if frames.couples else {},
            detections=_detections(frames) if self._settings.detector else {},
            faults=(*self._recording.faults, *self._chosen.faults),
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
            "infrared": self._topics[0].name,
            "visible": self._topics[1].name,
            "variant": engine.variant,
            "backend": engine.backend.name,
            "device": engine.backend.device,
            "precision": engine.backend.precision,
            "cpu_threads": cpu_threads(),
            "sync.slop_s": settings.pairing.slop_s,
            "sync.infrared_offset_s": settings.pairing.infrared_offset_s,
            "sync.visible_offset_s": settings.pairing.visible_offset_s,
            **{f"thermal.{name}": value for name, value in asdict(thermal).items()},
            "registration.file": settings.calibration.name if settings.calibration else None,
            "calibration_clock_offset_s": self.infos.clock_offset_s,
            "every": settings.every,
            "start_s": settings.start_s,
            "stop_s": settings.stop_s,
            "metric_frames": settings.metric_frames,
            "detector": Path(settings.detector).name if settings.detector else None,
        }


def make_detector(model: str | None, pipeline: FusionPipeline) -> Detector | None:
    """The detector of a model file, on the pipeline's device; raises what that raises."""
    if model is None:
        return None
    from dreamif_ros.detection.detector import Detector, DetectorConfig

    return Detector(DetectorConfig(model=model, device=pipeline.engine.backend.device))


def _rates(found: Survey, frames: FramesFound, drops: dict[str, int]) -> dict[str, list[float]]:
    """Counts in windows of one second, from the bag's first message to its last.

    Without windows where there are too many: a damaged time of recording claims years.
    """
    events = found.events.copy()
    for row in frames.rows:
        events["fused", max(0, int(row.time_s))] += 1
    seconds = range(max((second for _, second in events), default=-1) + 1)
    if len(seconds) > MOST_WINDOWS:
        seconds = range(0)
    names = ["infrared", "visible", "fused"]
    rates = {name: [float(events[name, second]) for second in seconds] for name in names}
    for reason in found.drops:
        told = reason.replace("_", " ")
        if told in drops:
            rates[told] = [float(events[reason, second]) for second in seconds]
    return {"time_s": [float(second) for second in seconds], **rates}


def _detections(frames: FramesFound) -> dict[str, dict[str, float]]:
    """How many objects, and their mean confidence, 0 without any."""
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


def _spread(values: Any, greatest: bool = False) -> dict[str, float]:
    """Median and a high percentile; empty without values."""
    if not len(values):
        return {}
    if greatest:
        return {
            "median": float(np.median(values)),
            "p95": float(np.percentile(values, 95)),
            "greatest": float(np.max(values)),
        }
    return {"median": float(np.median(values)), "p99": float(np.percentile(values, 99))}
