"""Training: one function from a config to a run folder with checkpoints, log and weights."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from dreamif_model.checkpoints import save_weights
from dreamif_model.color import luma
from dreamif_model.data import CropDataset, DataSet
from dreamif_model.degradations import DEGRADATIONS, Modality, check_names, degrade_randomly
from dreamif_model.device import keep_freed_memory, use_cpu_threads
from dreamif_model.errors import ConfigError, WeightsError
from dreamif_model.losses import total_loss
from dreamif_model.network import DreamIF
from dreamif_model.variants import network_config

CHECKPOINT = "checkpoint.pt"  # resume state; the weights to ship are <variant>.safetensors
LOG = "log.jsonl"

DEFAULT_LOSS_WEIGHTS = {
    "pixel": 1.0,
    "gradient": 4.0,
    "edge": 6.0,
    "ssim": 1.0,
    "information": 0.06,
    "color": 1.0,
    "dominance": 0.1,
    "restoration": 1.0,
}

# No fp16: its range needs a scaled loss, and every machine it would help on has bf16.
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}

# field of TrainConfig: (type, lowest, highest)
RANGES: dict[str, tuple[type, float, float]] = {
    "steps": (int, 1, math.inf),
    "batch_size": (int, 1, math.inf),
    "crop": (int, 1, math.inf),
    "learning_rate": (float, 0, math.inf),
    "warmup_steps": (int, 0, math.inf),
    "weight_decay": (float, 0, math.inf),
    "gradient_clip": (float, 0, math.inf),
    "ema_decay": (float, 0, 1),
    "degrade_probability": (float, 0, 1),
    "seed": (int, 0, math.inf),
    "log_every": (int, 1, math.inf),
    "checkpoint_every": (int, 1, math.inf),
}


@dataclass(frozen=True)
class TrainConfig:
    """What ``dreamif train`` reads from its YAML; one key per field."""

    variant: str
    data: tuple[DataSet, ...]
    steps: int = 10_000
    batch_size: int = 8
    crop: int = 96  # pixels, a multiple of the variant's size multiple
    learning_rate: float = 1e-3
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0  # norm
    ema_decay: float = 0.999
    degrade_probability: float = 0.7  # of each modality of each sample, independently
    degradations: tuple[str, ...] = tuple(DEGRADATIONS)  # the kinds to draw from
    precision: str = "fp32"  # of the network's arithmetic; losses and weights stay fp32
    loss_weights: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_LOSS_WEIGHTS))
    seed: int = 0
    log_every: int = 50  # steps
    checkpoint_every: int = 250  # steps

    def __post_init__(self) -> None:
        for name, (kind, lowest, highest) in RANGES.items():
            _check_number(name, getattr(self, name), kind, lowest, highest)
        if not isinstance(self.variant, str):
            raise ConfigError(f"variant must be a name, got {self.variant!r}")
        multiple = network_config(self.variant).size_multiple
        if self.crop % multiple:
            raise ConfigError(
                f"crop must be a multiple of {multiple} for {self.variant}, got {self.crop}"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        if not isinstance(self.degradations, tuple) or not self.degradations:
            raise ConfigError(f"degradations must be a list of names, got {self.degradations!r}")
        check_names(self.degradations)
        if not self.data:
            raise ConfigError("data must name at least one folder of pairs")
        names = ", ".join(DEFAULT_LOSS_WEIGHTS)
        if (
            not isinstance(self.loss_weights, dict)
            or self.loss_weights.keys() != DEFAULT_LOSS_WEIGHTS.keys()
        ):
            raise ConfigError(f"loss_weights must give a number for each of {names}")
        for name, weight in self.loss_weights.items():
            _check_number(f"loss_weights.{name}", weight, float, 0, math.inf)

    @classmethod
    def load(cls, path: Path, data_root: Path | None = None, **overrides: Any) -> TrainConfig:
        """Read a YAML file; relative data paths start at ``data_root``, or at the file's folder."""
        try:
            raw = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from None
        try:
            return cls._from_yaml(raw, data_root or path.parent, overrides)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def _from_yaml(cls, raw: Any, root: Path, overrides: dict[str, Any]) -> TrainConfig:
        values = _checked(raw, cls, "settings") | overrides
        if not isinstance(values["data"], list):
            raise ConfigError("data must be a list of {path, weight, validation}")
        if isinstance(values.get("degradations"), list):
            values["degradations"] = tuple(values["degradations"])
        values["data"] = tuple(_data_set(entry, root) for entry in values["data"])
        return cls(**values)


