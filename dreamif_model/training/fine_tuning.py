"""Fine-tuning of packaged weights: its settings, and whether it helped."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dreamif_model.comparison import OWN_CLEAN, compare, network_method
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.model_files.checkpoints import load_network
from dreamif_model.pipeline import FusionPipeline
from dreamif_model.training.data import DataSet
from dreamif_model.training.train_config import DEFAULT_LOSS_WEIGHTS, TrainConfig
from dreamif_model.training.validation import NOISE, Validation
from dreamif_model.variants import WEIGHTS_FOLDER, network_config

PACKAGED = tuple(sorted(path.stem for path in WEIGHTS_FOLDER.glob("*.json")))  # variants
JUDGED = 40  # held-out pairs, at most
LOSS, NOISY = "loss", "noisy"
METRICS = ("Qabf", "SSIM", "VIFF")
Figures = dict[str, dict[str, dict[str, float]]]  # condition: packaged or adapted: name: mean


def fine_tuning(variant: str, data: tuple[DataSet, ...], **settings: Any) -> TrainConfig:
    """The config to go on from a variant's packaged weights, as these were trained.

    Args:
        variant: One of :data:`PACKAGED`.
        data: The folders of pairs.
        **settings: Fields of TrainConfig, such as steps, minutes and learning_rate.

    Raises:
        ConfigError: A setting is out of range.
    """
    weights = WEIGHTS_FOLDER / f"{variant}.safetensors"
    recorded = json.loads(weights.with_suffix(".json").read_text())["config"]
    names = "batch_size", "crop", "degrade_probability", "stream_probability"
    kept = {name: recorded[name] for name in names}
    return TrainConfig(
        variant=variant,
        data=data,
        initial_weights=str(weights),
        degradations=tuple(recorded["degradations"]),
        loss_weights=DEFAULT_LOSS_WEIGHTS | recorded["loss_weights"],
        validate_every=250,
        **kept,
        **settings,
    )


def compare_with_packaged(config: TrainConfig, weights: Path) -> Figures:
    """Means over held-out pairs, clean and with Gaussian noise of σ = 25 gray levels on both.

    At most :data:`JUDGED` pairs, spread evenly. ``loss`` is that of the training, of the middle of
    each pair; the metrics compare whole images with the clean sources.

    Args:
        config: Of the training; its data name what is held out.
        weights: That came out of it.
    """
    judged = _judged(config)
    pairs = [pair for data in judged.data for pair in data.split()[1]]
    multiple = network_config(config.variant).size_multiple
    validation = Validation(judged, multiple, max_pairs=len(pairs))
    losses, methods = {}, {}
    for name, path in (("packaged", None), ("adapted", weights)):
        losses[name], _ = validation.run(load_network(config.variant, path))
        methods[name] = network_method(FusionPipeline(config.variant, weights=path))
    noise = {NOISY: DegradationSpec.parse([f"gaussian:{NOISE:g}"])}
    scores = defaultdict(list)
    for result in compare(pairs, methods, noise):
        scores[result.condition].append(result.scores)
    return {
        condition: {
            name: {LOSS: losses[name][f"validation_{condition}"]}
            | _means([row[name] for row in rows])
            for name in methods
        }
        for condition, rows in scores.items()
    }


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    columns = [column for column in (*METRICS, OWN_CLEAN) if column in rows[0]]
    return {column: float(np.mean([row[column] for row in rows])) for column in columns}


def _judged(config: TrainConfig) -> TrainConfig:
    """The config with fewer held-out pairs."""
    share = max(1, JUDGED // len(config.data))

    def thinned(data: DataSet) -> DataSet:
        stems = data.validation or ()
        return replace(data, validation=stems[:: max(1, -(-len(stems) // share))])

    return replace(config, data=tuple(thinned(data) for data in config.data))


def total_losses(figures: Figures) -> dict[str, float]:
    """The clean loss and the noisy one together, of the packaged and the adapted weights."""
    return {
        name: sum(row[name][LOSS] for row in figures.values()) for name in ("packaged", "adapted")
    }
