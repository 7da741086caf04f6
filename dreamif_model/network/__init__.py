"""The network: :class:`DreamIF`, what it gives, and what it is built of."""

from dreamif_model.network.dreamif import DreamIF, NetworkOutput

__all__ = ["DreamIF", "NetworkOutput"]
