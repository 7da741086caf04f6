"""A picture for the tests of this folder."""

import cv2
import numpy as np
import pytest
from helpers.calibrations import SHAPE


@pytest.fixture
def smooth(rng):
    """(48, 64) float32 in [0, 1] without steps."""
    image = cv2.GaussianBlur(rng.random(SHAPE, np.float32), (0, 0), 3)
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)
