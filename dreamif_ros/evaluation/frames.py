"""The second reading of a bag: every pair is fused, and what comes out is measured and kept."""

from __future__ import annotations

import time
from array import array
from collections import Counter, defaultdict
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model import Calibration, FusionPipeline, FusionResult, ImageError
from dreamif_model.blank import is_blank
from dreamif_model.dominance.overlay import dominance_overlay
from dreamif_ros.bag.pairs import CAMERAS, RecordedPair
from dreamif_ros.evaluation.film import Video, small_jpeg
from dreamif_ros.evaluation.measuring import (
    FlickerSums,
    Grays,
    Places,
    Registration,
    WatchedNormalizer,
)
from dreamif_ros.evaluation.recorder import FusedBag
from dreamif_ros.evaluation.results import DETECTED_IN, FilmFrame, FrameRow
from dreamif_ros.evaluation.side_work import SideWork
from dreamif_ros.evaluation.survey import REFUSED, Survey

if TYPE_CHECKING:
    from dreamif_ros.detection.detector import Detections, Detector

SCORE_PERIOD_S = 1.0  # between two frames whose alignment is judged, as in the node
GAIN_STEP = 16.0  # gray levels; an end of the 8-bit range that moves further at once is a jump
GAIN_SAMPLE = 8  # every eighth row and column tells
GAIN_PERCENTILES = (5, 95)


@dataclass
class Sinks:
    """Where frames go besides the rows."""

    video: Video | None = None
    bag: FusedBag | None = None
    detector: Detector | None = None


@dataclass
class FramesFound:
    """What came out of all pairs."""

    rows: list[FrameRow] = field(default_factory=list)
    film: list[FilmFrame] = field(default_factory=list)
    flicker: FlickerSums = field(default_factory=FlickerSums)
    # By stage, in seconds.
    seconds: defaultdict[str, array[float]] = field(
        default_factory=lambda: defaultdict(lambda: array("d"))
    )
    confidences: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    blank: Counter[str] = field(default_factory=Counter)  # frames of one gray level, by camera
    gain_jumps: int = 0  # of the 8-bit infrared range
    sizes_changed: Counter[str] = field(default_factory=Counter)
    couples: int = 0  # of successive frames in ``flicker``
    unmeasured: str = ""  # why the first frame without metrics has none


