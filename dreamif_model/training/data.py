"""Data sets of pairs, and random crops of them for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from dreamif_model.errors import ConfigError, ImageError
from dreamif_model.image_files import PairPaths, find_pairs, match_files
from dreamif_model.tensor_images import to_tensor
from dreamif_model.training.clips import ClipFrame, find_clips, judged, split_clip

SURROUNDINGS = 30 / 640  # σ of the blur that gives a pixel's surroundings, per image width
STANDS_OUT = 1 / 12  # brightness above the surroundings whose salience is 1 - 1/e
EXPOSED_SHARE = 0.5  # share of images with another exposure, drawn for each camera alone
CACHE_BYTES = 2 << 30  # of decoded pairs kept in memory, for each process and worker

# Folders of infrared and visible images in published data sets: training, and test split if any.
LAYOUTS: dict[str, tuple[tuple[str, str], tuple[str, str] | None]] = {
    "LLVIP": (("infrared/train", "visible/train"), ("infrared/test", "visible/test")),
    "MSRS": (("train/ir", "train/vi"), ("test/ir", "test/vi")),
    "M3FD": (("Ir", "Vis"), None),
    "RoadScene": (("cropinfrared", "crop_LR_visible"), None),
    "folders": (("ir", "vi"), None),
}


@dataclass(frozen=True)
class DataSet:
    """One folder of pairs in one of :data:`LAYOUTS`: image files, videos, or both.

    ``weight`` is its share of the training samples. ``validation`` names the stems that training
    does not see, of images or of whole videos; an empty tuple names none. None stands for the data
    set's own test split or, without one, for every eighth pair of images in sorted order (the 1st,
    9th, 17th, …) and the last eighth of each video.
    """

    path: Path
    weight: float = 1.0
    validation: tuple[str, ...] | None = None

    def split(self) -> tuple[list[PairPaths], list[PairPaths]]:
        """Training and validation pairs; ImageError if the folder has no known layout."""
        training_folders, test_folders = self._layout()
        images, clips = self._find(training_folders)
        if test_folders and self.validation is None:
            test_images, test_clips = self._find(test_folders)
            return (
                [*images, *chain.from_iterable(clips.values())],
                [*test_images, *chain.from_iterable(map(judged, test_clips.values()))],
            )
        eighth = {pair.stem for pair in images[::8]}
        held_out = eighth if self.validation is None else set(self.validation)
        unknown = held_out - {pair.stem for pair in images} - clips.keys()
        if unknown:
            raise ConfigError(f"validation names that {self.path} lacks: {sorted(unknown)}")
        training = [pair for pair in images if pair.stem not in held_out]
        validation = [pair for pair in images if pair.stem in held_out]
        for stem, frames in clips.items():
            drawn, kept = self._split_clip(stem, frames)
            training += drawn
            validation += kept
        return training, validation

    def _split_clip(
        self, stem: str, frames: list[ClipFrame]
    ) -> tuple[Sequence[ClipFrame], Sequence[ClipFrame]]:
        if self.validation is None:
            return split_clip(frames)
        return ((), judged(frames)) if stem in self.validation else (frames, ())

    def _find(self, folders: tuple[str, str]) -> tuple[list[PairPaths], dict[str, list[ClipFrame]]]:
        """Pairs of images, and the frames of each video; ImageError where there is neither."""
        infrared, visible = (self.path / folder for folder in folders)
        clips = find_clips(infrared, visible)
        if clips:
            return match_files(infrared, visible), clips
        return find_pairs(infrared, visible), clips

    def _layout(self) -> tuple[tuple[str, str], tuple[str, str] | None]:
        for training, test in LAYOUTS.values():
            if all((self.path / folder).is_dir() for folder in training):
                has_test = test and all((self.path / folder).is_dir() for folder in test)
                return training, test if has_test else None
        known = "; ".join(f"{name}: {a} and {b}" for name, ((a, b), _) in LAYOUTS.items())
        raise ImageError(f"{self.path} has no pairs in a layout that is known ({known})")


def _expose(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Change the exposure of some images: x^γ, γ log-uniform in [0.6, 2.2], for darker nights."""
    gamma = float(np.exp(rng.uniform(np.log(0.6), np.log(2.2))))
    return image**gamma if rng.random() < EXPOSED_SHARE else image


def salience(infrared: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How much each pixel of (H, W) is warmer than what surrounds it: 0 to 255.

    1 - exp(-12 · max(I - G(I), 0)) with I in [0, 1] and G a Gaussian over the whole image, so that
    it has to be computed before the image is cropped.
    """
    image = infrared.astype(np.float32) / 255
    surroundings = cv2.GaussianBlur(image, (0, 0), SURROUNDINGS * image.shape[1])
    above = np.maximum(image - surroundings, 0)
    return np.round(255 * (1 - np.exp(-above / STANDS_OUT))).astype(np.uint8)


class CropDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Random crops: infrared (1, S, S), visible (3, S, S) RGB, salience of infrared (1, S, S).

    All are float32 in [0, 1].

    Item ``i`` depends on the seed and ``i`` only, so that training can be resumed.
    """

    def __init__(self, sets: Sequence[DataSet], size: int, length: int, seed: int) -> None:
        self.pairs = [data.split()[0] for data in sets]
        for data, pairs in zip(sets, self.pairs, strict=True):
            if not pairs:
                raise ConfigError(
                    f"{data.path} has no pairs to train on besides its validation pairs"
                )
        weights = np.array([data.weight for data in sets], dtype=float)
        self.shares = weights / weights.sum()
        self.size, self.length, self.seed = size, length, seed
        self._cache: dict[PairPaths, NDArray[np.uint8]] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        pairs = self.pairs[rng.choice(len(self.pairs), p=self.shares)]
        stacked = self._crop(self._read(pairs[rng.integers(len(pairs))]), rng)
        if rng.random() < 0.5:
            stacked = stacked[:, ::-1]
        tensor = to_tensor(stacked)
        return _expose(tensor[:1], rng), _expose(tensor[1:4], rng), tensor[4:]

    def _crop(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """A random square, at full scale or shrunk, but at least ``size`` pixels wide."""
        minimum = self.size / min(image.shape[:2])
        scale = max(min(1.0, rng.uniform(0.4, 1.4)), minimum)
        side = min(round(self.size / scale), *image.shape[:2])
        top = rng.integers(image.shape[0] - side + 1)
        left = rng.integers(image.shape[1] - side + 1)
        crop = image[top : top + side, left : left + side]
        if side == self.size:
            return crop
        size = self.size, self.size
        parts = crop[..., :4], crop[..., 4:]  # OpenCV shrinks at most four channels at once
        shrunk = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts]
        return cast("NDArray[np.uint8]", np.dstack(shrunk))

    def _read(self, pair: PairPaths) -> NDArray[np.uint8]:
        """Infrared, red, green, blue and salience, (H, W, 5)."""
        if pair in self._cache:
            return self._cache[pair]
        infrared, visible = pair.read_infrared(), pair.read_visible()
        if infrared.dtype != np.uint8 or infrared.shape != visible.shape[:2]:
            raise ImageError(
                f"training pairs are 8 bit and of one size: {pair.infrared} is {infrared.dtype} "
                f"{infrared.shape}, {pair.visible} is {visible.shape[:2]}"
            )
        gray = cast("NDArray[np.uint8]", infrared)
        planes = np.dstack((gray, visible, salience(gray)))
        if self._cached_bytes < CACHE_BYTES:
            self._cache[pair] = planes
            self._cached_bytes += planes.nbytes
        return planes
