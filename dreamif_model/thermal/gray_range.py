"""The range of counts that is shown: it follows the scene slowly, and single frames not at all."""

from __future__ import annotations

Range = tuple[float, float]  # shown black and white, in counts or °C

PATIENCE = 5  # frames in a row outside the range, after which it starts anew
START_FRAMES = 10  # in which a range that turns out far too wide is dropped at once
TOO_WIDE = 3.0  # times the frame's own range


class SteadyRange:
    """A range that follows those of the frames, and is not led astray by a single one."""

    def __init__(self) -> None:
        self._range: Range | None = None
        self._apart = 0  # frames in a row that have nothing in common with the range
        self._age = 0  # frames since it started

    def follow(self, target: Range, smoothing: float, min_span: float) -> Range:
        """Return the range, at least ``min_span`` wide, after a frame with the range ``target``.

        Each end goes ``smoothing`` of its way. A way counts as no longer than the range is wide,
        so that a flash which fills a part of the picture costs no more than that share of the
        contrast. A target wholly outside the range (a saturated or black frame) is not followed,
        until the :data:`PATIENCE`-th in a row starts anew: another scene, or another gain of the
        camera. During the first frames a range far wider than the target is dropped: a camera's
        first frame may be garbage.
        """
        self._age += 1
        if self._range is None or smoothing == 1:
            self._range = target
            return _widened(target, min_span)
        low, high = _widened(self._range, min_span)
        if self._is_another_scene(target, (low, high)):
            self._range, self._age = target, 1
        elif not self._apart:
            self._range = (
                target
                if self._is_false_start(target, high - low, min_span)
                else _moved(self._range, target, smoothing, high - low)
            )
        return _widened(self._range, min_span)

    def _is_another_scene(self, target: Range, kept: Range) -> bool:
        """Count the frames in a row that lie apart from the kept range; whether it is enough."""
        apart = target[1] < kept[0] or kept[1] < target[0]
        self._apart = (self._apart + 1) % PATIENCE if apart else 0
        return apart and not self._apart

    def _is_false_start(self, target: Range, width: float, min_span: float) -> bool:
        low, high = _widened(target, min_span)
        return self._age <= START_FRAMES and width > TOO_WIDE * (high - low)


def _moved(kept: Range, target: Range, smoothing: float, max_way: float) -> Range:
    """``smoothing`` of the way of each end, which counts as no longer than ``max_way``."""
    ways = (max(-max_way, min(to - at, max_way)) for at, to in zip(kept, target, strict=True))
    low, high = (at + smoothing * way for at, way in zip(kept, ways, strict=True))
    return low, high


def _widened(bounds: Range, min_span: float) -> Range:
    low, high = bounds
    missing = max(0.0, min_span - (high - low))
    return low - missing / 2, high + missing / 2
