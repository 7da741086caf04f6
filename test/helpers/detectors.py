"""What the tests of the detector share."""

import importlib.util

import numpy as np
import pytest

MODEL = "yolo11n_int8_openvino_model"


def installed(*names):
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


needs_torchvision = pytest.mark.usefixtures("torchvision")
needs_lap = installed("lap")
needs_openvino = installed("openvino")


def assert_same(a, b):
    assert a.classes.tolist() == b.classes.tolist()
    np.testing.assert_allclose(a.boxes, b.boxes)
    np.testing.assert_allclose(a.scores, b.scores)
