"""The metadata inside exported networks, the same in every format."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from dreamif_model.errors import WeightsError
from dreamif_model.variants import LeanConfig, NetworkConfig

GRAPH_KEY = "dreamif"  # key of the metadata in ONNX, OpenVINO and TorchScript files
GRAPH_FORMAT = "dreamif-graph-1"  # changes when old files can no longer be read
NOISE_STEPS = 4  # per gray level, in the map of noise
WEIGHTS_LICENCE = (
    "trained on public data sets for research; see the model card beside the packaged weights "
    "before commercial use"
)


@dataclass(frozen=True)
class GraphInfo:
    """Metadata of an exported network.

    Attributes:
        variant: name of the variant.
        stem: side of the cells whose pixels are the input's phases.
        image_channels: 1 if the network fuses luma, 3 if it fuses RGB.
        size_multiple: height and width of the images must be multiples of this.
        noise_map: the input has two channels more, for the noise of both cameras.
        height: of the images in pixels if the file is for one size only, else 0.
        width: of the images in pixels if the file is for one size only, else 0.
        whole: the file takes and gives images, so that it needs no engine of ours.
        input_range: type and range of the input.
        output_range: types and ranges of the outputs.
        licence: of the weights.
        format: of this metadata.
    """

    variant: str
    stem: int
    image_channels: int
    size_multiple: int
    noise_map: bool = False  # as older files, which do not say
    height: int = 0
    width: int = 0
    whole: bool = False
    input_range: str = "uint8 0..255"
    output_range: str = "fused float32 0..255, dominance float32 0..1"
    licence: str = WEIGHTS_LICENCE
    format: str = GRAPH_FORMAT

    @classmethod
    def of(cls, variant: str, config: NetworkConfig | LeanConfig) -> GraphInfo:
        """Describe a row of the table of variants."""
        return cls(
            variant, config.stem, config.image_channels, config.size_multiple, config.noise_map
        )

    @property
    def channels(self) -> int:
        """Number of channels of the input ``phases``. Files that are ``whole`` do not have it."""
        return (1 + self.image_channels) * self.stem**2 + 2 * self.noise_map

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, path: object) -> GraphInfo:
        """Read what :meth:`to_json` wrote into the file ``path``; WeightsError for other text."""
        try:
            values = {"noise_map": False} | json.loads(text or "")
            known = {field.name: values[field.name] for field in fields(cls)}
        except (ValueError, TypeError, KeyError):
            raise WeightsError(
                f"{path} was not written by `dreamif export`: its metadata do not describe a "
                "Dream-IF network"
            ) from None
        if known["format"] != GRAPH_FORMAT:
            raise WeightsError(
                f"{path} has format {known['format']!r}, expected {GRAPH_FORMAT!r}: export it again"
            )
        return cls(**known)

    def check_usable(self, variant: str, path: object) -> None:
        """WeightsError if the file ``path`` cannot serve an engine of this variant as weights."""
        if self.whole:
            raise WeightsError(
                f"{path} was exported with --whole, for programs of your own: give the node and "
                "`dreamif fuse` a file that was exported without --whole"
            )
        if self.variant != variant:
            raise WeightsError(
                f"{path} holds weights of variant {self.variant!r}, not of {variant!r}"
            )
