"""Detections of given boxes."""

import numpy as np

from dreamif_ros.detection.detector import Detections


def detections(*rows):
    """Rows of x1 y1 x2 y2 score class, best first."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64), None)
