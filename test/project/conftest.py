"""A folder with the files that the pages of the documentation name."""

import numpy as np
import pytest
from helpers.pages import PAIRS, SIZE

from dreamif_model.image_files import write_image
from dreamif_model.registration.calibration_file import write_calibration
from dreamif_model.registration.geometry import Homography
from dreamif_model.registration.warp import Calibration
from dreamif_ros.bag.image_sources import open_images
from dreamif_ros.bag.make import make_bag


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """The working folder, with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    for name in ("thermal", "color"):
        (tmp_path / name).mkdir()
    for index in range(PAIRS):
        infrared = rng.integers(7000, 9000, (SIZE[0] // 2, SIZE[1] // 2), np.uint16)
        write_image(tmp_path / "thermal" / f"{index}.png", infrared)
        visible = rng.integers(0, 256, (*SIZE, 3), np.uint8)
        write_image(tmp_path / "color" / f"{index}.png", visible)
    make_bag(open_images(tmp_path / "thermal", tmp_path / "color", 25.0), tmp_path / "drive_bag")
    (tmp_path / "drive.mcap").write_bytes((tmp_path / "drive_bag" / "drive_bag.mcap").read_bytes())
    doubled = Homography(np.diag([2.0, 2.0, 1.0]))
    calibration = Calibration(doubled, (SIZE[1] // 2, SIZE[0] // 2), (SIZE[1], SIZE[0]))
    write_calibration(calibration, tmp_path / "calibration.yaml")
    return tmp_path
