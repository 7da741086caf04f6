"""The source of a network: the package, a file of weights, an exported file, or memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dreamif_model.errors import ConfigError, WeightsError
from dreamif_model.model_files.graph_info import GraphInfo
from dreamif_model.variants import WEIGHTS_FOLDER

if TYPE_CHECKING:  # torch takes 2 s and 500 MB: imported only for a torch network
    from dreamif_model.network import Network

EXPORTED = {".onnx": "ONNX", ".xml": "OpenVINO", ".torchscript": "TorchScript"}


@dataclass(frozen=True)
class ModelSource:
    """The network that a backend shall run.

    Attributes:
        variant: name of the variant.
        weights: file of ``dreamif train`` (.safetensors) or ``dreamif export``; None for the
            packaged weights.
        network: a torch network in memory, which takes precedence.
    """

    variant: str
    weights: Path | None = None
    network: Network | None = None

    def graph_file(self, suffixes: tuple[str, ...]) -> Path | None:
        """The exported file to read; None if torch must build the network from weights.

        suffixes: the formats that the backend reads. ConfigError if the weights are an export in
        another format, WeightsError if the file is missing.
        """
        if self.network is not None:
            return None
        if self.weights is None:
            packaged = WEIGHTS_FOLDER / f"{self.variant}.onnx"
            return packaged if ".onnx" in suffixes and packaged.is_file() else None
        suffix = self.weights.suffix.lower()
        if suffix not in EXPORTED:
            return None
        if suffix not in suffixes:
            can = " or ".join(sorted({*suffixes, ".safetensors"}))
            raise ConfigError(
                f"weights {self.weights} are in the format of {EXPORTED[suffix]}, which this "
                f"backend does not read: give {can}, or choose another backend"
            )
        if not self.weights.is_file():
            raise WeightsError(f"no weights at {self.weights}")
        return self.weights

    def torch_network(self) -> tuple[Network, GraphInfo]:
        """The network in torch, with its weights, in eval mode, and its description."""
        network = self.network
        if network is None:
            from dreamif_model.model_files.checkpoints import load_network

            network = load_network(self.variant, self.weights)
        return network, GraphInfo.of(self.variant, network.config)
