import math

import numpy as np
import pytest
import torch

from dreamif_model import metrics
from dreamif_model.network import NetworkOutput
from dreamif_model.training import losses
from dreamif_model.training.distillation import distillation_loss
from dreamif_model.training.train_config import DEFAULT_LOSS_WEIGHTS


def image(rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def flat(value, channels=1):
    return torch.full((1, channels, 8, 8), float(value))


def ramp(step):
    """Horizontal ramp that rises by ``step`` per pixel."""
    return (torch.arange(8.0) * step).expand(1, 1, 8, 8)


def strength(image):
    """Mean Sobel strength; a unit step gives 1."""
    return losses.sobel(image).square().sum(1).sqrt().mean().item()


def waves(seed, side=64):
    """A smooth random texture that is black at its borders, in [0, 1]; zero padding fits it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    texture = sum(
        np.sin(2 * np.pi * (fx * x + fy * y) + phase)
        for fx, fy, phase in zip(
            rng.uniform(-5, 5, 6), rng.uniform(-5, 5, 6), rng.uniform(0, 6, 6), strict=True
        )
    )
    window = np.sin(np.pi * x) ** 2 * np.sin(np.pi * y) ** 2
    return torch.tensor((texture / 12 + 0.5) * window, dtype=torch.float32)[None, None]


def test_pixel_loss():
    """Infrared counts where it is the brighter one: half, or more by its salience."""
    infrared, visible = image([[0.2, 0.8, 0.8]]), image([[0.6, 0.4, 0.4]])
    sources = infrared, visible, image([[1.0, 1.0, 0.0]])
    assert losses.pixel_loss(image([[0.6, 0.8, 0.6]]), *sources).item() == pytest.approx(0)
    assert losses.pixel_loss(image([[0.5, 0.5, 0.5]]), *sources).item() == pytest.approx(0.5 / 3)


def test_sobel_of_a_ramp():
    gradient = losses.sobel(ramp(0.1))
    assert gradient[0, 0, :, 1:-1].numpy() == pytest.approx(0.2)  # two pixels, of [-1 0 1]
    assert gradient[0, 0, :, 0].numpy() == pytest.approx(0.1)  # replicated border
    assert gradient[0, 1].numpy() == pytest.approx(0, abs=1e-6)
    down = losses.sobel(ramp(0.1).transpose(2, 3))
    assert down[0, 1, 1:-1].numpy() == pytest.approx(0.2)


def test_gradient_loss_takes_the_steeper_source_with_its_sign():
    steep, shallow = ramp(-0.1) + 0.9, ramp(0.05)
    assert losses.gradient_loss(steep - 0.1, steep, shallow).item() == pytest.approx(0, abs=1e-6)
    assert losses.gradient_loss(steep, shallow, steep).item() == pytest.approx(0, abs=1e-6)
    # The mirrored ramp is as steep the wrong way: off by 0.4 (0.2 at 2 of 8 columns), half the
    # channels.
    wrong = losses.gradient_loss(ramp(0.1), steep, shallow)
    assert wrong.item() == pytest.approx((0.4 * 6 + 0.2 * 2) / 8 / 2, rel=1e-4)


def test_gradients_of_one_sign_are_joined_and_of_two_signs_not():
    """0.1 and half of 0.05 for each pixel; against a falling ramp the steeper one alone."""
    for loss in (losses.gradient_loss, losses.detail_loss):
        assert loss(ramp(0.125), ramp(0.1), ramp(0.05)).item() == pytest.approx(0, abs=1e-6)
        assert loss(ramp(0.1), ramp(0.1), ramp(-0.05) + 0.9).item() == pytest.approx(0, abs=1e-6)


def test_detail_loss_sees_a_checkerboard_that_sobel_does_not():
    board = (torch.arange(8) % 2).float().expand(1, 1, 8, 8)
    smooth = torch.full_like(board, 0.5)
    # Sobel's operator sees it at the border only, where it repeats pixels.
    assert losses.sobel(board)[..., 1:-1].abs().max().item() == 0
    # 1.5 · 1 along the rows, where neighbours differ by 1 in both sources; nothing down the columns
    assert losses.detail_loss(smooth, board, board).item() == pytest.approx(1.5 / 2)


def test_edge_loss_at_its_optimum_is_what_the_sigmoids_leave():
    best = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
    texture = waves(0)
    loss = losses.edge_loss(texture, texture, texture).item()
    assert loss == pytest.approx(2 * strength(texture) * (1 - best), rel=1e-2)


def test_edge_loss_of_a_ramp_half_as_steep():
    """Ratio ½ and the same angle: half of the strength is kept."""
    kept = 0.9994 * 0.5 * 0.9879 / (1 + math.exp(-4.4))
    loss = losses.edge_loss(ramp(0.05), ramp(0.1), ramp(0.1))
    assert loss.item() == pytest.approx(2 * strength(ramp(0.1)) * (1 - kept), rel=1e-2)


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_edge_loss_is_the_metric(seed):
    infrared, visible = waves(seed), waves(seed + 1)
    for fused in (torch.maximum(infrared, visible), (infrared + visible) / 2):
        gray = [(255 * each[0, 0]).numpy() for each in (fused, infrared, visible)]
        loss = losses.edge_loss(fused, infrared, visible).item()
        share = loss / (strength(infrared) + strength(visible))
        assert share == pytest.approx(1 - metrics.qabf(*gray), abs=0.02)


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_information_loss_is_the_metric(seed):
    infrared, visible = waves(seed, 128), waves(seed + 1, 128)
    black = torch.zeros_like(infrared)
    whole = losses.information_loss(black, infrared, black).item()
    for fused in (infrared, (infrared + visible) / 2, black):
        vif = metrics.viff(*((255 * each[0, 0]).numpy() for each in (fused, infrared, infrared)))
        loss = losses.information_loss(fused, infrared, black).item()
        assert 1 - loss / whole == pytest.approx(vif / 2, abs=0.03)


def test_information_loss_takes_the_scales_that_fit():
    for side in (8, 20, 40):
        loss = losses.information_loss(*torch.rand(3, 1, 1, side, side))
        assert loss.isfinite()
        assert (loss > 0) == (side >= 17)


def test_a_batch_in_halves_has_the_same_loss():
    """So that processes that share a batch train as one would."""
    batch = torch.rand(3, 4, 1, 48, 48)
    for loss in (
        losses.edge_loss,
        losses.information_loss,
        losses.ssim_loss,
        losses.gradient_loss,
        losses.detail_loss,
        losses.cell_loss,
    ):
        halves = [loss(*batch[:, half]) for half in (slice(2), slice(2, 4))]
        assert torch.stack(halves).mean().item() == pytest.approx(loss(*batch).item(), rel=1e-5)


def test_ssim_loss():
    texture = waves(0)
    assert losses.ssim_loss(texture, texture, texture).item() == pytest.approx(0, abs=1e-5)
    # Flat images: only the means count.
    dark, bright = flat(0.2).double(), flat(0.6).double()
    expected = 1 - (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert losses.ssim_loss(dark, bright, bright).item() == pytest.approx(expected, rel=1e-6)
    assert losses.ssim_loss(dark, dark, bright).item() == pytest.approx(expected / 2, rel=1e-6)


def test_color_loss():
    red = flat(0, 3)
    red[:, 0] = 1
    gray = flat(0.5, 3)
    assert losses.color_loss(red, red) == 0
    assert losses.color_loss(gray, flat(0.1, 3)).item() == pytest.approx(0, abs=1e-6)
    cb, cr = -0.299 / 1.772, 0.701 / 1.402
    assert losses.color_loss(red, gray).item() == pytest.approx((abs(cb) + abs(cr)) / 2, rel=1e-4)
    assert losses.color_loss(flat(0.3), flat(0.9)) == 0


def test_dominance_loss():
    level = torch.cat((flat(0.3), flat(0.7)), dim=1)
    other = torch.cat((flat(0.9), flat(0.7)), dim=1)
    assert losses.dominance_loss([level]).item() == pytest.approx(0, abs=1e-6)
    # The mean of levels, whatever their sizes.
    assert losses.dominance_loss([level, other[..., :2, :2]]).item() == pytest.approx(0.3)
    assert losses.dominance_loss([]) == 0


def test_restoration_loss():
    infrared, visible = flat(0.2), flat(0.6)
    assert losses.restoration_loss(torch.cat((infrared, visible)), infrared, visible) == 0
    swapped = losses.restoration_loss(torch.cat((visible, infrared)), infrared, visible)
    assert swapped.item() == pytest.approx(0.4)
    assert losses.restoration_loss(None, infrared, visible) == 0


def test_cell_loss_of_a_pattern_of_cells():
    """Steps between cells alone, one way: 0, 0, 0 and 4 times their mean, so 3 / 2."""
    cells = torch.rand(1, 1, 1, 8).repeat_interleave(4, dim=3).expand(2, 1, 32, 32)
    across = (torch.arange(32.0) * 0.1).expand(2, 1, 32, 32)
    sources = across, across.transpose(2, 3)
    found = losses.cell_loss(cells, *sources).item()
    assert found == pytest.approx(1.5, rel=0.1)  # but for the floor under the means
    turned = losses.cell_loss(cells.transpose(2, 3), sources[1], sources[0])
    assert turned.item() == pytest.approx(found, rel=1e-6)
    assert losses.cell_loss(cells.roll(2, 3), *sources).item() == pytest.approx(1.5, rel=0.1)


def test_cell_loss_of_images_without_a_pattern():
    noise = torch.rand(8, 1, 128, 128)
    assert losses.cell_loss(flat(0.3), ramp(0.1), ramp(0.1)) == pytest.approx(0, abs=1e-9)
    assert losses.cell_loss(noise, noise, flat(0.3).new_zeros(noise.shape)) < 1e-9  # its own source
    assert losses.cell_loss(noise, noise.flip(3), noise.flip(2)) < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
def test_total_loss_is_the_weighted_sum(channels):
    torch.manual_seed(0)
    fused, infrared, visible = torch.rand(3, 2, channels, 32, 32)
    restored = torch.rand(4, channels, 32, 32)
    output = NetworkOutput(fused, [torch.rand(2, 2, 4, 4)], restored)
    weights = {name: 0.5 + i for i, name in enumerate(DEFAULT_LOSS_WEIGHTS)}
    salience = torch.rand(2, 1, 32, 32)
    total, parts = losses.total_loss(output, infrared, visible, salience, weights)
    assert parts.keys() == weights.keys()
    assert all(value > 0 for name, value in parts.items() if name != "color")
    assert (parts["color"] > 0) == (channels == 3)
    expected = sum(weights[name] * value for name, value in parts.items())
    assert total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_gradients_are_finite_on_flat_images(value):
    fused = flat(value).requires_grad_()
    output = NetworkOutput(fused, [], None)
    total, _ = losses.total_loss(output, *[flat(value)] * 3, DEFAULT_LOSS_WEIGHTS)
    total.backward()
    assert total.isfinite()
    assert fused.grad.isfinite().all()


def output(fused):
    return NetworkOutput(fused, [], None)


def test_distillation_compares_luma():
    green = torch.cat((flat(0), flat(1), flat(0)), dim=1)
    loss = distillation_loss(output(flat(0.2)), output(green))
    assert loss.item() == pytest.approx(0.587 - 0.2, rel=1e-4)


def test_distillation_compares_gradients():
    """A ramp of 0.01 a pixel against a flat image: one of the two derivatives differs by 0.02."""
    ramp = 0.01 * torch.arange(8.0).expand(1, 1, 8, 8)
    mean = 0.01 * 3.5
    expected = (ramp - mean).abs().mean() + losses.sobel(ramp).abs().mean()
    assert losses.sobel(ramp)[..., 1:-1].amax() == pytest.approx(0.02, rel=1e-4)
    loss = distillation_loss(output(ramp), output(torch.full_like(ramp, mean)))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
