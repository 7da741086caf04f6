"""The offset between the clocks of two cameras, from motion that both see.

Both images are split into tiles. The change of each tile from frame to frame is a signal over time.
At the right offset the signals of both cameras agree best.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dreamif_model.cameras import Both
from dreamif_model.errors import CalibrationError

Signal = NDArray[np.float64]  # (T, tiles)

TILES = (8, 6)  # along the width and the height
MAX_OFFSET_S = 1.0
MIN_DURATION_S = 3.0
MAX_DURATION_S = 300.0  # limits memory and time
STEP_S = 0.01  # of the resampled signals
MIN_CORRELATION = 0.25
PEAK_WIDTH_S = 0.2  # minimum distance of another peak
MIN_LEAD = 1.1  # ratio of the peak's correlation to that of the next peak
MAX_RESIDUAL_S = 0.1


@dataclass(frozen=True)
class ClockOffset:
    """The result of the estimate."""

    seconds: float  # to add to infrared stamps to be on the visible camera's clock
    residual_s: float  # difference between the offsets of both halves of the recording
    correlation: float  # of the activities at this offset, in [-1, 1]


class Activity:
    """How much the tiles of one camera change over time.

    max_step_s: maximum time between two successive frames.
    """

    def __init__(self) -> None:
        self.max_step_s = 0.0
        self._stamps: list[float] = []
        self._rates: list[NDArray[np.float64]] = []
        self._last: tuple[float, NDArray[np.float32]] | None = None

    def add(self, stamp_s: float, image: NDArray[np.generic]) -> None:
        """Add a frame (H, W), of any gray scale; frames come in order of their stamps."""
        small = cv2.resize(
            image.astype(np.float32), (8 * TILES[0], 8 * TILES[1]), interpolation=cv2.INTER_AREA
        )
        if self._last is not None:
            elapsed = stamp_s - self._last[0]
            if elapsed <= 0:
                return  # the message came twice, or the clock was set back
            self.max_step_s = max(self.max_step_s, elapsed)
            change = np.abs(small - self._last[1]).reshape(TILES[1], 8, TILES[0], 8)
            self._rates.append(change.mean(axis=(1, 3)).ravel().astype(np.float64) / elapsed)
            self._stamps.append(stamp_s - elapsed / 2)
        self._last = stamp_s, np.asarray(small, np.float32)

    @property
    def stamps_s(self) -> Signal:
        """(T,), the middles between successive frames."""
        return np.array(self._stamps)

    @property
    def rates(self) -> Signal:
        """(T, tiles), mean absolute change per second."""
        return np.array(self._rates).reshape(-1, TILES[0] * TILES[1])


def clock_offset(infrared: Activity, visible: Activity) -> ClockOffset:
    """Estimate the offset, from -1 to 1 s; CalibrationError if the motion does not tell it."""
    _check_duration(infrared, visible)
    seconds, correlation, lead = _peak(infrared, visible, None)
    if not (correlation >= MIN_CORRELATION and lead >= MIN_LEAD):
        raise CalibrationError(
            f"the motion in both images does not tell the clocks' offset (correlation "
            f"{correlation:.2f}, needed {MIN_CORRELATION:g} in one clear peak): record "
            "people or cars that move past both cameras"
        )
    halves = [_peak(infrared, visible, half)[0] for half in (0, 1)]
    residual = abs(halves[0] - halves[1])
    if not residual <= MAX_RESIDUAL_S:
        raise CalibrationError(
            f"both halves of the recording give clock offsets {residual * 1000:.0f} ms apart (at "
            f"most {MAX_RESIDUAL_S * 1000:.0f} ms): record more motion"
        )
    return ClockOffset(seconds, residual, correlation)


def _check_duration(infrared: Activity, visible: Activity) -> None:
    for camera, activity in Both(infrared, visible).items():
        stamps = activity.stamps_s
        duration = float(np.ptp(stamps)) if stamps.size else 0.0
        if duration < MIN_DURATION_S:
            raise CalibrationError(
                f"the {camera} images span {duration:.1f} s: the clocks' offset needs "
                f"{MIN_DURATION_S:g} s or more"
            )
        if duration > MAX_DURATION_S:
            raise CalibrationError(
                f"the stamps of the {camera} images span {duration:.0f} s and jump by up to "
                f"{activity.max_step_s:.0f} s (at most {MAX_DURATION_S:g} s are looked "
                "at): record with a clock that is not set meanwhile"
            )
        if not np.ptp(activity.rates, axis=0).any():
            raise CalibrationError(f"nothing moves in the {camera} images: record people or cars")


def _peak(infrared: Activity, visible: Activity, half: int | None) -> tuple[float, float, float]:
    """Offset in seconds, its correlation, and the ratio of that to the next peak's.

    half: 0 for the earlier half of the recording, 1 for the later, None for all.
    """
    signals = _resampled(infrared), _resampled(visible)
    steps = round(MAX_OFFSET_S / STEP_S)
    lags = np.arange(-steps, steps + 1)
    scores = np.array([_correlation(*signals, int(lag), half) for lag in lags])
    best = int(scores.argmax())
    if not 0 < best < len(lags) - 1:
        return float(lags[best]) * STEP_S, float(scores[best]), 0.0
    inner = scores[1:-1]
    peaks = np.flatnonzero((inner >= scores[:-2]) & (inner >= scores[2:])) + 1
    others = scores[peaks[np.abs(peaks - best) > PEAK_WIDTH_S / STEP_S]]
    rival = max(float(others.max(initial=0.0)), 1e-6)
    before, top, after = scores[best - 1 : best + 2]
    bend = before - 2 * top + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0  # the parabola's maximum
    return float(lags[best] + shift) * STEP_S, float(top), float(top) / rival


def _resampled(activity: Activity) -> tuple[int, Signal]:
    """Number of the first step since time zero, and the signals (steps, tiles) from there.

    The root keeps one close car from outweighing everything else.
    """
    stamps = activity.stamps_s
    steps = np.arange(np.ceil(stamps[0] / STEP_S), np.floor(stamps[-1] / STEP_S) + 1)
    columns = [np.interp(steps * STEP_S, stamps, column) for column in np.sqrt(activity.rates).T]
    return int(steps[0]), np.stack(columns, axis=1)


def _correlation(
    infrared: tuple[int, Signal], visible: tuple[int, Signal], lag: int, half: int | None
) -> float:
    """Correlation of the overlap of both signals, with infrared ``lag`` steps later."""
    (start, first), (other_start, second) = infrared, visible
    start += lag
    begin = max(start, other_start)
    end = min(start + len(first), other_start + len(second))
    if half is not None:
        middle = (begin + end) // 2
        begin, end = (begin, middle) if half == 0 else (middle, end)
    if end - begin < 2:
        return 0.0
    return _pearson(
        first[begin - start : end - start], second[begin - other_start : end - other_start]
    )


def _pearson(first: Signal, second: Signal) -> float:
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    energy = float((first**2).sum() * (second**2).sum())
    return float((first * second).sum()) / energy**0.5 if energy > 0 else 0.0