def _checked(raw: Any, owner: type, what: str) -> dict[str, Any]:
    """A mapping with no other keys than the owner's fields, and all that have no default."""
    if not isinstance(raw, dict):
        raise ConfigError(f"expected a mapping of {what}, got {raw!r}")
    known = {f.name: f for f in fields(owner)}
    unknown = sorted(str(key) for key in raw.keys() - known.keys())
    if unknown:
        raise ConfigError(f"unknown keys: {', '.join(unknown)}; known: {', '.join(known)}")
    for name, f in known.items():
        if name not in raw and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{name} is missing from the {what}")
    return raw


def _data_set(raw: Any, root: Path) -> DataSet:
    entry = _checked(raw, DataSet, "data entry")
    stems = entry.get("validation", ())
    if not isinstance(stems, (list, tuple)) or not all(isinstance(stem, str) for stem in stems):
        raise ConfigError(f"validation must be a list of quoted file stems, got {stems!r}")
    if not isinstance(entry["path"], str):
        raise ConfigError(f"path must be a folder, got {entry['path']!r}")
    _check_number("weight", entry.get("weight", 1.0), float, 1e-9, math.inf)
    return DataSet(root / entry["path"], float(entry.get("weight", 1.0)), tuple(stems))


def _check_number(name: str, value: Any, kind: type, lowest: float, highest: float) -> None:
    kinds = (int,) if kind is int else (int, float)
    # A bool is an int to Python; NaN fails the comparison.
    if isinstance(value, bool) or not isinstance(value, kinds) or not lowest <= value <= highest:
        hint = " (YAML reads 1e-3 as text: write 1.0e-3)" if isinstance(value, str) else ""
        raise ConfigError(
            f"{name} must be {'a whole number' if kind is int else 'a number'} "
            f"from {lowest:g} to {highest:g}, got {value!r}{hint}"
        )


def train(config: TrainConfig, out: Path, threads: int | None = None, command: str = "") -> Path:
    """Train, or go on from ``out``'s checkpoint; returns the path of the weights.

    Leaves in ``out``: ``checkpoint.pt``, ``log.jsonl`` (one line per ``log_every`` steps),
    ``<variant>.safetensors`` (the moving average of the weights) and ``<variant>.json``, which
    records how they were made: ``command``, config, data and the end of the log.
    """
    use_cpu_threads(threads or 0)
    keep_freed_memory()
    out.mkdir(parents=True, exist_ok=True)
    run = _Run(config, out)
    run.resume()
    run.fit()
    path = out / f"{config.variant}.safetensors"
    save_weights(run.average.module, config.variant, path)
    record = _record(config, command, (out / LOG).read_text().splitlines())
    path.with_suffix(".json").write_text(json.dumps(record, indent=2, default=str) + "\n")
    return path


def _record(config: TrainConfig, command: str, log: list[str]) -> dict[str, Any]:
    """How weights were made; data by folder name, since its place differs between machines."""
    settings = asdict(config)
    del settings["data"]
    splits = [(data, *data.split()) for data in config.data]
    return {
        "command": command,
        "torch": torch.__version__,
        "config": settings,
        "data": [
            {
                "name": data.path.name,
                "weight": data.weight,
                "training": [pair.stem for pair in training],
                "validation": [pair.stem for pair in validation],
            }
            for data, training, validation in splits
        ],
        "log_end": [json.loads(line) for line in log[-5:]],
    }


