"""Degradations written as text, such as ``gaussian:35`` or ``infrared=stripes:8,jpeg:30``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dreamif_model.arrays import ByteImage
from dreamif_model.cameras import Camera
from dreamif_model.degradations.kinds import check_degradation
from dreamif_model.errors import ConfigError

if TYPE_CHECKING:  # torch takes 2 s: only what degrades images loads it
    from torch import Generator

Step = tuple[str, float]  # name and strength


@dataclass(frozen=True)
class DegradationSpec:
    """The steps that degrade each camera's images, in order; () leaves them clean."""

    infrared: tuple[Step, ...] = ()
    visible: tuple[Step, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> DegradationSpec:
        """Read texts of the form ``[infrared=|visible=]NAME:STRENGTH[,NAME:STRENGTH…]``.

        A text without a camera is for both; several texts are applied one after the other.
        ConfigError says what is wrong with one.
        """
        steps: dict[str, tuple[Step, ...]] = {camera.value: () for camera in Camera}
        for text in texts:
            camera, equals, names = text.rpartition("=")
            if equals and camera not in steps:
                raise ConfigError(
                    f"degradation {text!r} is for {camera!r}, expected {' or '.join(steps)}"
                )
            parsed = tuple(parse_degradation(part) for part in names.split(","))
            for chosen in [camera] if equals else steps:
                steps[chosen] += parsed
        return cls(**steps)

    def generator(self, seed: int) -> Generator | None:
        """Random numbers for :meth:`apply`; None, without torch, where all images stay clean."""
        if not (self.infrared or self.visible):
            return None
        import torch

        return torch.Generator().manual_seed(seed)

    def apply(self, image: ByteImage, camera: Camera, generator: Generator | None) -> ByteImage:
        """Degrade an image of one camera, with the random numbers of :meth:`generator`.

        The result is rounded to 8 bits after the last step; without a step it is the image itself.
        """
        steps = self.infrared if camera == Camera.INFRARED else self.visible
        if not steps:
            return image
        from dreamif_model.degradations.degrade import degrade
        from dreamif_model.tensor_images import to_image, to_tensor

        assert generator is not None  # there are steps
        planes = to_tensor(image)
        for name, strength in steps:
            planes = degrade(planes, name, strength, generator)
        return to_image(planes)


def parse_degradation(text: str) -> Step:
    """Split ``gaussian:35`` into name and strength; ConfigError if it is no such text."""
    name, _, strength = text.strip().partition(":")
    try:
        step = name, float(strength)
    except ValueError:
        raise ConfigError(
            f"degradation {text!r}: expected NAME:STRENGTH, such as gaussian:35"
        ) from None
    check_degradation(*step)
    return step
