"""What the tests of measurements share."""

import importlib.util

import cv2
import pytest
import torch

from dreamif_model.device import use_cpu_threads


@pytest.fixture(autouse=True)
def threads():
    """Measuring sets those of the whole process."""
    torchs, opencvs = torch.get_num_threads(), cv2.getNumThreads()
    yield
    use_cpu_threads(0)
    torch.set_num_threads(torchs)
    cv2.setNumThreads(opencvs)


@pytest.fixture
def peer(tmp_path):
    """Writes a network as a file whose suffix says the format."""

    def write(network, name, *inputs):
        path = tmp_path / name
        if path.suffix == ".onnx":
            if not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))):
                pytest.skip("needs onnx and ONNX Runtime")
            torch.onnx.export(network, inputs, str(path), dynamo=False)
        else:
            torch.jit.save(torch.jit.trace(network, inputs), str(path))
        return path

    return write
