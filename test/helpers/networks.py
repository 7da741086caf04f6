"""Small networks that tests of several modules build."""

import torch

from dreamif_model.training.losses import total_loss
from dreamif_model.training.train_config import DEFAULT_LOSS_WEIGHTS
from dreamif_model.variants import NetworkConfig

PAPER = NetworkConfig(  # the paper's switches, small
    channels=8,
    blocks=(1, 1, 1, 1),
    heads=(1, 2, 2, 4),
    refinement_blocks=1,
    expansion=1.5,
    prompt_count=2,
    prompt_channels=(4, 4, 4),
    prompt_size=(4, 4, 4),
)


class Mean(torch.nn.Module):
    """A network of somebody else, for two images of any size."""

    def __init__(self):
        super().__init__()
        self.filter = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, infrared, visible):
        return self.filter(infrared / 2 + visible / 2)


def dead_parameters(network, infrared, visible, *noise):
    """The names of the parameters that no loss changes."""
    salience = torch.rand_like(infrared[:, :1])
    with torch.enable_grad():
        output = network(infrared, visible, *noise)
        loss, _ = total_loss(output, infrared, visible, salience, DEFAULT_LOSS_WEIGHTS)
        loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    return [name for name, g in gradients.items() if g is None or not g.abs().sum() > 0]
