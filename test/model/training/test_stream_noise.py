"""Noise as a stream's memory leaves it: strong where something moves, and told to the network."""

import numpy as np
import pytest
import torch

from dreamif_model.training.stream_noise import (
    MAX_MOVING_SHARE,
    SIGMAS,
    UNTOLD_SHARE,
    stream_noise,
)

GRAY = torch.full((1, 192, 256), 0.5)
MANY = range(60)


def drawn(seed, image=GRAY):
    return stream_noise(image, torch.Generator().manual_seed(seed))


def deviation(noisy):
    """σ by block (48, 64) in gray levels, over 3×3 blocks."""
    power = torch.nn.functional.avg_pool2d((255 * (noisy - GRAY)).square(), 4)
    return torch.nn.functional.avg_pool2d(power, 3, 1, 1, count_include_pad=False).sqrt()[0]


def test_the_same_seed_gives_the_same():
    for one, other in zip(drawn(3), drawn(3), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(drawn(3)[0], drawn(4)[0])


def test_what_is_told_is_the_noise_that_is_there():
    told = [(deviation(noisy), 255 * noise[0]) for noisy, noise in map(drawn, MANY) if noise.any()]
    ratios = np.array([float((found / noise).median()) for found, noise in told])
    assert np.median(ratios) == pytest.approx(1, abs=0.04)
    assert ratios.std() == pytest.approx(0.1, abs=0.05)  # the meter errs


def test_sometimes_it_is_not_told():
    untold = [not noise.any() for _, noise in map(drawn, range(400))]
    assert np.mean(untold) == pytest.approx(UNTOLD_SHARE, abs=0.06)


def test_the_noise_is_stronger_where_something_moves():
    uneven = []
    for noisy, noise in map(drawn, MANY):
        if noise.any():
            moving = noise[0] > 0.9 * noise.max()
            share = float(moving.float().mean())
            uneven.append(0 < share <= MAX_MOVING_SHARE + 0.05)
            found = deviation(noisy)
            if uneven[-1] and share > 0.1 and noise.min() < 0.5 * noise.max():
                assert found[moving].mean() > 1.5 * found[~moving].mean()
    assert 0.5 < np.mean(uneven) < 0.9


def test_levels_are_within_their_bounds():
    strongest = [float(255 * noise.max()) for _, noise in map(drawn, MANY) if noise.any()]
    assert max(strongest) < 1.4 * SIGMAS[1]
    assert min(strongest) < 2 * SIGMAS[0]
    assert max(strongest) > 0.6 * SIGMAS[1]


def test_noise_that_is_clipped_at_black_is_told_as_weaker():
    for seed in MANY:
        gray, black = drawn(seed)[1], drawn(seed, torch.zeros_like(GRAY))[1]
        assert (black <= gray).all()
    noisy, _ = drawn(1, torch.zeros(1, 64, 64))
    assert noisy.min() == 0
