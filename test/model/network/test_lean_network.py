"""The lean network, part by part against plain operations, and as an engine runs it."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import PAPER, dead_parameters

from dreamif_model.network import DreamIF, LeanDreamIF, make_network
from dreamif_model.network.frame import FrameNetwork
from dreamif_model.network.lean import (
    BilinearPhases,
    BuiltConvolution,
    CandidateFilters,
    CrossMixing,
    PairedConvolution,
    RelativeDominance,
    RelativeEnhancement,
    RestorationHead,
    fold,
)
from dreamif_model.tensor_images import luma
from dreamif_model.variants import SWITCHES, LeanConfig, network_config

NANO = network_config("nano")
FINE = LeanConfig(stem=2, channels=(32, 32, 64, 64, 64))  # of smaller cells, a level more
SLIM = LeanConfig(stem=2, channels=(4, 6, 8), head_channels=5, candidate_filters=2, prompt_count=3)
VARIANTS = pytest.mark.parametrize("config", [NANO, FINE], ids=["nano", "fine"])


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(0)
        yield


def disturbed(module):
    """The module with no parameter where its initialisation put it: some begin at zero."""
    for parameter in module.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return module.eval()


def build(config):
    return disturbed(make_network(config))


def images(config, batch=1):
    """Infrared and visible, wider than high."""
    multiple = config.size_multiple
    return torch.rand(2, batch, config.image_channels, multiple, 2 * multiple)


def parameter_names(config):
    return {name for name, _ in make_network(config).named_parameters()}


def tensors(output):
    return [output.fused, output.restored, *output.dominance]


def built(network):
    return [m for m in network.modules() if isinstance(m, BuiltConvolution)]


def assert_close(found, expected, atol=1e-5):
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


# The whole network


@VARIANTS
@pytest.mark.parametrize("shape", [(1, 2), (3, 1), (2, 2)])
def test_shapes(config, shape):
    height, width = (count * config.size_multiple for count in shape)
    output = build(config)(*torch.rand(2, 2, 1, height, width))
    assert output.fused.shape == (2, 1, height, width)
    assert output.restored.shape == (4, 1, height, width)
    cells = height // config.stem, width // config.stem
    assert [tuple(maps.shape) for maps in output.dominance] == [
        (2, 2, cells[0] >> level, cells[1] >> level)
        for level in reversed(range(len(config.channels)))
    ]


@pytest.mark.parametrize(("config", "multiple"), [(NANO, 32), (FINE, 32), (SLIM, 8)])
def test_size_multiple_is_the_smallest_that_runs(config, multiple):
    assert config.size_multiple == multiple
    network = build(config)
    network(*torch.rand(2, 1, 1, multiple, multiple))
    for side in (multiple // 2, multiple + multiple // 2):
        with pytest.raises(RuntimeError):
            network(*torch.rand(2, 1, 1, side, multiple))


def test_no_item_of_a_batch_touches_another():
    network = build(NANO)
    infrared, visible = images(NANO, batch=2)
    both, second = network(infrared, visible), network(infrared[1:], visible[1:])
    assert_close(both.fused[1:], second.fused)
    assert_close(both.restored[1::2], second.restored)
    for maps, expected in zip(both.dominance, second.dominance, strict=True):
        assert_close(maps[1:], expected)


@VARIANTS
def test_no_parameter_is_dead(config):
    infrared, visible = images(config)
    noise = torch.rand(1, 2, *(side // config.stem for side in infrared.shape[2:]))
    assert dead_parameters(make_network(config).train(), infrared, visible, noise) == []


@VARIANTS
def test_weights_files_hold_parameters_alone(config):
    """What is computed from the sizes is not stored."""
    assert make_network(config).state_dict().keys() == parameter_names(config)


def test_output_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        output = build(NANO)(*images(NANO)).float()
    assert {tensor.dtype for tensor in tensors(output)} == {torch.float32}


@pytest.mark.parametrize("config", [NANO, FINE, SLIM], ids=["nano", "fine", "slim"])
@pytest.mark.parametrize("without", [(), *((name,) for name in SWITCHES), SWITCHES])
def test_folding_changes_nothing(config, without):
    config = replace(config, **dict.fromkeys(without, False))
    network = build(config)
    pair = images(config)
    expected = tensors(network(*pair))
    assert built(network)
    fold(network)
    assert not built(network)
    for found, wanted in zip(tensors(network(*pair)), expected, strict=True):
        assert_close(found, wanted, 1e-6)


def test_swapped_modalities_swap_all_that_is_theirs():
    """One network serves both: but for the bias of dominance, and the head, nothing is lopsided."""
    network = build(FINE)
    for enhance in network.enhance:
        enhance.dominance.score.bias.zero_()
    network.output.weight.zero_()
    infrared, visible = images(FINE)
    one, other = network(infrared, visible), network(visible, infrared)
    assert (one.restored - other.restored).abs().max() > 0.1
    assert_close(other.restored, one.restored.flip(0))
    for swapped, maps in zip(other.dominance, one.dominance, strict=True):
        assert_close(swapped, maps.flip(1))
    assert_close(other.fused, one.fused)


# Relative dominance, and what it guides


@VARIANTS
def test_dominances_of_both_modalities_sum_to_one_and_vary(config):
    for maps in build(config)(*images(config)).dominance:
        assert_close(maps.sum(1), torch.ones_like(maps[:, 0]), 1e-6)
        assert 0 < maps.min() < maps.max() < 1
        assert maps.std() > 1e-3


def test_dominance_is_scored_by_the_difference_of_the_features():
    dominance = disturbed(RelativeDominance(4))
    infrared, visible = torch.rand(2, 1, 4, 3, 5)
    logits = dominance(torch.cat((infrared, visible), dim=1))
    difference = (infrared - visible) * dominance.score.weight[0]
    expected = difference.sum(1) + dominance.score.bias
    assert_close(logits[:, 0], expected)
    assert_close(logits[:, 1], -expected)


@pytest.mark.parametrize("kind", [(1, 1), (3, 1), (2, 2)], ids=["1x1", "3x3", "halving"])
def test_paired_convolutions_are_one_convolution_of_each_modality(kind):
    paired = PairedConvolution(3, 5, *kind)
    pair = torch.rand(2, 1, 3, 6, 8)
    kernel = paired.kernel
    expected = [F.conv2d(x, kernel.weight, kernel.bias, kind[1], kind[0] // 3) for x in pair]
    assert_close(paired(torch.cat(tuple(pair), dim=1)), torch.cat(expected, dim=1))


def test_cross_mixing_adds_the_other_modality():
    mixing = CrossMixing(4, cross=True)
    infrared, visible = torch.rand(2, 1, 4, 3, 5)
    mixed = mixing(torch.cat((infrared, visible), dim=1))
    expected = (
        mixing.own(infrared) + mixing.other(visible),
        mixing.own(visible) + mixing.other(infrared),
    )
    assert_close(mixed, torch.cat(expected, dim=1))


def test_without_cross_enhancement_mixing_keeps_modalities_apart():
    mixing = CrossMixing(4, cross=False)
    assert mixing.other is None
    features = torch.rand(1, 8, 3, 5)
    changed = torch.cat((features[:, :4], torch.rand(1, 4, 3, 5)), dim=1)
    assert torch.equal(mixing(changed)[:, :4], mixing(features)[:, :4])
    assert (mixing(changed)[:, 4:] - mixing(features)[:, 4:]).abs().max() > 0.1


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("without", [(), *((name,) for name in SWITCHES), SWITCHES])
def test_enhancement_is_the_formula(level, without):
    """The paper's formulas, for one camera after the other."""
    config = replace(SLIM, **dict.fromkeys(without, False))
    enhance = disturbed(RelativeEnhancement(config, level))
    pair = torch.rand(2, 2, config.channels[level], 4, 6)  # modality, item, channel, row, column
    enhanced, logits = enhance(torch.cat(tuple(pair), dim=1))

    if "relative_dominance" in without:
        assert logits is None
        dominances = [torch.full((2, 1, 4, 6), 0.5)] * 2
    else:
        score = enhance.dominance.score
        share = (score(pair[0]) - score(pair[1]) + score.bias).sigmoid()
        dominances = [share, 1 - share]
        assert_close(logits.sigmoid(), torch.cat(dominances, dim=1))
    guided = [features * share for features, share in zip(pair, dominances, strict=True)]
    if "self_enhancement" not in without:
        guided = [
            g + prompt(enhance.prompts, features, share)
            for g, features, share in zip(guided, pair, dominances, strict=True)
        ]
    own, last = enhance.own.kernel, enhance.last.kernel
    expected = []
    for index, features in enumerate(pair):
        mixed = F.conv2d(features, own.weight, own.bias, padding=own.weight.shape[2] // 2)
        mixed = mixed + enhance.cross.own(guided[index])
        if "cross_enhancement" not in without:
            mixed = mixed + enhance.cross.other(guided[1 - index])
        expected.append(features + F.conv2d(mixed.relu(), last.weight, last.bias, padding=1))
    assert_close(enhanced, torch.cat(expected, dim=1))


def prompt(prompts, features, share):
    """(B, C, 1, 1): the mixture that the means of one modality choose."""
    means = torch.cat((features.mean((2, 3)), share.mean((2, 3))), dim=1)
    weights = F.linear(means, prompts.select.weight, prompts.select.bias).softmax(1)
    return (weights[..., None] * prompts.prompts).sum(1)[..., None, None]


# Ablation


@VARIANTS
class TestAblation:
    @pytest.mark.parametrize(
        ("switch", "part"),
        [
            ("relative_dominance", ".dominance."),
            ("cross_enhancement", ".cross.other."),
            ("self_enhancement", ".prompts."),
        ],
    )
    def test_what_is_off_is_not_built(self, config, switch, part):
        without = replace(config, **{switch: False})
        gone = parameter_names(config) - parameter_names(without)
        assert gone == {name for name in parameter_names(config) if part in name}
        assert len(gone) >= len(config.channels)
        output = build(without)(*images(without))
        assert output.fused.isfinite().all()
        assert bool(output.dominance) == (switch != "relative_dominance")

    def test_without_dominance_both_restored_images_count_half(self, config):
        network = build(replace(config, relative_dominance=False))
        network.output.weight.zero_()
        network.output.bias.zero_()
        output = network(*images(config))
        assert_close(output.fused, output.restored.mean(0, keepdim=True))

    @pytest.mark.parametrize("cross", [True, False])
    def test_cross_enhancement_is_the_way_between_the_modalities(self, config, cross):
        """Where dominance, which compares both, is off."""
        config = replace(config, relative_dominance=False, cross_enhancement=cross)
        network = build(config)
        infrared, visible = images(config)
        restored = network(infrared, visible).restored
        changed = network(infrared, torch.rand_like(visible)).restored
        assert (changed[1] - restored[1]).abs().max() > 0.01
        assert torch.equal(changed[0], restored[0]) == (not cross)


# Restored sources, and the fused image


def phases(pair, stem):
    """Infrared and visible, (1, 1, H, W) each, as the network takes them."""
    return F.pixel_unshuffle(torch.cat(tuple(pair), dim=1), stem)


@pytest.mark.parametrize("stem", [4, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_candidates_filter_the_image_alike_at_every_pixel(stem, count):
    candidates = disturbed(CandidateFilters(count, stem))
    filters = candidates.filters + (1 - candidates.filters.sum((1, 2), keepdim=True)) / 81
    pair = torch.rand(2, 1, 1, 32, 48)
    changes = candidates(phases(pair, stem)).unflatten(1, (2, count, stem**2))[0]
    found = F.pixel_shuffle(changes, stem)  # (2, count, 1, 32, 48)
    assert found.abs().max() > 0.1
    inner = (..., slice(4, -4), slice(4, -4))
    for image, filtered in zip(pair, found, strict=True):
        expected = F.conv2d(image, filters[:, None], padding=4) - image
        assert_close(filtered[:, 0][inner], expected[0][inner])


@pytest.mark.parametrize("stem", [4, 2])
def test_candidates_keep_a_constant_image(stem):
    candidates = disturbed(CandidateFilters(3, stem))
    constant = torch.tensor([0.3, -0.4]).reshape(2, 1, 1, 1, 1).expand(2, 1, 1, 32, 48)
    changes = F.pixel_shuffle(candidates(phases(constant, stem)), stem)
    assert_close(changes[..., 4:-4, 4:-4], torch.zeros(1, 6, 24, 40), 1e-6)


@pytest.mark.parametrize("stem", [4, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_candidates_begin_as_means_of_windows(stem, count):
    pair = torch.rand(2, 1, 1, 24, 32)
    changes = CandidateFilters(count, stem)(phases(pair, stem))
    found = F.pixel_shuffle(changes, stem)[0].unflatten(0, (2, count))
    for index, side in enumerate((3, 5, 9)[-count:]):
        expected = F.avg_pool2d(pair[:, 0, 0], side, 1, side // 2) - pair[:, 0, 0]
        assert_close(found[:, index, 4:-4, 4:-4], expected[:, 4:-4, 4:-4])


@pytest.mark.parametrize(("bias", "share"), [(-3.0, 0.0), (3.0, 1.0), (-1.5, 0.25), (-99.0, 0.0)])
def test_gates_say_how_much_of_each_filter_is_taken(bias, share):
    head = RestorationHead(channels=3, stem=2, filters=2)
    head.gate.kernel.weight.zero_()
    head.gate.kernel.bias.fill_(bias)
    head.detail.kernel.bias.fill_(0.125)
    given = torch.rand(1, 8, 6, 8)
    changes = head.candidates(given).unflatten(1, (2, 2, 4)).sum(2).flatten(1, 2)
    restored = head(given, torch.rand(1, 6, 6, 8))
    assert_close(restored, given + 0.125 + share * changes)


@pytest.mark.parametrize("stem", [4, 2])
@pytest.mark.parametrize("shape", [(5, 7), (8, 3), (1, 1)])
def test_bilinear_phases_are_those_of_the_enlarged_image(stem, shape):
    image = torch.rand(2, 1, *shape)
    enlarged = F.interpolate(image, scale_factor=stem, mode="bilinear", align_corners=False)
    assert_close(BilinearPhases(stem)(image), F.pixel_unshuffle(enlarged, stem), 1e-6)


@VARIANTS
def test_fused_is_the_weighted_restored_images_plus_a_residual(config):
    network = build(config)
    pair = images(config)
    whole = network(*pair)
    network.output.weight.zero_()
    network.output.bias.zero_()
    result = network(*pair)
    logits = result.dominance[-1][:, :1].logit()
    share = F.interpolate(
        logits, scale_factor=config.stem, mode="bilinear", align_corners=False
    ).sigmoid()
    infrared, visible = result.restored.chunk(2)
    assert_close(result.fused, share * infrared + (1 - share) * visible)
    assert_close(whole.restored, result.restored)
    assert (whole.fused - result.fused).abs().max() > 0.01


# As an engine runs it


@pytest.mark.parametrize(
    "config",
    [NANO, FINE, network_config("small"), PAPER, replace(PAPER, stem=2, source_residual=True)],
    ids=["nano", "fine", "small", "paper", "paper-restored"],
)
def test_a_frame_is_what_the_network_gives_for_its_images(config):
    network = build(config) if isinstance(config, LeanConfig) else make_network(config).eval()
    height, width = config.size_multiple, 2 * config.size_multiple
    channels, stem = config.image_channels, config.stem
    infrared = torch.randint(256, (1, 1, height, width), dtype=torch.uint8)
    visible = torch.randint(256, (1, channels, height, width), dtype=torch.uint8)
    expected = network(infrared.expand_as(visible) / 255, visible / 255)
    frame = FrameNetwork(network)
    phases = F.pixel_unshuffle(torch.cat((infrared, visible), dim=1), stem)
    unknown = torch.zeros(1, 2, *phases.shape[2:], dtype=torch.uint8)
    outputs = frame(torch.cat((phases, unknown), dim=1) if config.noise_map else phases)

    assert {output.dtype for output in outputs} == {torch.float32}
    assert_close(F.pixel_shuffle(outputs[0], stem), 255 * expected.fused.clamp(min=0), 1e-3)
    assert_close(outputs[1], expected.dominance[-1])
    assert len(outputs) == (2 if expected.restored is None else 4)
    if expected.restored is not None:
        gray = torch.cat(luma(expected.restored).chunk(2), dim=1)
        assert_close(F.pixel_shuffle(outputs[3], stem), 255 * gray.clamp(min=0), 1e-3)
        change = (expected.restored[1:] - visible / 255).abs()
        assert change.max() > 0.01
        assert_close(outputs[2], F.avg_pool2d(change, stem).mean(1, keepdim=True))
    assert isinstance(network, DreamIF | LeanDreamIF)
    assert not built(frame)
    assert bool(built(network)) == isinstance(network, LeanDreamIF)  # it is left as it was


@pytest.mark.parametrize("config", [NANO, PAPER], ids=["lean", "paper"])
def test_a_frame_without_dominance_says_one_half(config):
    network = build(replace(config, **dict.fromkeys(SWITCHES, False)))
    pixels = (1 + config.image_channels) * config.stem**2 + 2 * config.noise_map
    given = torch.randint(256, (1, pixels, 8, 16), dtype=torch.uint8)
    assert torch.equal(FrameNetwork(network)(given)[1], torch.full((1, 2, 1, 1), 0.5))


def test_gray_levels_of_a_frame_are_not_below_zero():
    """In the range that rounding expects."""
    network = build(NANO)
    network.output.bias.fill_(-3)
    given = torch.randint(256, (1, 34, 8, 16), dtype=torch.uint8)
    assert FrameNetwork(network)(given)[0].eq(0).all()


def test_a_frame_takes_noise_in_quarters_of_a_gray_level():
    network = build(NANO)
    sources = torch.randint(256, (2, 1, 1, 32, 64), dtype=torch.uint8)
    noise = torch.randint(256, (1, 2, 8, 16), dtype=torch.uint8)
    phases = F.pixel_unshuffle(torch.cat((*sources,), dim=1), 4)
    found = FrameNetwork(network)(torch.cat((phases, noise), dim=1))[0]
    expected = network(*(sources / 255), noise / (4 * 255)).fused
    assert_close(F.pixel_shuffle(found, 4), 255 * expected.clamp(min=0), 1e-3)


def test_noise_of_a_camera_reaches_both_in_the_same_way():
    """With the cameras exchanged, the restored images are too."""
    network = build(NANO)
    for level in network.enhance:  # which prefers one of the cameras
        level.dominance.score.bias.zero_()
    infrared, visible = images(NANO)
    noise = torch.rand(1, 2, 8, 16)
    plain, told = network(infrared, visible), network(infrared, visible, noise)
    exchanged = network(visible, infrared, noise.flip(1))
    assert not torch.allclose(told.restored, plain.restored, atol=1e-3)
    assert_close(exchanged.restored, told.restored.flip(0))
    assert_close(network(infrared, visible, 0 * noise).fused, plain.fused)


def test_training_begins_without_the_noise_but_learns_of_it():
    network = make_network(NANO)
    infrared, visible = images(NANO)
    noise = torch.rand(1, 2, 8, 16)
    with torch.enable_grad():
        told = network(infrared, visible, noise).fused
        told.square().sum().backward()
    assert torch.equal(told, network(infrared, visible).fused)
    assert network.embed_noise.kernel.weight.grad.abs().max() > 0
