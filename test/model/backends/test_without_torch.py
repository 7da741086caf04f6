"""Torch takes 2 s and 500 MB to load: what fuses on a CPU with OpenVINO does without it."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from dreamif_model.image_files import read_image, write_image

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO"
)
# Importing it would end the process with a traceback.
FORBIDDEN = "import sys; sys.modules['torch'] = None\n"
ABSENT = "import sys; assert 'torch' not in sys.modules, 'torch is imported'\n"
FUSE = """
import numpy as np
from dreamif_model import FusionPipeline
rng = np.random.default_rng(0)
visible = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
infrared = rng.integers(0, 65536, (24, 32), dtype=np.uint16)
pipeline = FusionPipeline('nano', 'cpu', dominance_smoothing=0.5)
pipeline.warm_up()
for _ in range(2):
    result = pipeline.fuse(visible, infrared, score_alignment=True)
print(result.fused.shape, result.alignment is not None)
"""
REGISTERED = """
import numpy as np
from dreamif_model import Calibration, FusionPipeline
from dreamif_model.registration.geometry import Homography
calibration = Calibration(Homography(np.diag((2.0, 2.0, 1.0))), (32, 24), (64, 48))
pipeline = FusionPipeline('nano', 'cpu', registration=calibration)
pipeline.warm_up()
result = pipeline.fuse(np.zeros((48, 64, 3), np.uint8), np.zeros((24, 32), np.uint8))
print(result.fused.shape, True)
"""


def run(code):
    """Run code in a new process; the lines that it printed."""
    ran = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("code", [FUSE, REGISTERED], ids=["resized", "registered"])
def test_a_pipeline(code):
    shape = "(37, 53, 3)" if code is FUSE else "(48, 64, 3)"
    assert run(code + ABSENT) == [f"{shape} True"]
    assert run(FORBIDDEN + code) == [f"{shape} True"]


def test_the_fuse_command(tmp_path, rng):
    write_image(tmp_path / "vi.png", rng.integers(0, 256, (37, 53, 3), dtype=np.uint8))
    write_image(tmp_path / "ir.png", rng.integers(0, 65536, (37, 53), dtype=np.uint16))
    arguments = [f"--{name}={tmp_path / name}.png" for name in ("ir", "vi")]
    arguments += ["--out", str(tmp_path / "out"), "--device", "cpu", "--dominance"]
    main = f"from dreamif_ros import cli; assert cli.main({['fuse', *arguments]!r}) == 0\n"
    assert run(main + ABSENT) == [f"1 fused image in {tmp_path / 'out'}"]
    assert read_image(tmp_path / "out" / "vi.png").shape == (37, 53, 3)
    assert run(FORBIDDEN + main) == [f"1 fused image in {tmp_path / 'out'}"]


@pytest.mark.parametrize(
    "module",
    [
        "dreamif_model",
        "dreamif_model.backends",
        "dreamif_model.benchmark.measure",
        "dreamif_ros.cli.benchmark",
        "dreamif_ros.cli.export",
        "dreamif_ros.fusion.parameters",
    ],
)
def test_modules_that_others_import(module):
    assert run(f"import {module}\n" + ABSENT + "print('done')") == ["done"]


@pytest.mark.parametrize("folder", ["fusion", "detection", "simulation"])
def test_the_nodes(folder):
    pytest.importorskip("rclpy", reason="needs ROS")
    assert run(f"import dreamif_ros.{folder}.node\n" + ABSENT + "print('done')") == ["done"]
    assert run(f"{FORBIDDEN}import dreamif_ros.{folder}.node; print('done')") == ["done"]


def test_these_tests_would_see_torch():
    code = (
        "from dreamif_model import FusionPipeline; FusionPipeline('nano', 'cpu', backend='torch')"
    )
    with pytest.raises(AssertionError, match="torch is imported"):
        run(f"{code}\n{ABSENT}")
    with pytest.raises(AssertionError, match="torch"):
        run(f"{FORBIDDEN}{code}")
