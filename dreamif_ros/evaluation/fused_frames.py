"""Fuses the pairs of a bag, and measures and keeps what comes out."""

from __future__ import annotations

import re
import time
from array import array
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model import Calibration, FusionPipeline, FusionResult, ImageError
from dreamif_model.blank import is_blank
from dreamif_model.cameras import Both, Camera
from dreamif_model.dominance.overlay import dominance_overlay
from dreamif_model.temporal.settings import TemporalConfig
from dreamif_ros.bag.recorded_pairs import RecordedPair
from dreamif_ros.codec.compressed import compress_jpeg
from dreamif_ros.detection.boxes import draw_boxes
from dreamif_ros.detection.detector import Detections, Detector
from dreamif_ros.evaluation.evaluation_results import DETECTED_IN, FilmFrame, FrameRow
from dreamif_ros.evaluation.film import QUALITY, small_jpeg
from dreamif_ros.evaluation.fused_bag import FusedBag
from dreamif_ros.evaluation.measuring import (
    FlickerSums,
    Grays,
    Places,
    Registration,
    WatchedNormalizer,
)
from dreamif_ros.evaluation.noise_watch import NoiseWatch, WatchedFilter
from dreamif_ros.evaluation.rerun_file import PICTURES, RerunFile
from dreamif_ros.evaluation.side_work import SideWork
from dreamif_ros.evaluation.survey import CamerasSurvey
from dreamif_ros.pictures import Picture, VideoWriter, gray_to_rgb

SCORE_PERIOD_S = 1.0  # between two frames whose alignment is judged, as in the node
GAIN_STEP = 16.0  # gray levels; an end of the 8-bit range that moves further at once is a jump
GAIN_SAMPLE = 8  # every eighth row and column tells
GAIN_PERCENTILES = (5, 95)
DETECTOR_INPUT = "detection_image"  # by default, as in the nodes
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass
class Sinks:
    """Where frames go besides the rows; None where they do not."""

    video: VideoWriter | None = None
    bag: FusedBag | None = None
    detector: Detector | None = None
    rerun: RerunFile | None = None

    @property
    def need_infrared(self) -> bool:
        """Whether every frame needs the infrared image on the visible pixels."""
        return self.detector is not None or self.rerun is not None


@dataclass
class FramesFound:
    """What came out of all pairs."""

    rows: list[FrameRow] = field(default_factory=list)
    film: list[FilmFrame] = field(default_factory=list)
    flicker: FlickerSums = field(default_factory=FlickerSums)
    # The time that each frame took, by stage.
    seconds: defaultdict[str, array[float]] = field(
        default_factory=lambda: defaultdict(lambda: array("d"))
    )
    confidences: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    blank: Both[int] = field(default_factory=lambda: Both(0, 0))  # frames of one gray level
    # On the thermal images, by their text without numbers: the first one, and in how many frames.
    remarks: dict[str, tuple[str, int]] = field(default_factory=dict)
    gain_jumps: int = 0  # of the 8-bit infrared range
    sizes_changed: Both[int] = field(default_factory=lambda: Both(0, 0))
    couples: int = 0  # of successive frames in ``flicker``
    unmeasured: str = ""  # why the first frame without metrics has none

    def note_remarks(self, remarks: tuple[str, ...]) -> None:
        """Count the remarks on one frame."""
        for remark in remarks:
            kind = _NUMBER.sub("", remark)
            first, count = self.remarks.get(kind, (remark, 0))
            self.remarks[kind] = first, count + 1


@dataclass(frozen=True)
class _FusedPair:
    """One fused frame with all that is made of it."""

    pair: RecordedPair
    result: FusionResult
    infrared: NDArray[np.uint8] | None  # registered (H, W) gray, where it is needed
    detections: dict[str, Detections]


@dataclass(frozen=True)
class _Measured:
    """What measuring a frame gave; flicker where the frame before was measured too."""

    grays: Grays
    metrics: dict[str, dict[str, float]]
    refusal: str
    flicker: FlickerSums | None


