"""Image files that tests make."""

import numpy as np

from dreamif_model.image_files import write_image
from helpers.videos import write_clip


def make_pairs(folder, count, size=(40, 48)):
    """Pair i is flat: i in the infrared, (i, 100 + i, 200) in the visible."""
    for name in ("ir", "vi"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        write_image(folder / "ir" / f"{i:02}.png", np.full(size, i, np.uint8))
        rgb = np.empty((*size, 3), np.uint8)
        rgb[:] = i, 100 + i, 200
        write_image(folder / "vi" / f"{i:02}.png", rgb)
    return folder


def make_clip(folder, name, first, count, size=(40, 48)):
    """Two videos, the frames of which are flat as in ``make_pairs``, from i = ``first`` on."""
    frames = range(first, first + count)
    for camera, color in (("ir", lambda i: (i,) * 3), ("vi", lambda i: (i, 100 + i, 200))):
        (folder / camera).mkdir(parents=True, exist_ok=True)
        images = [np.full((*size, 3), color(i), np.uint8) for i in frames]
        write_clip(folder / camera / f"{name}.mkv", images, 10)
    return folder


def stems(pairs):
    return [int(pair.stem) for pair in pairs]
