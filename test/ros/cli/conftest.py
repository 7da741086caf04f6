"""Image pairs for the verbs that fuse and train."""

import numpy as np
import pytest

from dreamif_model.image_files import write_image


@pytest.fixture
def folders(tmp_path, rng):
    """Two folders with two pairs of an odd size, the second pair with 16-bit infrared."""
    for name in ("ir", "vi"):
        (tmp_path / name).mkdir()
    for stem, dtype in (("a", np.uint8), ("b", np.uint16)):
        infrared = rng.integers(0, np.iinfo(dtype).max, (37, 53), dtype=dtype)
        write_image(tmp_path / "ir" / f"{stem}.png", infrared)
        visible = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
        write_image(tmp_path / "vi" / f"{stem}.png", visible)
    return tmp_path
