"""Frames of the simulated street whose infrared image was moved."""

import cv2
import numpy as np

from dreamif_model.registration.drift import LaidPair
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.scene import Scene, SceneConfig

SIZE = (320, 240)  # width, height
SCENE = SceneConfig(seed=7, visible_size=SIZE, infrared_size=SIZE)


def street(count):
    """[(visible (H, W, 3), infrared counts (H, W))] of aligned cameras, half a second apart."""
    scene = Scene(SCENE)
    return [(scene.visible(1 + t / 2), scene.infrared(1 + t / 2)) for t in range(count)]


def moved(image, x=0.0, y=0.0, degrees=0.0):
    """An image moved to the right and down, and turned about its middle."""
    matrix = cv2.getRotationMatrix2D(((SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2), degrees, 1.0)
    matrix[:, 2] += x, y
    return cv2.warpAffine(image, matrix, SIZE, borderMode=cv2.BORDER_REPLICATE), matrix


def laid(visible, infrared, coverage=None):
    return LaidPair(ThermalNormalizer().normalize(infrared), visible[..., 1], coverage)


def corners():
    right, bottom = SIZE[0] - 1, SIZE[1] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], float)
