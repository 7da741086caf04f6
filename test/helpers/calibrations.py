"""Calibrations for tiny images."""

import numpy as np

from dreamif_model.registration.geometry import Homography
from dreamif_model.registration.warp import Calibration

SIZE = (64, 48)  # width, height
SHAPE = (48, 64)


def shift(x, y):
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def calibration(matrix, infrared_size=SIZE, visible_size=SIZE):
    return Calibration(Homography(np.asarray(matrix, np.float64)), infrared_size, visible_size)