class FramePass:
    """Fuses pairs one by one.

    Args:
        pipeline: without registration.
        calibration: that the pipeline is given.
        sinks: where frames go besides the rows.
        count: how many pairs are to come.
        metric_frames: how many of them are measured, spread evenly.
        film_frames: how many of them are drawn, spread evenly.
        workers: threads that measure and draw.
        temporal: what the memory of earlier frames is used for.
    """

    def __init__(
        self,
        pipeline: FusionPipeline,
        calibration: Calibration | None,
        sinks: Sinks,
        count: int,
        metric_frames: int,
        film_frames: int,
        workers: int = 1,
        temporal: TemporalConfig | None = None,
    ) -> None:
        self.found = FramesFound()
        self._sinks = sinks
        self._normalizer = WatchedNormalizer(pipeline.normalizer.config)
        pipeline.normalizer = self._normalizer
        self._sequence = pipeline.stream(temporal)
        plain = self._sequence.memory
        self._filter = WatchedFilter(plain.smooths, plain.max_frames)
        self._sequence.memory = self._filter
        self._noise = NoiseWatch()
        if calibration:
            pipeline.register(calibration)
        self._registration = Registration(calibration)
        self._measured, self._filmed = Places(count, metric_frames), Places(count, film_frames)
        self._before: Future[_Measured] | None = None  # of the last frame, where it is measured
        self._work, self._film = SideWork(workers), list[tuple[int, dict[str, bytes]]]()
        self._sizes: Both[tuple[int, ...] | None] = Both(None, None)
        self._gain: tuple[float, float] | None = None
        self._scored_s = -SCORE_PERIOD_S

    def add(self, index: int, pair: RecordedPair, survey: CamerasSurvey, info: Any | None) -> None:
        """Fuse a pair, or count in ``survey`` why it cannot be fused.

        index: of the pair among those to come. info: camera_info of the visible camera.
        """
        fused = self._fuse(pair, survey)
        if fused is None:
            self._before = None
            survey.refuse_pair(pair.images.visible.recorded_ns)
            return
        measured, filmed = self._measured.due(index), self._filmed.due(index)
        wanted = measured or filmed or self._before is not None or self._sinks.need_infrared
        gray = self._gray(pair) if wanted else None
        picture = _FusedPair(pair, fused, gray, self._detect(pair, fused, gray))
        self.found.rows.append(self._row(index, picture))
        self._measure(picture, measured)
        if filmed:
            self._work.give(
                partial(self._keep_film, len(self.found.rows) - 1), self._film_pictures, picture
            )
        self._write(picture, info)

    def finish(self) -> FramesFound:
        """All of it, once all pairs were added."""
        self._work.finish()
        self.found.film = [FilmFrame(self.found.rows[row], film) for row, film in self._film]
        if self._sinks.rerun is not None:
            self._sinks.rerun.add_numbers(self.found.rows, self.found.seconds)
        return self.found

    def close(self) -> None:
        """Leave out what is not finished."""
        self._work.close()

    def _keep_film(self, row: int, pictures: dict[str, bytes]) -> None:
        self._film.append((row, pictures))

    def _fuse(self, pair: RecordedPair, survey: CamerasSurvey) -> FusionResult | None:
        started = time.perf_counter()
        refused = False
        for camera in Camera:
            try:
                self._watch(camera, pair.infrared if camera == Camera.INFRARED else pair.visible)
            except ImageError as error:
                survey.cameras[camera].refuse(str(error))
                refused = True
        if refused:
            return None
        decoded = time.perf_counter()
        score = pair.time_s - self._scored_s >= SCORE_PERIOD_S
        try:
            detects = self._sinks.detector is not None
            result = self._sequence.fuse(
                pair.visible, pair.infrared, score, detects, time_s=pair.time_s
            )
        except ImageError as error:  # counts as infrared's: the node shows visible alone
            survey.cameras.infrared.refuse(str(error))
            return None
        self.found.note_remarks(self._normalizer.remarks)
        if score:
            self._scored_s = pair.time_s
        seconds = {"decode": decoded - started, **result.timings}
        seconds["in all"] = sum(seconds.values())
        for stage, spent in seconds.items():
            self.found.seconds[stage].append(spent)
        return result

    def _watch(self, camera: Camera, image: NDArray[Any]) -> None:
        """Note what spoils the fused image although nothing is refused."""
        shape = image.shape[:2]
        self.found.sizes_changed[camera] += self._sizes[camera] not in (None, shape)
        self._sizes[camera] = shape
        self.found.blank[camera] += is_blank(image)
        if camera == Camera.INFRARED and image.dtype == np.uint8:
            sample = image[::GAIN_SAMPLE, ::GAIN_SAMPLE]
            low, high = (float(value) for value in np.percentile(sample, GAIN_PERCENTILES))
            before = self._gain or (low, high)
            moved = max(abs(low - before[0]), abs(high - before[1]))
            self.found.gain_jumps += moved > GAIN_STEP
            self._gain = low, high

    def _gray(self, pair: RecordedPair) -> NDArray[np.uint8]:
        return self._registration.gray(self._normalizer.normalized, pair.visible)

    def _measure(self, picture: _FusedPair, measured: bool) -> None:
        """Measure a frame where it is due; the frame after a measured one shows the flicker."""
        before, self._before = self._before, None
        if picture.infrared is None or not (measured or before):
            return
        inputs = picture.infrared, picture.pair.visible, picture.result.fused
        row = len(self.found.rows) - 1

        def keep(found: _Measured) -> None:
            self.found.rows[row] = replace(self.found.rows[row], metrics=found.metrics)
            self.found.unmeasured = self.found.unmeasured or found.refusal
            if found.flicker:
                self.found.flicker.add(found.flicker)
                self.found.couples += 1

        future = self._work.give(keep, _measured, inputs, before, measured)
        if measured:
            self._before = future

    def _detect(
        self, pair: RecordedPair, fused: FusionResult, gray: NDArray[np.uint8] | None
    ) -> dict[str, Detections]:
        detector = self._sinks.detector
        if detector is None or gray is None or fused.detection_image is None:
            return {}
        started = time.perf_counter()
        pictures = (pair.visible, gray, fused.fused, fused.detection_image)
        found = {
            name: detector.detect(image) for name, image in zip(DETECTED_IN, pictures, strict=True)
        }
        self.found.seconds["detect"].append((time.perf_counter() - started) / len(found))
        for name, detections in found.items():
            self.found.confidences[name] += float(detections.scores.sum())
        return found

    def _row(self, index: int, picture: _FusedPair) -> FrameRow:
        pair, result = picture.pair, picture.result
        low, high = self._normalizer.bounds
        noise = self._noise.look(pair.visible, self._normalizer.normalized)
        removed = self._filter.removed if self._sequence.config.mode != "off" else None
        return FrameRow(
            index=index,
            time_s=pair.time_s,
            stamp_ns=pair.images.visible.header_ns,
            skew_ms=pair.skew_ms,
            thermal_low=low,
            thermal_high=high,
            alignment=result.alignment,
            dominance_infrared=_mean(result.dominance_infrared),
            dominance_visible=_mean(result.dominance_visible),
            detections={name: len(found.boxes) for name, found in picture.detections.items()},
            noise_infrared=noise.cameras.infrared,
            noise_visible=noise.cameras.visible,
            stripes=noise.stripes,
            stripes_counts=noise.stripes * (high - low) / 255,
            removed_infrared=removed.infrared if removed else None,
            removed_visible=removed.visible if removed else None,
        )

    def _film_pictures(self, picture: _FusedPair) -> dict[str, bytes]:
        images = _pictures(picture)
        detector = self._sinks.detector
        if detector is not None:
            found = picture.detections[DETECTOR_INPUT]
            images["boxes"] = draw_boxes(picture.result.fused, found, detector.names)
        return {name: small_jpeg(image) for name, image in images.items()}

    def _write(self, picture: _FusedPair, info: Any | None) -> None:
        image = picture.pair.images.visible
        header, detector = image.message.header, self._sinks.detector
        if self._sinks.video is not None:
            self._sinks.video.add(picture.result.fused)
        if self._sinks.bag is not None:
            self._sinks.bag.add(picture.result, header, image.recorded_ns, info)
            if detector is not None:
                found = picture.detections[DETECTOR_INPUT]
                self._sinks.bag.add_detections(found, detector.names, header, image.recorded_ns)
        if self._sinks.rerun is not None:
            found_here = picture.detections.get(DETECTOR_INPUT)
            then = partial(self._sinks.rerun.add, picture.pair.stamp_ns, found_here)
            self._work.give(then, _jpegs, picture)


