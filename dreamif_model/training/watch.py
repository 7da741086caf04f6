"""Progress bar, log, TensorBoard and pictures of a training run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dreamif_model.errors import ConfigError
from dreamif_model.image_files import write_image
from dreamif_model.network import Network
from dreamif_model.output_files import naming, write_whole
from dreamif_model.training.train_config import TrainConfig
from dreamif_model.training.validation import Validation
from dreamif_model.variants import network_config

LOG = "log.jsonl"


class Watch:
    """Progress bar, ``log.jsonl``, ``tensorboard/`` and ``pictures/`` of one run."""

    def __init__(self, config: TrainConfig, out: Path, first_step: int) -> None:
        self.pictures = out / "pictures"
        self.started = time.monotonic()
        self.bar = tqdm(total=config.steps, initial=first_step, unit="step", disable=None)
        _drop_rows_after(out / LOG, first_step)
        self.path = out / LOG
        self.file = self.path.open("a")
        self.board = _tensorboard(out / "tensorboard")
        multiple = network_config(config.variant).size_multiple
        self.validation = Validation(config, multiple)

    def step(self) -> None:
        self.bar.update()

    def log(self, step: int, row: dict[str, float]) -> None:
        """Append mean losses and the learning rate to the log."""
        seconds = round(time.monotonic() - self.started, 1)
        self._write(row | {"step": step, "seconds": seconds})
        self.bar.set_postfix(total=f"{row['total']:.4f}")
        self._show(step, row)

    def validate(self, step: int, network: Network) -> None:
        """Log losses and write a picture of the validation pairs, if there are any."""
        if not self.validation.pairs:
            return
        losses, picture = self.validation.run(network)
        self._write(losses | {"step": step})
        self.pictures.mkdir(exist_ok=True)
        write_image(self.pictures / f"{step:07d}.png", picture)
        self._show(step, losses)
        if self.board is not None:
            self.board.add_image("validation", picture, step, dataformats="HWC")

    def close(self) -> None:
        self.bar.close()
        with naming(self.path):
            self.file.close()
        if self.board is not None:
            self.board.close()

    def _write(self, row: dict[str, Any]) -> None:
        with naming(self.path):
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()

    def _show(self, step: int, values: dict[str, float]) -> None:
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)


def _drop_rows_after(log: Path, step: int) -> None:
    """Drop rows of steps that a crash lost, and an incomplete last row."""
    try:
        rows = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        kept = [row for row in rows if row.endswith("}") and json.loads(row)["step"] <= step]
    except (ValueError, LookupError, TypeError):
        raise ConfigError(
            f"{log} is no log of a training: remove it, or train into another folder"
        ) from None
    write_whole(log, "".join(f"{row}\n" for row in kept))


def _tensorboard(folder: Path) -> Any:
    """A TensorBoard writer; None, with a note, if the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("no TensorBoard logs (pip install tensorboard for them): log.jsonl has all values")
        return None
    return SummaryWriter(str(folder))
