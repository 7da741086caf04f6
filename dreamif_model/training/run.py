"""Train a network: from a config to a folder with checkpoints, log and weights.

Under ``torchrun`` it trains in several processes, on one machine or more. Each process takes its
share of every batch, and gradients are averaged (DistributedDataParallel).
"""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from dreamif_model.cameras import Camera
from dreamif_model.degradations.degrade import degrade_randomly
from dreamif_model.device import cpu_threads, keep_freed_memory, use_cpu_threads
from dreamif_model.errors import ConfigError, DreamIFError, WeightsError
from dreamif_model.model_files.checkpoints import load_network, read_pickled, save_weights
from dreamif_model.network import Network, make_network
from dreamif_model.output_files import JSON_MARK, naming, sole_writer, write_whole
from dreamif_model.temporal.blocks import SIDE
from dreamif_model.tensor_images import luma
from dreamif_model.training.clips import pair_names
from dreamif_model.training.data import CropDataset
from dreamif_model.training.distillation import distillation_loss, teach
from dreamif_model.training.losses import total_loss
from dreamif_model.training.stream_noise import stream_noise
from dreamif_model.training.train_config import PRECISIONS, TrainConfig
from dreamif_model.training.watch import LOG, Watch
from dreamif_model.variants import network_config, without_noise_map

CHECKPOINT = "checkpoint.pt"  # to resume from; the weights to use are <variant>.safetensors
LOG_ROWS = 50  # rows of the log in the record, evenly spaced


def train(config: TrainConfig, out: Path, threads: int | None = None, command: str = "") -> Path:
    """Train, or resume from the checkpoint in ``out``; returns the path of the weights.

    Writes into ``out``: ``checkpoint.pt``, ``log.jsonl`` (a line every ``log_every`` steps),
    ``pictures/``, ``tensorboard/`` (if tensorboard is installed), ``<variant>.safetensors`` (the
    moving average of the weights) and ``<variant>.json``, which records how they were trained:
    ``command``, config, data and the log.
    """
    use_cpu_threads(threads or 0)
    torch.set_num_threads(cpu_threads())
    keep_freed_memory()
    with naming(out):
        out.mkdir(parents=True, exist_ok=True)
    path = out / f"{config.variant}.safetensors"
    with _processes(), _folder_of(out):
        run = _Run(config, out)
        run.resume()
        run.fit()
        if run.rank == 0:
            save_weights(run.average.module, config.variant, path, config.without)
            record = _record(config, command, (out / LOG).read_text().splitlines())
            text = json.dumps(JSON_MARK | record, indent=2, default=str)
            write_whole(path.with_suffix(".json"), f"{text}\n")
    return path


def _folder_of(out: Path) -> AbstractContextManager[None]:
    """Only one training writes into the folder, in its first process."""
    return sole_writer(out) if _place()[0] == 0 else nullcontext()


