"""Engines with random weights, and metrics of what they fuse."""

import numpy as np
import torch

from dreamif_model.engine import FusionEngine
from dreamif_model.metrics import evaluate
from dreamif_model.network import make_network
from dreamif_model.network.blocks import TransposedAttention
from dreamif_model.variants import AVERAGE, network_config

LUMA = np.array((0.299, 0.587, 0.114))


def network(variant, query_gain=1):
    """A network with random weights, the same at every call.

    query_gain: times what fresh queries and keys have; 10 is what training makes of them.
    """
    if variant == AVERAGE:
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        made = make_network(network_config(variant)).eval()
    for module in made.modules():
        if isinstance(module, TransposedAttention):
            module.qkv_depthwise.weight.data *= query_gain
    return made


def engine(variant, device="cpu", precision="fp32", query_gain=1, backend="torch"):
    """An engine with random weights."""
    of = network(variant, query_gain)
    return FusionEngine(variant, device, None, precision, of, backend)


def scores(fused, visible, infrared):
    return evaluate(fused @ LUMA, infrared.astype(float), visible @ LUMA)
