"""Fine-tune packaged weights on recordings of one's own pair of cameras, without ground truth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dreamif_model import Calibration, ConfigError, ImageError, WeightsError
from dreamif_model.arrays import GrayImage
from dreamif_model.cameras import Both
from dreamif_model.image_files import write_image
from dreamif_model.output_files import naming, unfinished_folder, write_whole
from dreamif_model.registration.warp import Registrar, Warp, resize
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_model.training.data import DataSet
from dreamif_model.training.fine_tuning import (
    Figures,
    compare_with_packaged,
    fine_tuning,
    total_losses,
)
from dreamif_model.training.run import CHECKPOINT, train
from dreamif_ros.bag.recorded_pairs import PairingOptions
from dreamif_ros.bag.storage import BagError
from dreamif_ros.evaluation.evaluate_bag import Progress
from dreamif_ros.evaluation.measuring import Places
from dreamif_ros.evaluation.recorded_cameras import RecordedCameras, open_cameras
from dreamif_ros.json_file import plain, write_json

MIN_PAIRS = 20  # of each recording
HELD_OUT = 10  # one pair in so many is held out: the last ones
MIN_SIDE = 64  # pixels
STATE = "recordings.json"  # in the folder of the training: what it was begun with


@dataclass(frozen=True)
class Footage:
    """Which pairs of which recordings are taken, as the fusion node would take them.

    Attributes:
        bags: by the name that each has in the record.
        topics: None: found by name and encoding.
        pairing: how images become pairs.
        calibration: its file; None: infrared is resized to the visible image.
        thermal: how counts become gray levels.
        pairs: at most so many in all, equally many of each recording, spread evenly.

    Raises:
        ConfigError: they are too few for the recordings.
    """

    bags: Mapping[str, Path]
    topics: Both[str | None]
    pairing: PairingOptions
    calibration: Path | None
    thermal: ThermalConfig
    pairs: int

    def __post_init__(self) -> None:
        minimum = MIN_PAIRS * len(self.bags)
        if self.pairs < minimum:
            raise ConfigError(
                f"{self.pairs} pairs are too few for {len(self.bags)} recordings: expected "
                f"{minimum} or more, {MIN_PAIRS} of each"
            )


@dataclass(frozen=True)
class RecordedSet:
    """The pairs of one recording as image files.

    Attributes:
        name: of the recording.
        folder: in which ``ir/00000.png``, ``vi/00000.png``, … are.
        pairs: that were recorded.
        written: that were written.
        held_out: the last so many, which are not trained on.
        size: (width, height) of the last images in pixels.
        faults: what is wrong with the recording, in words.
    """

    name: str
    folder: Path
    pairs: int
    written: int
    held_out: int
    size: tuple[int, int]
    faults: tuple[str, ...]

    def data(self) -> DataSet:
        """For the training."""
        stems = range(self.written - self.held_out, self.written)
        return DataSet(self.folder, validation=tuple(map(_stem, stems)))

    def record(self) -> dict[str, Any]:
        """For the record: all but the folder, which is another one each time."""
        row = plain(asdict(self))
        del row["folder"]
        return dict(row)


def training_folder(out: Path) -> Path:
    """Where the training of the weights ``out`` has its checkpoints."""
    return out.with_name(f"{out.stem}_training")


@contextmanager
def written_pairs(
    footage: Footage,
    out: Path,
    keep: Path | None = None,
    progress: Progress = lambda items, what, count: items,  # noqa: ARG005
) -> Iterator[list[RecordedSet]]:
    """The pairs as image files; they are removed after the block unless ``keep`` is given.

    Args:
        footage: Which pairs.
        out: The weights that are to be made; the pairs are in a new folder beside them.
        keep: A new folder for the pairs.
        progress: Wraps the iterations, to show how far they are.

    Raises:
        BagError: A recording cannot be read, or has too few pairs.
        ConfigError: The calibration cannot be used.
    """
    with unfinished_folder(keep or out) as unfinished:
        pairs = unfinished / "pairs"
        sets = [_write_set(footage, name, pairs / name, progress) for name in footage.bags]
        if keep:
            pairs.rename(keep)
            sets = [replace(one, folder=keep / one.name) for one in sets]
        yield sets


def adapt(
    sets: Sequence[RecordedSet],
    variant: str,
    out: Path,
    *,
    command: str = "",
    threads: int | None = None,
    **settings: Any,
) -> tuple[Path, Figures]:
    """Fine-tune, or resume from the checkpoint in :func:`training_folder`, and judge the result.

    Args:
        sets: What to train on.
        variant: Whose packaged weights to start from.
        out: The weights that :func:`publish` is to write.
        command: For the record.
        threads: CPU threads; None for one per core.
        **settings: Of TrainConfig, such as steps, minutes and learning_rate.

    Returns:
        The weights in the training's folder, and the figures of them and of the packaged ones.

    Raises:
        ConfigError: Settings cannot be used, or the checkpoint is of other recordings.
        WeightsError: The checkpoint cannot be used, or the result has no finite values.
    """
    config = fine_tuning(variant, tuple(one.data() for one in sets), **settings)
    folder = training_folder(out)
    with naming(folder):
        folder.mkdir(exist_ok=True)
    _begin(folder, [one.record() for one in sets])
    weights = train(config, folder, threads, command)
    return weights, compare_with_packaged(config, weights)


def publish(weights: Path, figures: Figures, out: Path) -> None:
    """Write the weights and, beside them, how they were trained and judged.

    Args:
        weights: Of :func:`adapt`.
        figures: Of :func:`adapt`.
        out: The file to write, ``.safetensors``.

    Raises:
        WeightsError: The clean and the noisy loss together are not lower than those of the
            packaged weights.
    """
    loss = total_losses(figures)
    if not loss["adapted"] < loss["packaged"]:  # NaN is refused too
        raise WeightsError(
            f"{out} was not written: clean and noisy loss together are {loss['adapted']:.4f}, no "
            f"better than {loss['packaged']:.4f} of the packaged weights; train longer with the "
            "same command, or record more of what is to be fused"
        )
    record = json.loads(weights.with_suffix(".json").read_text())
    record["config"]["initial_weights"] = Path(record["config"]["initial_weights"]).name
    recordings = json.loads((weights.parent / STATE).read_text())["recordings"]
    write_whole(out, weights.read_bytes())
    write_json(out.with_suffix(".json"), record | {"recordings": recordings, "held_out": figures})


def _write_set(footage: Footage, name: str, folder: Path, progress: Progress) -> RecordedSet:
    """Write the pairs of one recording; BagError where they are too few."""
    count = footage.pairs // len(footage.bags)
    bag = footage.bags[name]
    with open_cameras(bag, footage.topics, footage.pairing, footage.calibration) as cameras:
        available = sum(1 for _ in cameras.pairs())
        writer = _PairWriter(cameras.calibration, footage.thermal, folder)
        writer.write(cameras, Places(available, count), available, progress)
        faults = (*cameras.recording.faults, *cameras.chosen.faults)
    if writer.written < MIN_PAIRS:
        raise BagError(
            f"{bag} has {available} pairs, of which {writer.written} could be written: expected "
            f"{MIN_PAIRS} or more; `dreamif bag info` tells what it holds"
        )
    held_out = -(-writer.written // HELD_OUT)
    return RecordedSet(name, folder, available, writer.written, held_out, writer.size, faults)


def _begin(folder: Path, recordings: list[dict[str, Any]]) -> None:
    """Note what is trained on; ConfigError where the checkpoint saw other recordings.

    It may have been trained on what is now held out.
    """
    path = folder / STATE
    if (folder / CHECKPOINT).exists():
        try:
            before = json.loads(path.read_text())["recordings"]
        except (OSError, ValueError, LookupError, TypeError):
            before = None
        if before != recordings:
            raise ConfigError(
                f"the training in {folder} was begun with other recordings or settings: remove "
                "it, or give --out another name"
            )
    write_json(path, {"recordings": recordings})


class _PairWriter:
    """Writes pairs on the visible pixels, without what registered infrared does not reach.

    written: How many. size: (width, height) of the last one.
    """

    def __init__(
        self, calibration: Calibration | None, thermal: ThermalConfig, folder: Path
    ) -> None:
        self.written, self.size = 0, (0, 0)
        self._normalizer = ThermalNormalizer(thermal)
        self._registrar = Registrar(calibration, feather_px=0) if calibration else None
        self._warp: Warp | None = None
        self._window = slice(0), slice(0)
        self._folders = folder / "ir", folder / "vi"
        for place in self._folders:
            place.mkdir(parents=True)

    def write(
        self, cameras: RecordedCameras, places: Places, count: int, progress: Progress
    ) -> None:
        """Write the pairs at some places; every infrared image moves the thermal range."""
        for index, pair in enumerate(progress(cameras.pairs(), "pair", count)):
            try:
                infrared = self._normalizer.normalize(pair.infrared)
                if not places.due(index):
                    continue
                images = self._registered(infrared, pair.visible)
            except ImageError:  # as the node, which drops it
                continue
            height, width = images[0].shape
            if min(height, width) < MIN_SIDE:
                raise BagError(
                    f"both images of {cameras.recording.path} have {width}x{height} pixels in "
                    f"common, expected {MIN_SIDE}x{MIN_SIDE} or more"
                )
            for folder, image in zip(self._folders, images, strict=True):
                write_image(folder / f"{_stem(self.written)}.png", image)
            self.written, self.size = self.written + 1, (width, height)

    def _registered(
        self, infrared: GrayImage, visible: NDArray[np.uint8]
    ) -> tuple[GrayImage, NDArray[np.uint8]]:
        if self._registrar is None:
            return resize(infrared, visible.shape[:2]), visible
        warp = self._registrar.warp(infrared.shape, visible.shape)
        if warp is not self._warp:
            self._warp, self._window = warp, covered_window(warp.coverage > 0)
        return warp(infrared)[self._window], visible[self._window]


def covered_window(covered: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of a rectangle in which every pixel of (H, W) is covered.

    The outer row or column with the lowest coverage goes first. What one camera sees of the other
    has no holes, so that this leaves about the largest rectangle.
    """
    (bottom, right), top, left = covered.shape, 0, 0
    while not (inside := covered[top:bottom, left:right]).all():
        edges = inside[0], inside[-1], inside[:, 0], inside[:, -1]
        worst = int(np.argmin([edge.mean() for edge in edges]))
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return slice(top, bottom), slice(left, right)


def _stem(number: int) -> str:
    return f"{number:05d}"
