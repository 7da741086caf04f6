"""Small networks that tests of several modules build."""

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
