"""Both cameras."""

from __future__ import annotations

import cv2
import numpy as np

from dreamif_model.arrays import ByteImage, GrayImage, to_bytes
from dreamif_model.temporal.blocks import SIDE, block_means
from dreamif_model.temporal.canvas import Placement, square
from dreamif_model.temporal.memory import CameraMemory
from dreamif_model.temporal.motion import MotionTracker, View
from dreamif_model.temporal.noise import ClippedNoise, noise_level

CLEAN = 2.5
PERIOD = 8


class _Camera:
    def __init__(self, shape, coloured):
        self.memory = CameraMemory(shape, coloured)
        self.frames = 0
        self.noise = None
        self.colour_noise = None
        self.before = None

    def measure(self, luma, rgb):
        if self.frames < 2 or self.frames % PERIOD == 0:
            found = noise_level(luma, self.before)
            if self.frames >= 2: found = self.noise.sigma + 0.3 * (found - self.noise.sigma)
            self.noise = ClippedNoise(found)
            if rgb is not None:
                self.colour_noise = ClippedNoise(noise_level(rgb[..., 1].astype(np.float32)))
        self.frames += 1
        self.before = luma


class TemporalFilter:
    def __init__(self):
        self.most = 8.0
        self.reset()

    def reset(self):
        self.cams = None

    def filter(self, visible, infrared):
        shape = infrared.shape
        if self.cams is None:
            self.cams = _Camera(shape, False), _Camera(shape, True)
            self.tracker = MotionTracker(shape)
        luma = cv2.cvtColor(visible, cv2.COLOR_RGB2GRAY)
        frames = [infrared.astype(np.float32), luma.astype(np.float32)]
        self.cams[0].measure(frames[0], None)
        self.cams[1].measure(frames[1], visible)
        if max(c.noise.sigma for c in self.cams) < CLEAN:
            return visible, infrared
        levels = [block_means(f) for f in frames]
        self._move(levels)
        out = []
        half = None
        for cam, frame, level in zip(self.cams, frames, levels):
            if cam is self.cams[1]:
                half = cv2.resize(visible, (shape[1] // 2, shape[0] // 2), interpolation=cv2.INTER_AREA).astype(np.float32)
            out.append(cam.memory.add(frame, level, cam.noise, self.tracker.place, self.most, half, cam.colour_noise))
        g = cv2.convertScaleAbs(np.maximum(out[0][0], 0))
        y = cv2.convertScaleAbs(np.maximum(out[1][0], 0))
        tint = cv2.convertScaleAbs(np.maximum(out[1][1],0))
        tint = cv2.resize(tint, shape[::-1])
        tl = cv2.cvtColor(tint, cv2.COLOR_RGB2GRAY)
        up = cv2.add(tint, cv2.cvtColor(cv2.subtract(y, tl), cv2.COLOR_GRAY2RGB))
        up = cv2.subtract(up, cv2.cvtColor(cv2.subtract(tl, y), cv2.COLOR_GRAY2RGB))
        return up, g

    def _move(self, levels):
        if self.cams[0].frames < 2:
            return
        views = [View(c.memory.level, c.memory.count, l, c.noise.sigma**2 / 16) for c, l in zip(self.cams, levels)]
        shift = self.tracker.follow(views)
        if shift is not None:
            for c in self.cams: c.memory.move(shift)