def _measured(
    inputs: tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]],
    before: Future[_Measured] | None,
    measured: bool,
) -> _Measured:
    """inputs: infrared (H, W), visible (H, W[, 3]) and fused (H, W, 3)."""
    grays, metrics, refusal = Grays.of(*inputs), {}, ""
    if measured:
        try:
            metrics = grays.metrics()
        except ImageError as error:  # too small for one of them
            refusal = str(error)
    flicker = FlickerSums.of(before.result().grays, grays) if before else None
    return _Measured(grays, metrics, refusal, flicker)


def _pictures(picture: _FusedPair) -> dict[str, Picture]:
    """What people compare, all on the visible pixels: see PICTURES."""
    assert picture.infrared is not None  # a frame that is shown has it
    result, visible = picture.result, picture.pair.visible
    overlay = dominance_overlay(result.fused, result.dominance_infrared, result.dominance_visible)
    images = (
        gray_to_rgb(picture.infrared),
        visible if visible.ndim == 3 else gray_to_rgb(visible),
        result.fused,
        overlay,
    )
    return dict(zip(PICTURES, images, strict=True))


def _jpegs(picture: _FusedPair) -> dict[str, bytes]:
    return {name: compress_jpeg(image, QUALITY) for name, image in _pictures(picture).items()}


def _mean(dominance: NDArray[np.float32]) -> float:
    return float(dominance.mean(dtype=np.float64))