@contextmanager
def _processes() -> Iterator[None]:
    """Join the processes that torchrun has started, if it has."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        dist.barrier()  # all save first, because torchrun ends all processes when one fails
    finally:
        dist.destroy_process_group()


def _record(config: TrainConfig, command: str, log: list[str]) -> dict[str, Any]:
    """How the weights were trained; data sets by folder name only, as paths differ elsewhere."""
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
                "training": pair_names(training),
                "validation": pair_names(validation),
            }
            for data, training, validation in splits
        ],
        "log": [json.loads(line) for line in log[:: -(len(log) // LOG_ROWS + 1)][::-1]],
    }


class _Run:
    """The state and the loop of a training run in one process."""

    def __init__(self, config: TrainConfig, out: Path) -> None:
        torch.manual_seed(config.seed)
        self.config, self.out, self.step = config, out, 0
        self._started = time.monotonic()
        self.rank, self.world = _place()
        if config.batch_size % self.world:
            raise ConfigError(
                f"batch_size must be a multiple of the {self.world} processes, "
                f"got {config.batch_size}"
            )
        self.device = _device()
        self.network = self._build()
        self.model = DistributedDataParallel(self.network) if self.world > 1 else self.network
        self.teacher = self._load_teacher()
        self.average = AveragedModel(self.network, multi_avg_fn=partial(_blend, config.ema_decay))
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def _build(self) -> Network:
        config = self.config
        network = make_network(network_config(config.variant, config.without))
        if config.initial_weights:
            initial = load_network(config.variant, config.initial_weights)
            if without_noise_map(initial.config) != without_noise_map(network.config):
                raise ConfigError(f"{config.initial_weights} was built with other parts left out")
            network.load_state_dict(initial.state_dict(), strict=initial.config == network.config)
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _load_teacher(self) -> Network | None:
        teacher = self.config.teacher
        if teacher is None:
            return None
        return load_network(teacher.variant, teacher.weights or None).to(self.device)

    def resume(self) -> None:
        """Load the checkpoint in the run's folder, if there is one."""
        path = self.out / CHECKPOINT
        if not path.exists():
            return
        try:
            state = read_pickled(path, self.device)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        except (WeightsError, RuntimeError, LookupError, ValueError, TypeError, AttributeError):
            raise WeightsError(
                f"{path} is damaged or not a checkpoint of variant {self.config.variant!r}: "
                "remove it, or train into another folder"
            ) from None

    def fit(self) -> None:
        """Run the remaining steps."""
        if self.rank == 0:
            with closing(Watch(self.config, self.out, self.step)) as watch:
                self._steps(watch)
        else:
            self._steps(None)

    def _steps(self, watch: Watch | None) -> None:
        config, recent = self.config, []
        self._started = time.monotonic()
        for batch in self._batches():
            recent.append(self._train_step(*batch))
            self.step += 1
            if self.step % config.log_every == 0:
                row = self._mean_over_processes(recent) | {"learning_rate": self._learning_rate()}
                recent.clear()
                if watch:
                    watch.log(self.step, row)
            if watch:
                watch.step()
                if self.step % config.validate_every == 0:
                    watch.validate(self.step, cast("Network", self.average.module))
                if self.step % config.checkpoint_every == 0 or self._progress() >= 1:
                    self._save()
            if self._progress() >= 1:
                break

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """This process's share of the batches from the current step to the last.

        Infrared (B, 1, S, S), visible (B, 3, S, S) and salience (B, 1, S, S).
        """
        config = self.config
        share = config.batch_size // self.world
        length = config.steps * config.batch_size
        dataset = CropDataset(config.data, config.crop, length, config.seed)
        samples = [
            step * config.batch_size + self.rank * share + i
            for step in range(self.step, config.steps)
            for i in range(share)
        ]
        loader = DataLoader(
            dataset,
            batch_size=share,
            sampler=samples,
            num_workers=config.workers,
            # A forked process could wait forever for a lock that a thread held.
            multiprocessing_context="spawn" if config.workers else None,
        )
        try:
            yield from loader
        except DreamIFError as error:  # from a worker it has a traceback before the message
            message = str(error).rpartition(f"{type(error).__name__}: ")[2]
            raise type(error)(message.strip()) from None

    def _train_step(self, infrared: Tensor, visible: Tensor, salience: Tensor) -> dict[str, float]:
        if self.network.config.luma:
            visible = luma(visible)
        shown_infrared, infrared_noise = self._degrade(infrared, Camera.INFRARED)
        shown_visible, visible_noise = self._degrade(visible, Camera.VISIBLE)
        # An RGB variant takes the gray infrared image three times.
        infrared = infrared.expand_as(visible)
        shown = shown_infrared.expand_as(shown_visible), shown_visible
        precision = PRECISIONS[self.config.precision]
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            output = self.model(*shown, torch.cat((infrared_noise, visible_noise), dim=1))
        output = output.float()
        loss, parts = total_loss(
            output,
            infrared.to(self.device),
            visible.to(self.device),
            salience.to(self.device),
            self.config.loss_weights,
        )
        if self.teacher is not None and self.config.teacher is not None:
            clean = teach(self.teacher, infrared.to(self.device), visible.to(self.device))
            distilled = distillation_loss(output, clean)
            loss = loss + self.config.teacher.weight * distilled
            parts["distillation"] = float(distilled.detach())
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return {"total": float(loss.detach())} | parts

    def _degrade(self, images: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
        """Degrade each image of (B, C, S, S); the result depends on seed and sample only.

        Returns:
            The degraded images, and σ of their noise (B, 1, S / 4, S / 4) where the network is told
            that; else 0.
        """
        generator = torch.Generator()
        first = self.step * self.config.batch_size + self.rank * len(images)
        degraded = []
        for sample, image in enumerate(images, first):
            number = 2 * sample + (camera is Camera.VISIBLE)
            generator.manual_seed(self.config.seed * 1_000_003 + number)
            degraded.append(self._degrade_one(image, camera, generator))
        shown, noise = zip(*degraded, strict=True)
        return torch.stack(shown).to(self.device), torch.stack(noise).to(self.device)

    def _degrade_one(
        self, image: Tensor, camera: Camera, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        share = config.stream_probability
        if share and share > torch.rand((), generator=generator):
            return stream_noise(image, generator)
        shown = degrade_randomly(
            image,
            config.degrade_probability,
            generator,
            camera=camera,
            kinds=config.degradations,
        )
        return shown, image.new_zeros(1, config.crop // SIDE, config.crop // SIDE)

    def _mean_over_processes(self, rows: list[dict[str, float]]) -> dict[str, float]:
        means = torch.tensor([list(row.values()) for row in rows], device=self.device).mean(0)
        if self.world > 1:
            dist.all_reduce(means)
            means /= self.world
        return {key: round(float(mean), 6) for key, mean in zip(rows[0], means, strict=True)}

    def _learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to a hundredth."""
        config = self.config
        if self.step < config.warmup_steps:
            return config.learning_rate * (self.step + 1) / config.warmup_steps
        return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * self._progress())) / 2)

    def _progress(self) -> float:
        """Finished share of the run after the warm-up, in [0, 1], by steps or by time."""
        config = self.config
        done = (self.step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
        if self.step >= config.steps:
            return 1.0
        if config.minutes:
            done = max(done, (time.monotonic() - self._started) / (60 * config.minutes))
        return min(max(done, 0.0), 1.0)

    def _save(self) -> None:
        """Write the checkpoint; where that fails the older one is kept."""
        path = self.out / CHECKPOINT
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        content = io.BytesIO()  # torch's errors of a full disk name no file
        torch.save(state, content)
        write_whole(path, content.getvalue())


def _place() -> tuple[int, int]:
    """Number of this process, and number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


@torch.no_grad()
def _blend(decay: float, average: list[Tensor], newest: list[Tensor], count: Tensor) -> None:
    """Update the exponential moving average of the weights by one step.

    The first steps are weighted as a growing mean. With 0.999 from the start, a third of the random
    initial weights would still be in the average after a thousand steps.
    """
    decay = min(decay, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(average, newest, 1 - decay)