@dataclass(frozen=True)
class _Picture:
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

    pipeline: without registration; calibration: what it is given. count: how many pairs are to
    come, over which metric_frames and film_frames are spread. workers: threads that measure and
    draw.
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
    ) -> None:
        self.found = FramesFound()
        self._pipeline, self._sinks = pipeline, sinks
        self._normalizer = WatchedNormalizer(pipeline.normalizer.config)
        pipeline.normalizer = self._normalizer
        if calibration:
            pipeline.register(calibration)
        self._registration = Registration(calibration)
        self._measured, self._filmed = Places(count, metric_frames), Places(count, film_frames)
        self._before: Future[_Measured] | None = None  # of the last frame, where it is measured
        self._work, self._film = SideWork(workers), list[tuple[int, dict[str, bytes]]]()
        self._sizes: dict[str, tuple[int, ...]] = {}
        self._gain: tuple[float, float] | None = None
        self._scored_s = -SCORE_PERIOD_S

    def add(self, index: int, pair: RecordedPair, survey: Survey, info: Any | None) -> None:
        """Fuse a pair; one that cannot be is counted where it belongs.

        index: of the pair among those to come. info: the visible camera's newest camera_info.
        """
        fused = self._fuse(pair, survey)
        if fused is None:
            self._before = None
            survey.drops[REFUSED] += 1
            survey.events[REFUSED, max(0, int(pair.time_s))] += 1
            return
        measured, filmed = self._measured.due(index), self._filmed.due(index)
        wanted = measured or filmed or self._before is not None or self._sinks.detector is not None
        gray = self._gray(pair) if wanted else None
        picture = _Picture(pair, fused, gray, self._detect(pair, fused, gray))
        self.found.rows.append(self._row(index, picture))
        self._measure(picture, measured)
        if filmed:
            self._work.give(
                partial(self._keep_film, len(self.found.rows) - 1), self._pictures, picture
            )
        self._write(picture, info)

    def finish(self) -> FramesFound:
        """All of it, once all pairs were added."""
        self._work.finish()
        self.found.film = [FilmFrame(self.found.rows[row], film) for row, film in self._film]
        return self.found

    def close(self) -> None:
        """Leave out what is not finished."""
        self._work.close()

    def _keep_film(self, row: int, pictures: dict[str, bytes]) -> None:
        self._film.append((row, pictures))

    def _fuse(self, pair: RecordedPair, survey: Survey) -> FusionResult | None:
        started = time.perf_counter()
        images: dict[str, NDArray[Any]] = {}
        for camera, name in enumerate(CAMERAS):
            try:
                images[name] = pair.infrared if camera == 0 else pair.visible
                self._watch(name, images[name])
            except ImageError as error:
                (survey.infrared, survey.visible)[camera].refuse(str(error))
        if len(images) < len(CAMERAS):
            return None
        decoded = time.perf_counter()
        score = pair.time_s - self._scored_s >= SCORE_PERIOD_S
        try:
            result = self._pipeline.fuse(
                images["visible"], images["infrared"], score_alignment=score
            )
        except ImageError as error:  # as in the node: the visible image decides
            survey.infrared.refuse(str(error))
            return None
        if score:
            self._scored_s = pair.time_s
        seconds = {"decode": decoded - started, **result.timings}
        seconds["in all"] = sum(seconds.values())
        for stage, spent in seconds.items():
            self.found.seconds[stage].append(spent)
        return result

    def _watch(self, name: str, image: NDArray[Any]) -> None:
        """Note what may trouble the fused image without being refused."""
        shape = image.shape[:2]
        self.found.sizes_changed[name] += self._sizes.get(name, shape) != shape
        self._sizes[name] = shape
        self.found.blank[name] += is_blank(image)
        if name == CAMERAS[0] and image.dtype == np.uint8:
            sample = image[::GAIN_SAMPLE, ::GAIN_SAMPLE]
            low, high = (float(value) for value in np.percentile(sample, GAIN_PERCENTILES))
            before = self._gain or (low, high)
            moved = max(abs(low - before[0]), abs(high - before[1]))
            self.found.gain_jumps += moved > GAIN_STEP
            self._gain = low, high

    def _gray(self, pair: RecordedPair) -> NDArray[np.uint8]:
        return self._registration.gray(self._normalizer.normalized, pair.visible)

    def _measure(self, picture: _Picture, measured: bool) -> None:
        """Where it is due; the frame after a measured one tells the flicker."""
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
        if detector is None or gray is None:
            return {}
        started = time.perf_counter()
        pictures = (pair.visible, gray, fused.fused)
        found = {
            name: detector.detect(image) for name, image in zip(DETECTED_IN, pictures, strict=True)
        }
        self.found.seconds["detect"].append((time.perf_counter() - started) / len(found))
        for name, detections in found.items():
            self.found.confidences[name] += float(detections.scores.sum())
        return found

    def _row(self, index: int, picture: _Picture) -> FrameRow:
        pair, result = picture.pair, picture.result
        low, high = self._normalizer.bounds
        return FrameRow(
            index=index,
            time_s=pair.time_s,
            stamp_ns=pair.images[1].header_ns,
            skew_ms=pair.skew_ms,
            thermal_low=low,
            thermal_high=high,
            alignment=result.alignment,
            dominance_infrared=_mean(result.dominance_infrared),
            dominance_visible=_mean(result.dominance_visible),
            detections={name: len(found.boxes) for name, found in picture.detections.items()},
        )

    def _pictures(self, picture: _Picture) -> dict[str, bytes]:
        assert picture.infrared is not None  # a frame of the film has it
        result, visible = picture.result, picture.pair.visible
        images = {
            "infrared": _rgb(picture.infrared),
            "visible": _rgb(visible),
            "fused": result.fused,
            "dominance": dominance_overlay(
                result.fused, result.dominance_infrared, result.dominance_visible
            ),
        }
        detector = self._sinks.detector
        if detector is not None:
            from dreamif_ros.detection.boxes import draw_boxes

            images["boxes"] = draw_boxes(result.fused, picture.detections["fused"], detector.names)
        return {name: small_jpeg(image) for name, image in images.items()}

    def _write(self, picture: _Picture, info: Any | None) -> None:
        image = picture.pair.images[1]
        header, detector = image.message.header, self._sinks.detector
        if self._sinks.video is not None:
            self._sinks.video.add(picture.result.fused)
        if self._sinks.bag is not None:
            self._sinks.bag.add(picture.result, header, image.recorded_ns, info)
            if detector is not None:
                found = picture.detections["fused"]
                self._sinks.bag.add_detections(found, detector.names, header, image.recorded_ns)


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


def _mean(dominance: NDArray[np.float32]) -> float:
    return float(dominance.mean(dtype=np.float64))


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