class _Run:
    """The state of one training run and its loop."""

    def __init__(self, config: TrainConfig, out: Path) -> None:
        torch.manual_seed(config.seed)
        self.config, self.out, self.step = config, out, 0
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = DreamIF(network_config(config.variant))
        self.network: DreamIF = network.to(  # type: ignore[call-overload]
            self.device, memory_format=torch.channels_last
        )
        self.average = AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)
        )
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def resume(self) -> None:
        """Take up the checkpoint in the run's folder, if there is one."""
        path = self.out / CHECKPOINT
        if not path.exists():
            return
        try:
            state = torch.load(path, weights_only=True, map_location=self.device)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        except (RuntimeError, LookupError, ValueError, EOFError, UnpicklingError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise WeightsError(
                f"{path} is damaged or not a checkpoint of variant {self.config.variant!r} "
                f"({reason}): remove it, or train into another folder"
            ) from None

    def fit(self) -> None:
        """Run the steps that are left."""
        started, recent = time.monotonic(), []
        with (
            (self.out / LOG).open("a") as log,
            tqdm(total=self.config.steps, initial=self.step, unit="step", disable=None) as bar,
        ):
            for infrared, visible in self._batches():
                recent.append(self._train_step(infrared, visible))
                self.step += 1
                bar.update()
                if self.step % self.config.log_every == 0:
                    line = _mean(recent) | {
                        "step": self.step,
                        "learning_rate": self._learning_rate(),
                        "seconds": round(time.monotonic() - started, 1),
                    }
                    log.write(json.dumps(line) + "\n")
                    log.flush()
                    bar.set_postfix(total=f"{line['total']:.4f}")
                    recent.clear()
                if self.step % self.config.checkpoint_every == 0 or self._done():
                    self._save()

    def _done(self) -> bool:
        return self.step >= self.config.steps

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches from the current step to the last: (B, 1, S, S) and (B, 3, S, S)."""
        size = self.config.batch_size
        dataset = CropDataset(
            self.config.data, self.config.crop, self.config.steps * size, self.config.seed
        )
        remaining = range(self.step * size, len(dataset))
        yield from DataLoader(dataset, batch_size=size, sampler=remaining)

    def _train_step(self, infrared: Tensor, visible: Tensor) -> dict[str, float]:
        if self.network.config.luma:
            visible = luma(visible)
        else:
            infrared = infrared.expand_as(visible)
        shown = self._degrade(infrared, "infrared"), self._degrade(visible, "visible")
        infrared, visible = infrared.to(self.device), visible.to(self.device)
        precision = PRECISIONS[self.config.precision]
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            output = self.network(shown[0].to(self.device), shown[1].to(self.device))
        output = output.float()
        loss, parts = total_loss(output, infrared, visible, self.config.loss_weights)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return {"total": float(loss.detach())} | parts

    def _degrade(self, images: Tensor, modality: Modality) -> Tensor:
        """Each image of (B, C, S, S) on its own; it depends on seed and sample alone."""
        config, generator = self.config, torch.Generator()
        degraded = []
        for sample, image in enumerate(images, self.step * len(images)):
            number = 2 * sample + (modality == "visible")
            generator.manual_seed(config.seed * 1_000_003 + number)
            degraded.append(
                degrade_randomly(
                    image,
                    config.degrade_probability,
                    generator,
                    modality=modality,
                    kinds=config.degradations,
                )
            )
        return torch.stack(degraded)

    def _learning_rate(self) -> float:
        """Linear warm-up, then a half cosine down to a hundredth."""
        config = self.config
        if self.step < config.warmup_steps:
            return config.learning_rate * (self.step + 1) / config.warmup_steps
        progress = (self.step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
        return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)

    def _save(self) -> None:
        """Write the checkpoint; a crash while writing leaves the older one."""
        path = self.out / CHECKPOINT
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(sum(row[key] for row in rows) / len(rows), 6) for key in rows[0]}
