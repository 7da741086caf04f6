"""The networks, their parts and their output."""

from dreamif_model.network.dreamif import DreamIF
from dreamif_model.network.lean import LeanDreamIF
from dreamif_model.network.output import NetworkOutput
from dreamif_model.variants import LeanConfig, NetworkConfig

Network = DreamIF | LeanDreamIF

__all__ = ["DreamIF", "LeanDreamIF", "Network", "NetworkOutput", "make_network"]


def make_network(config: NetworkConfig | LeanConfig) -> Network:
    """Build a network with random weights."""
    return LeanDreamIF(config) if isinstance(config, LeanConfig) else DreamIF(config)
