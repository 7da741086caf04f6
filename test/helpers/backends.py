"""Engines by every backend, and what their results must have in common."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from dreamif_model.backends import available
from dreamif_model.engine import FusionEngine
from dreamif_model.network import make_network
from dreamif_model.variants import LeanConfig, NetworkConfig, network_config

# All add in fp32, in another order: that differs by some units of 2⁻²⁴ for each of the network's
# layers, 1e-6 as measured. A gray level is 4e-3.
FP32 = 1e-5

HERE = available("cpu")

OTHERS = [pair for pair in HERE if pair != ("torch", "fp32")]

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO"
)

needs_onnxruntime = pytest.mark.skipif(
    not (importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx")),
    reason="needs ONNX Runtime and onnx",
)

SMALL = {
    "channels": 8,
    "blocks": (1, 1, 1, 1),
    "heads": (1, 1, 2, 2),
    "refinement_blocks": 1,
    "expansion": 2.0,
    "prompt_channels": (4, 4, 4),
    "prompt_size": (4, 4, 4),
    "attention": (False, False, False, True),
}

CONFIGS = {
    "nano": network_config("nano"),
    "lean, stem 1": LeanConfig(stem=1, channels=(8, 8)),
    "paper, RGB": NetworkConfig(**SMALL),
    "paper, luma": NetworkConfig(
        **SMALL, luma=True, stem=2, skip_connections=True, source_residual=True, separable=True
    ),
}


def network(config):
    """A network with random weights, the same at every call."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return make_network(config).eval()


def engine(backend, precision="fp32", of=None, variant="nano"):
    """An engine with the packaged weights, or with the network ``of``."""
    return FusionEngine(variant, "cpu", precision=precision, network=of, backend=backend)


def random_pair(rng, *shape):
    visible = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return visible, rng.integers(0, 256, shape, dtype=np.uint8)


def assert_same(result, expected):
    """Two fp32 results are equal, but for a few gray levels that round the other way."""
    different = result.fused != expected.fused
    assert different.mean() < 1e-3
    assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
    np.testing.assert_allclose(result.dominance, expected.dominance, rtol=0, atol=FP32)


def run_python(code, **environment):
    """Run code in a new process; its output and its errors."""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, ran.stderr
