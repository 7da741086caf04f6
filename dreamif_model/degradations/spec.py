"""Degradations written as text, such as ``gaussian:35`` or ``infrared=stripes:8,jpeg:30``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dreamif_model.degradations.kinds import MODALITIES, Modality, check_degradation
from dreamif_model.errors import ConfigError

if TYPE_CHECKING:  # torch takes 2 s: only what degrades images loads it
    from torch import Generator

Step = tuple[str, float]  # name and strength


@dataclass(frozen=True)
class DegradationSpec:
    """What each camera's images go through, one step after the other; () leaves them clean."""

    infrared: tuple[Step, ...] = ()
    visible: tuple[Step, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> DegradationSpec:
        """Read texts of the form ``[infrared=|visible=]NAME:STRENGTH[,NAME:STRENGTH…]``.

        A text without a modality is for both; several texts are applied one after the other.
        ConfigError says what is wrong with one.
        """
        steps: dict[str, tuple[Step, ...]] = dict.fromkeys(MODALITIES, ())
        for text in texts:
            modality, equals, names = text.rpartition("=")
            if equals and modality not in MODALITIES:
                raise ConfigError(
                    f"degradation {text!r} is for {modality!r}, expected {' or '.join(MODALITIES)}"
                )
            parsed = tuple(parse_degradation(part) for part in names.split(","))
            for chosen in [modality] if equals else MODALITIES:
                steps[chosen] += parsed
        return cls(**steps)

    def generator(self, seed: int) -> Generator | None:
        """Random numbers for :meth:`apply`; None where all images stay clean, without torch."""
        if not (self.infrared or self.visible):
            return None
        import torch

        return torch.Generator().manual_seed(seed)

    def apply(
        self, image: NDArray[np.uint8], modality: Modality, generator: Generator | None
    ) -> NDArray[np.uint8]:
        """Degrade an image of one camera: (H, W) gray or (H, W, 3) RGB; the same shape again.

        Rounded to 8 bits after the last step. The image itself where there is no step.
        generator: of :meth:`generator`.
        """
        steps = self.infrared if modality == "infrared" else self.visible
        if not steps:
            return image
        import torch

        from dreamif_model.degradations.degrade import degrade

        assert generator is not None  # there are steps
        planes = image if image.ndim == 2 else image.transpose(2, 0, 1)
        shown = torch.from_numpy(np.ascontiguousarray(planes)).float() / 255
        for name, strength in steps:
            shown = degrade(shown, name, strength, generator)
        pixels: NDArray[np.uint8] = shown.mul(255).round().byte().numpy()
        return pixels if image.ndim == 2 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def parse_degradation(text: str) -> Step:
    """Name and strength of ``gaussian:35``; ConfigError for anything else."""
    name, _, strength = text.strip().partition(":")
    try:
        step = name, float(strength)
    except ValueError:
        raise ConfigError(
            f"degradation {text!r}: expected NAME:STRENGTH, such as gaussian:35"
        ) from None
    check_degradation(*step)
    return step
