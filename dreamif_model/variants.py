"""The table of model variants: one row of sizes and switches for each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dreamif_model.errors import ConfigError

WEIGHTS_FOLDER = Path(__file__).parent / "weights"  # of the packaged variants
AVERAGE = "average"  # no network: the mean of both images, the baseline of every comparison


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of one Dream-IF network. The paper's own (``base``) are the defaults.

    The switches after ``prompt_size`` are departures from the paper. A variant turns one on
    because it measured better; ``released`` has what the authors' code has. The last three
    switches are those of the paper's Table 4: a part that is off is not built.
    """

    channels: int = 48  # of level 1; each further level doubles them
    blocks: tuple[int, int, int, int] = (4, 6, 6, 8)  # Restormer blocks per level
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)  # attention heads per level
    refinement_blocks: int = 4
    expansion: float = 2.66  # hidden channels of a feed-forward, per channel
    prompt_count: int = 5
    prompt_channels: tuple[int, int, int] = (64, 128, 320)  # levels 1 to 3
    prompt_size: tuple[int, int, int] = (64, 32, 16)  # side of a learnable prompt, levels 1 to 3

    stem: int = 1  # pixel-unshuffle factor in front of the patch embedding
    luma: bool = False  # fuse luma (1 channel), carry the visible chroma over; else fuse RGB
    skip_connections: bool = False  # encoder features join the decoder level by level
    source_residual: bool = False  # restored sources, weighted by dominance, join the output
    attention: tuple[bool, bool, bool, bool] = (True, True, True, True)  # level: else 3×3 blocks
    separable: bool = False  # cheaper decoder: separable 3×3, pointwise upsampling, slim prompts

    released: bool = False  # the structure of the authors' release: docs/import-checkpoint.md

    relative_dominance: bool = True
    cross_enhancement: bool = True
    self_enhancement: bool = True

    def __post_init__(self) -> None:
        if self.released and (
            self.cross_enhancement or self.self_enhancement or not self.relative_dominance
        ):
            raise ConfigError(
                "the released structure has relative dominance, "
                "but neither cross nor self enhancement"
            )

    noise_map = False

    @property
    def image_channels(self) -> int:
        """Channels of each input and of the output: 1 (luma) or 3 (RGB)."""
        return 1 if self.luma else 3

    def decoded_channels(self, level: int) -> int:
        """Output channels of the decoder at ``level``; in the release level 1 has those of 2."""
        return self.channels << (max(level, 1) if self.released else level)

    @property
    def size_multiple(self) -> int:
        """Height and width of the network's input must be multiples of this."""
        return self.stem * 8  # three halvings between the four levels


@dataclass(frozen=True)
class LeanConfig:
    """Sizes of one lean network: :mod:`dreamif_model.network.lean`."""

    stem: int = 4  # side of the cells whose pixels become channels
    channels: tuple[int, ...] = (32, 32, 64, 64)  # of each modality, per level
    head_channels: int = 32  # hidden channels between the features and the fused image
    candidate_filters: int = 3  # linear filters that restoration chooses from
    prompt_count: int = 5

    relative_dominance: bool = True
    cross_enhancement: bool = True
    self_enhancement: bool = True

    noise_map: bool = True  # it can be told how strong the noise of each cell is

    luma = True
    image_channels = 1

    @property
    def size_multiple(self) -> int:
        """Height and width of the network's input must be multiples of this."""
        return self.stem << (len(self.channels) - 1)


TINY = NetworkConfig(
    channels=16,
    blocks=(1, 1, 1, 2),
    refinement_blocks=1,
    expansion=1.0,
    prompt_channels=(16, 16, 16),
    prompt_size=(16, 16, 16),
    stem=2,
    luma=True,
    skip_connections=True,
    source_residual=True,
    attention=(False, False, True, True),
    separable=True,
)
NETWORKS: dict[str, NetworkConfig | LeanConfig] = {
    "base": NetworkConfig(),
    "small": replace(
        TINY, channels=32, blocks=(2, 3, 3, 4), refinement_blocks=2, stem=1, expansion=2.0
    ),
    "tiny": TINY,
    "nano": LeanConfig(),
    "nano_permissive": LeanConfig(),  # its data's terms allow commercial use
    "released": NetworkConfig(released=True, cross_enhancement=False, self_enhancement=False),
}
SWITCHES = ("relative_dominance", "cross_enhancement", "self_enhancement")
VARIANTS: tuple[str, ...] = (*NETWORKS, AVERAGE)


def without_noise_map(config: NetworkConfig | LeanConfig) -> NetworkConfig | LeanConfig:
    """Return the sizes of a network that cannot be told of noise, as that of older weights."""
    return replace(config, noise_map=False) if isinstance(config, LeanConfig) else config


def network_config(variant: str, without: Collection[str] = ()) -> NetworkConfig | LeanConfig:
    """Return the sizes of ``variant``, with the switches named by ``without`` turned off.

    ConfigError names the variants that exist.
    """
    try:
        config = NETWORKS[variant]
    except KeyError:
        raise ConfigError(
            f"unknown network variant {variant!r}: choose one of {', '.join(NETWORKS)}"
        ) from None
    off: dict[str, Any] = {name: False for name in SWITCHES if name in without}
    return replace(config, **off)
