"""Removes noise over time from both cameras' images, before they are fused.

::

    infrared ── stripes ── registration ─┐
    visible ─────────────────────────────┤
        noise level ── exposure ── motion ── recursive mean ── bias (── Wiener filter)
        (clean: passed on)         (of both)                   (colour likewise)

What is left of the noise is weak where nothing moves. A network that takes a map of noise is told
how strong it is where; for others a Wiener filter removes it.
"""

from __future__ import annotations

from typing import NamedTuple

from dreamif_model.arrays import ByteImage, FloatImage, GrayImage, padded
from dreamif_model.cameras import Both, Camera
from dreamif_model.temporal.blocks import SIDE
from dreamif_model.temporal.camera import CameraFilter
from dreamif_model.temporal.motion import MotionTracker
from dreamif_model.temporal.pattern import StripeFilter
from dreamif_model.temporal.stuck import StuckPixels

MAX_GAP_S = 1.0  # between two frames; after a longer one the scene is another


class Filtered(NamedTuple):
    """Both images of one moment with less noise.

    noise: σ of what is left, in gray levels by block of 4×4 pixels, 0 for a clean camera; None if
    it is not known or both are clean.
    """

    visible: ByteImage
    infrared: GrayImage
    noise: Both[FloatImage] | None


class TemporalFilter:
    """Remembers the frames of one pair of cameras, registered to one size. Not thread-safe.

    The arguments are the start values of the attributes.

    Attributes:
        smooths: whether a Wiener filter removes what the mean leaves of the noise.
        max_frames: how many frames are averaged where nothing moves, 1 or more; can be set at any
            time.
    """

    def __init__(self, smooths: bool = True, max_frames: float = 8.0) -> None:
        self.smooths, self.max_frames = smooths, max_frames
        self.reset()

    def reset(self) -> None:
        """Forget all frames so far."""
        self._stripes, self._stuck = StripeFilter(), StuckPixels()
        self._forget_scene()

    def _forget_scene(self) -> None:
        self._cameras = Both.make(lambda _: CameraFilter())
        self._tracker: MotionTracker | None = None
        self._shapes: tuple[tuple[int, ...], ...] = ()
        self._time_s: float | None = None

    @property
    def noise(self) -> Both[float]:
        """σ of each camera in gray levels, as last measured; 0 before."""
        return self._cameras.map(lambda c: c.meter.noise.sigma if c.meter.noise else 0.0)

    @property
    def stripes(self) -> float:
        """σ of the infrared camera's stripes in gray levels, as last removed."""
        return self._stripes.level

    def without_stripes(self, infrared: GrayImage) -> GrayImage:
        """Return an infrared image (h, w) of the sensor's own pixels without its stripes.

        Single pixels of a wrong offset are corrected too.
        """
        return self._stuck.filter(self._stripes.filter(infrared))

    def filter(
        self, visible: ByteImage, infrared: GrayImage, time_s: float | None = None
    ) -> Filtered:
        """Return the images of one moment with less noise, or themselves where there is little.

        Args:
            visible: (H, W, 3) RGB or (H, W).
            infrared: (H, W).
            time_s: when they were taken. All is forgotten if it went back, or on by more than a
                second.
        """
        self._begin((visible.shape, infrared.shape), time_s)
        images = Both(padded(infrared, SIDE), padded(visible, SIDE))
        if self._tracker is None:
            self._tracker = MotionTracker(images.infrared.shape)
        noisy = [self._cameras[c].look(images[c], self._tracker.place) for c in Camera]
        if not any(noisy):
            self._tracker = None
            return Filtered(visible, infrared, None)
        self._follow_motion(self._tracker)
        place, max_frames = self._tracker.place, self.max_frames
        clean = self._cameras.map(lambda c: c.clean(place, max_frames, self.smooths))
        noise = None if self.smooths else clean.map(lambda found: found.noise)
        shape = infrared.shape
        return Filtered(
            _cropped(clean.visible.image, shape), _cropped(clean.infrared.image, shape), noise
        )

    def _begin(self, shapes: tuple[tuple[int, ...], ...], time_s: float | None) -> None:
        """Forget what is of another time or size."""
        before_s = self._time_s
        gap_s = 0.0 if time_s is None or before_s is None else time_s - before_s
        if shapes != self._shapes or not 0 <= gap_s <= MAX_GAP_S:
            self._forget_scene()
        self._shapes, self._time_s = shapes, time_s

    def _follow_motion(self, tracker: MotionTracker) -> None:
        views = [camera.view for camera in self._cameras if camera.view]
        if not views:
            return
        matrix = tracker.follow(views)
        if matrix is not None:
            for camera in self._cameras:
                camera.move(matrix)


def _cropped(image: ByteImage, shape: tuple[int, ...]) -> ByteImage:
    """Cut off what :func:`padded` added."""
    return image if image.shape[:2] == shape else image[: shape[0], : shape[1]]
