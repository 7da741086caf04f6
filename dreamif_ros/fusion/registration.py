"""The registration of an active node: it follows the distance of the scene, and corrections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dreamif_model import Calibration, FusionPipeline
from dreamif_model.arrays import Points, Size
from dreamif_model.registration.geometry import CameraPair
from dreamif_model.registration.warp import Registrar
from dreamif_ros.fusion.distances import Distances
from dreamif_ros.node.worker import NewestWorker

MAX_SHIFT_PX = 0.5  # infrared pixels: what moves infrared by less is not worth new maps
REST = 3.0  # times as long as a computation took, so that it takes a quarter of one core
MAX_REST_S = 0.5


@dataclass(frozen=True, eq=False)
class _Order:
    """What is to be registered."""

    base: Calibration
    distance_m: float | None  # None: that of the base
    adjustment: Points | None

    def calibration(self) -> Calibration:
        placed = self.base if self.distance_m is None else self.base.at(self.distance_m)
        return replace(placed, adjustment=self.adjustment)


class Registration:
    """Keeps a pipeline registered for the distance that counts, with the last correction.

    Maps are computed in a thread of its own, while frames are fused with those of before, and
    taken over between two frames.

    distances: Where messages go.
    base: The calibration as it is in its file, or with camera_info; None before it is complete.
    moves: How often another distance or correction has changed the registration.
    """

    def __init__(
        self, pipeline: FusionPipeline, distances: Distances, warn: Callable[[str], None]
    ) -> None:
        self.distances, self.moves = distances, 0
        self._pipeline, self._warn = pipeline, warn
        self.base: Calibration | None = None
        self._adjustment: Points | None = None
        self._asked: tuple[float | None, Points | None] = None, None
        self._lock = threading.Lock()
        self._ready: Registrar | None = None
        self._worker = NewestWorker(self._prepare, "registration")

    def close(self) -> None:
        """Finish the computation at work and end the thread."""
        self._worker.stop()

    def register(self, calibration: Calibration) -> None:
        """Use another calibration from now on; ConfigError if it cannot be used."""
        metres = self.distances.now_m(time.monotonic())
        with self._lock:
            self._pipeline.register(_Order(calibration, metres, None).calibration())
            self.base, self._ready = calibration, None
            self._adjustment, self._asked = None, (metres, None)

    def adjust(self, moves: Points, visible_size: Size) -> None:
        """Correct from now on by moves (4, 2) of the corners of visible images of this size."""
        if self.base:
            self._adjustment = moves * (self.base.visible_size[0] / visible_size[0])

    def adjusted_px(self, visible_size: Size) -> Points:
        """The correction in use now, as moves (4, 2) of the corners of such images."""
        calibration = self._pipeline.registrar and self._pipeline.registrar.calibration
        if not calibration or calibration.adjustment is None:
            return np.zeros((4, 2))
        return calibration.adjustment * (visible_size[0] / calibration.visible_size[0])

    @property
    def registered_m(self) -> float | None:
        """The distance of the registration in use; None if it is for no distance."""
        registrar = self._pipeline.registrar
        geometry = registrar.calibration.geometry if registrar else None
        return geometry.distance_m if isinstance(geometry, CameraPair) else None

    def follow(self) -> None:
        """Call it before each frame, in the thread that fuses."""
        metres = self.distances.now_m(time.monotonic())
        with self._lock:
            ready, self._ready = self._ready, None
            if ready:
                self._pipeline.register(ready)
                self.moves += 1
            asked_m, asked = self._asked
            adjustment = self._adjustment
            if self.base and (metres != asked_m or adjustment is not asked):
                self._asked = metres, adjustment
                self._worker.offer(_Order(self.base, metres, adjustment))

    def _prepare(self, order: _Order) -> None:
        """In the thread of its own: a registrar for what is wanted, unless it changes nothing."""
        started = time.monotonic()
        registrar = self._ready or self._pipeline.registrar
        assert registrar  # there is an order, so there is a calibration
        try:
            calibration = order.calibration()
            if registrar.calibration.shift_px(calibration) <= MAX_SHIFT_PX:
                return
            ready = registrar.moved(calibration)
        except Exception as error:  # the thread must survive every error
            self._warn(f"the registration stays as it is: {error}")
            return
        with self._lock:
            if order.base is self.base:
                self._ready = ready
        time.sleep(min(REST * (time.monotonic() - started), MAX_REST_S))
