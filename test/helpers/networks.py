"""Small networks that tests of several modules build."""

import torch

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
