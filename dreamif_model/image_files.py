"""Image files, and pairs of them from folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from dreamif_model.arrays import RgbImage, StoredImage
from dreamif_model.errors import ImageError
from dreamif_model.image_headers import marked, read_header, upright
from dreamif_model.output_files import write_whole

MAX_SIDE = 16384  # pixels of an image whose size is given as text
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
DOMINANCE_ENDINGS = "_infrared", "_visible"  # of dominance maps beside a fused image


@dataclass(frozen=True)
class PairPaths:
    """The two image files of one scene.

    Attributes:
        infrared: path of the infrared image.
        visible: path of the visible image.
    """

    infrared: Path
    visible: Path

    @property
    def stem(self) -> str:
        """File name of the visible image without its suffix."""
        return self.visible.stem

    def read_infrared(self) -> StoredImage:
        """Read the infrared image, as :func:`read_gray` does.

        Returns:
            (h, w) uint8, uint16 or float32, °C.

        Raises:
            ImageError: it cannot be read.
        """
        return read_gray(self.infrared)

    def read_visible(self) -> RgbImage:
        """Read the visible image, as :func:`read_rgb` does.

        Returns:
            (H, W, 3) RGB uint8.

        Raises:
            ImageError: it cannot be read, or is not of 8 bit.
        """
        return read_rgb(self.visible)


def read_image(path: Path) -> StoredImage:
    """Read an image file, upright as its EXIF orientation says.

    Args:
        path: PNG, JPEG, BMP or TIFF file of one page.

    Returns:
        (H, W) gray or (H, W, 3) RGB, uint8 or uint16, or (H, W) float32, °C.

    Raises:
        ImageError: the file is missing, damaged, no image, of another depth, or has many pages.
    """
    if not path.is_file():
        raise ImageError(f"no such image file: {path}")
    data = path.read_bytes()
    header = read_header(data)
    if header.pages > 1:
        raise ImageError(f"{path} has several pages: write each as a file of its own")
    try:
        image = cv2.imdecode(np.frombuffer(header.data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # an empty file, or more pixels than OpenCV takes
        image = None
    if image is None:
        raise ImageError(f"cannot read {path}: it is empty, damaged or not a PNG, JPEG or TIFF")
    if image.dtype in (np.float32, np.float64) and image.ndim == 2:
        image = image.astype(np.float32)
    elif image.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"{path} holds {image.dtype} pixels: expected 8 or 16 bit, or °C as gray float32"
        )
    pixels = upright(cast("StoredImage", image), header.orientation)
    if pixels.ndim == 2:
        return pixels
    return _convert(pixels, cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def read_gray(path: Path) -> StoredImage:
    """Read an image file as gray.

    Args:
        path: PNG, JPEG, BMP or TIFF file of 8 or 16 bit, or TIFF of float32, °C.

    Returns:
        (H, W) uint8, uint16 or float32; colour becomes luma (BT.601), alpha is dropped.

    Raises:
        ImageError: the file is missing, damaged, no image, or of another depth.
    """
    image = read_image(path)
    return image if image.ndim == 2 else _convert(image, cv2.COLOR_RGB2GRAY)


def read_rgb(path: Path) -> RgbImage:
    """Read an image file as RGB.

    Args:
        path: PNG, JPEG, BMP or TIFF file of 8 bit.

    Returns:
        (H, W, 3) RGB uint8; gray becomes three equal channels, alpha is dropped.

    Raises:
        ImageError: the file is missing, damaged, no image, or not of 8 bit.
    """
    image = read_image(path)
    if image.dtype != np.uint8:
        raise ImageError(f"{path} is a {image.dtype} image: the visible image must be 8 bit")
    rgb = image if image.ndim == 3 else _convert(image, cv2.COLOR_GRAY2RGB)
    return cast("RgbImage", rgb)


def write_image(path: Path, image: StoredImage) -> None:
    """Write an image in the format of the file's suffix.

    Args:
        path: file to write; an existing one is replaced. For 16 bit take PNG or TIFF.
        image: (H, W) gray or (H, W, 3) RGB, uint8 or uint16.

    Raises:
        ImageError: OpenCV cannot write such an image in this format.
        WriteError: the system cannot write the file.
    """
    pixels = image if image.ndim == 2 else _convert(image, cv2.COLOR_RGB2BGR)
    try:
        encoded, data = cv2.imencode(path.suffix, pixels)
    except cv2.error:
        encoded = False
    if not encoded:
        raise ImageError(
            f"cannot write {path}: no encoder for {image.dtype} {image.shape} as "
            f"{path.suffix or 'a file without suffix'}; use .png"
        )
    write_whole(path, marked(data.tobytes()))


def _convert(image: StoredImage, code: int) -> StoredImage:
    return cast("StoredImage", cv2.cvtColor(image, code))


def find_pairs(infrared: Path, visible: Path) -> list[PairPaths]:
    """Pair two image files, or the files with equal stems in two folders.

    Args:
        infrared: image file or folder.
        visible: image file or folder, the same as ``infrared``.

    Returns:
        The pairs, sorted by stem.

    Raises:
        ImageError: a path is missing, a folder has no images, or a file has no partner.
    """
    for path in (infrared, visible):
        if not path.exists():
            raise ImageError(f"no such file or folder: {path}")
    if infrared.is_file() and visible.is_file():
        return [PairPaths(infrared, visible)]
    if infrared.is_file() or visible.is_file():
        raise ImageError(f"give two files or two folders, got {infrared} and {visible}")
    for folder in (infrared, visible):
        if not _by_stem(folder, IMAGE_SUFFIXES, "image"):
            raise ImageError(f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {folder}")
    return match_files(infrared, visible)


def match_files(
    infrared: Path,
    visible: Path,
    suffixes: frozenset[str] = IMAGE_SUFFIXES,
    what: str = "image",
) -> list[PairPaths]:
    """Pair the files with equal stems in two folders.

    Dominance maps that ``dreamif fuse`` wrote beside its fused images are no partners.

    Args:
        infrared: folder.
        visible: folder.
        suffixes: of the files, in small letters; others are left out.
        what: they are, for the errors.

    Returns:
        The pairs, sorted by stem; none where neither folder has such files.

    Raises:
        ImageError: a file has no partner, or a folder two files of one stem.
    """
    left, right = (_by_stem(folder, suffixes, what) for folder in (infrared, visible))
    both = left.keys() & right.keys()
    maps = {stem + ending for stem in both for ending in DOMINANCE_ENDINGS}
    alone = sorted((left.keys() ^ right.keys()) - maps)
    if alone:
        raise ImageError(
            f"{len(alone)} {what}s have no partner of the same name in {infrared} and {visible}: "
            f"{', '.join(alone[:5])}{' …' if len(alone) > 5 else ''}"
        )
    return [PairPaths(left[stem], right[stem]) for stem in sorted(both)]


def _by_stem(folder: Path, suffixes: frozenset[str], what: str) -> dict[str, Path]:
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]
    by_stem = {path.stem: path for path in paths}
    twins = sorted(path.name for path in set(paths) - set(by_stem.values()))
    if twins:
        raise ImageError(f"more than one {what} of the same name in {folder}, such as {twins[0]}")
    return by_stem
