"""Looks now and then whether registered infrared still fits, in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from dreamif_model import Calibration
from dreamif_model.arrays import Points
from dreamif_model.errors import DreamIFError
from dreamif_model.registration.drift import Drift, LaidPair, describe, displacement, size_px
from dreamif_ros.fusion.registration import Registration
from dreamif_ros.node.worker import NewestWorker

MODES = ("warn", "correct", "off")
PERIOD_S = 3.0  # a look takes about 0.1 s of one core
GONE = 0.8  # of the limit: a drift that is below is over, and is said again when it returns


@dataclass(frozen=True, eq=False)
class _Look:
    """A frame to look at, its calibration, and the correction (4, 2) that it was laid with."""

    pair: LaidPair
    base: Calibration
    corrected: Points


class DriftCheck:
    """Judges frames, says a drift when it begins, and corrects it if asked.

    warn: Called with a line for the log.
    mode: One of MODES; limit_px: what is a drift, in visible pixels. Set both at any time.
    judged, refused: Number of looks that told something, and that did not.
    refusal: Why the last look did not tell; empty if it did.
    moves: How far infrared (4, 2) must move to lie as at the start; None while that is not known.
    corrected: How far it was moved already.
    """

    def __init__(self, registration: Registration, warn: Callable[[str], None]) -> None:
        self._registration, self._warn = registration, warn
        self.mode, self.limit_px = "off", 0.0
        self.judged = self.refused = 0
        self.refusal = ""
        self.moves: Points | None = None
        self.corrected: Points | None = None
        self._drift: Drift | None = None
        self._base: Calibration | None = None  # that the drift is of
        self._said = False
        self._looked_s = -PERIOD_S
        self._worker = NewestWorker(self._look, "drift-check")

    def close(self) -> None:
        """Finish the look at work and end the thread."""
        self._worker.stop()

    def look(self, pair: LaidPair) -> None:
        """Look at a frame that was just fused, if it is time; call it in the thread that fuses."""
        base, now_s = self._registration.base, time.monotonic()
        if self.mode == "off" or base is None or now_s - self._looked_s < PERIOD_S:
            return
        self._looked_s = now_s
        self._worker.offer(_Look(pair.copy(), base, self._registration.adjusted_px(pair.size)))

    @property
    def has_looked(self) -> bool:
        """Whether any look is over."""
        return self.judged + self.refused > 0

    @property
    def fault(self) -> str:
        """The drift in words while it is above the limit; empty if it is not, or not known."""
        moves = self.moves
        if self.mode == "off" or moves is None or size_px(moves) <= self.limit_px:
            return ""
        return (
            f"infrared lies {describe(-moves)} from where it did at the start: a camera has moved, "
            "or the scene is at another distance"
        )

    def _look(self, look: _Look) -> None:
        drift = self._drift
        if drift is None or look.base is not self._base or look.pair.size != drift.visible_size:
            self._base, self._drift = look.base, (drift := Drift(look.pair.size))
            self.moves, self.corrected, self._said = None, None, False
        try:
            drift.add(look.corrected + displacement(look.pair))
        except DreamIFError as error:
            self.refused, self.refusal = self.refused + 1, str(error)
            return
        except Exception as error:  # the thread must survive every error
            self._warn(f"the alignment could not be checked: {error!r}")
            return
        self.judged, self.refusal = self.judged + 1, ""
        if drift.moves is None:
            return
        if self.mode == "correct":
            self.corrected = drift.correction(self.corrected)
            self._registration.adjust(self.corrected, look.pair.size)
        self.moves = drift.moves - look.corrected
        self._say(self.fault, size_px(self.moves))

    def _say(self, fault: str, pixels: float) -> None:
        if fault and not self._said:
            how = "" if self.mode == "correct" else "; calibrate again, or see follow_drift"
            self._warn(fault + how)
        self._said = bool(fault) or (self._said and pixels > GONE * self.limit_px)
