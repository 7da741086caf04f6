from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import PAPER, dead_parameters

from dreamif_model.errors import ConfigError
from dreamif_model.network import DreamIF, make_network
from dreamif_model.network.blocks import ConvolutionBlock, TransformerBlock, TransposedAttention
from dreamif_model.variants import NETWORKS, network_config

COMPACT = NETWORKS["tiny"]  # with a stem and the separable decoder
NO_DOMINANCE = {
    "relative_dominance": False,
    "cross_enhancement": False,
    "self_enhancement": False,
}


def build(config):
    torch.manual_seed(0)
    return DreamIF(config).eval()


def parameter_names(config):
    return {name for name, _ in DreamIF(config).named_parameters()}


def images(config, height, width, batch=1):
    torch.manual_seed(1)
    return torch.rand(2, batch, config.image_channels, height, width)


@pytest.mark.parametrize(
    ("config", "channels"), [(COMPACT, 1), (PAPER, 3)], ids=["compact", "paper"]
)
def test_shapes(config, channels):
    height, width = 2 * config.size_multiple, 3 * config.size_multiple
    infrared, visible = images(config, height, width, batch=2)
    with torch.no_grad():
        output = build(config)(infrared, visible)
    assert output.fused.shape == (2, channels, height, width)
    stem = config.stem
    assert [tuple(maps.shape) for maps in output.dominance] == [
        (2, 2, height // stem // shrink, width // stem // shrink) for shrink in (4, 2, 1)
    ]
    if config.source_residual:
        assert output.restored.shape == (4, channels, height, width)
    else:
        assert output.restored is None


@pytest.mark.parametrize(("config", "multiple"), [(COMPACT, 16), (PAPER, 8)])
def test_size_multiple_is_the_smallest_that_runs(config, multiple):
    assert config.size_multiple == multiple
    network = build(config)
    with torch.no_grad():
        network(*images(config, multiple, multiple))
        with pytest.raises(RuntimeError):
            network(*images(config, multiple // 2, multiple))


def test_variants():
    base = NETWORKS["base"]
    assert (base.channels, base.blocks, base.heads) == (48, (4, 6, 6, 8), (1, 2, 4, 8))
    switches = (base.luma, base.skip_connections, base.source_residual, base.separable)
    assert switches == (False, False, False, False)
    with pytest.raises(ConfigError, match=r"unknown network variant 'huge'.*base.*nano"):
        network_config("huge")


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_the_textbook_formula(heads):
    torch.manual_seed(0)
    attention = TransposedAttention(8, heads)
    with torch.no_grad():
        attention.temperature.copy_(torch.rand(heads, 1, 1) + 0.5)
    x = torch.randn(2, 8, 5, 6)

    grouped = attention.qkv_depthwise(attention.qkv(x)).reshape(2, heads, 3, 8 // heads, 30)
    query, key, value = grouped.unbind(2)
    scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-2, -1)
    mixed = (scores * attention.temperature).softmax(-1) @ value
    expected = attention.project(mixed.reshape(2, 8, 5, 6))

    torch.testing.assert_close(attention(x), expected, atol=1e-5, rtol=0)


def test_attention_of_nothing_is_finite():
    attention = TransposedAttention(4, 1)
    x = torch.zeros(1, 4, 3, 3, requires_grad=True)
    out = attention(x)
    assert out.eq(0).all()
    out.sum().backward()
    assert x.grad.isfinite().all()


def test_both_modalities_share_the_network_item_by_item():
    """No sample of a batch touches another: the joint batch of both modalities is safe."""
    config = COMPACT
    network = build(config)
    infrared, visible = images(config, 16, 32, batch=2)
    with torch.no_grad():
        both, second = network(infrared, visible), network(infrared[1:], visible[1:])
    torch.testing.assert_close(both.fused[1:], second.fused, atol=1e-5, rtol=0)
    torch.testing.assert_close(both.dominance[0][1:], second.dominance[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", [COMPACT, PAPER], ids=["compact", "paper"])
class TestAblation:
    def test_without_dominance_nothing_of_enhancement_is_built(self, config):
        without = replace(config, **NO_DOMINANCE)
        assert any(".enhance." in name for name in parameter_names(config))
        assert not any(".enhance." in name for name in parameter_names(without))
        with torch.no_grad():
            output = build(without)(*images(without, 16, 16))
        assert output.dominance == []
        assert output.fused.isfinite().all()

    @pytest.mark.parametrize(
        ("switch", "part"), [("cross_enhancement", ".cross."), ("self_enhancement", ".self_.")]
    )
    def test_what_is_off_is_not_built(self, config, switch, part):
        without = replace(config, **{switch: False})
        assert any(part in name for name in parameter_names(config))
        assert not any(part in name for name in parameter_names(without))
        with torch.no_grad():
            assert build(without)(*images(without, 16, 16)).fused.isfinite().all()

    def test_dominance_alone_leaves_the_features(self, config):
        alone = replace(config, cross_enhancement=False, self_enhancement=False)
        enhance = build(alone).decoder[0].enhance
        features = torch.rand(2, config.channels * 4, 2, 2)
        enhanced, dominance = enhance(features)
        assert torch.equal(enhanced, features)
        assert dominance.shape == (1, 2, 2, 2)

    @pytest.mark.parametrize("switch", ["cross_enhancement", "self_enhancement"])
    def test_enhancement_without_dominance_is_guided_by_one_half(self, config, switch):
        network = build(replace(config, **(NO_DOMINANCE | {switch: True})))
        enhance = network.decoder[0].enhance
        assert enhance.dominance is None
        features = torch.rand(2, config.channels << 2, 8, 8)
        half = torch.full((1, 1, 8, 8), 0.5)
        with torch.no_grad():
            enhanced, dominance = enhance(features)
            one, other = features.chunk(2)
            expected = [
                one + enhance.cross(one, other, half)
                if switch == "cross_enhancement"
                else one + enhance.self_(one, half)
                for one, other in ((one, other), (other, one))
            ]
            expected = enhance.reduce(torch.cat(expected))
        assert dominance is None
        torch.testing.assert_close(enhanced, expected)
        assert network(*images(config, 32, 32)).dominance == []


def test_dominance_lies_between_0_and_1_and_varies():
    config = COMPACT
    with torch.no_grad():
        output = build(config)(*images(config, 32, 32))
    for maps in output.dominance:
        assert maps.min() > 0
        assert maps.max() < 1
        assert maps.std() > 0


def test_infrared_is_the_first_dominance_and_the_first_restored():
    config = PAPER
    enhance = build(config).decoder[2].enhance
    infrared, visible = torch.rand(2, 1, config.channels, 4, 4)
    kernel = torch.zeros_like(enhance.dominance.conv.weight)  # each output copies one input
    kernel[:, :, 1, 1] = torch.eye(2 * config.channels)
    with torch.no_grad():
        enhance.dominance.conv.weight.copy_(kernel)
        _, dominance = enhance(torch.cat((infrared, visible)))
    expected = torch.stack((infrared.mean(1), visible.mean(1)), dim=1).sigmoid()
    torch.testing.assert_close(dominance, expected)


def test_cross_enhancement_is_weighted_by_the_other_dominance():
    cross = build(PAPER).decoder[2].enhance.cross
    own, other = torch.rand(2, 1, PAPER.channels, 4, 4)
    dominance = torch.rand(1, 1, 4, 4)
    with torch.no_grad():
        expected = cross.own(own) + cross.other(other) * dominance
        torch.testing.assert_close(cross(own, other, dominance), expected)
        assert torch.equal(cross(own, other, torch.zeros_like(dominance)), cross.own(own))


def test_each_modality_is_enhanced_by_the_other_ones_dominance():
    channels = PAPER.channels
    enhance = build(replace(PAPER, self_enhancement=False)).decoder[2].enhance
    identity = torch.zeros(channels, channels, 3, 3)
    identity[:, :, 1, 1] = torch.eye(channels)
    infrared, visible = torch.rand(2, 1, channels, 4, 4)
    with torch.no_grad():
        enhance.cross.own.weight.zero_()
        enhance.cross.other.weight.copy_(identity)
        enhance.reduce.weight.copy_(identity)
        enhanced, dominance = enhance(torch.cat((infrared, visible)))
    expected = torch.cat(
        (infrared + visible * dominance[:, 1:], visible + infrared * dominance[:, :1])
    )
    assert (dominance[:, 0] - dominance[:, 1]).abs().max() > 1e-3
    torch.testing.assert_close(enhanced, expected)


class TestSourceResidual:
    config = COMPACT

    def network(self, output=True, restore=True):
        network = build(self.config)
        with torch.no_grad():
            if not output:
                network.output.weight.zero_()
            if not restore:
                network.restore.weight.zero_()
        return network

    def test_fused_is_the_weighted_restored_images_plus_the_output(self):
        sources = images(self.config, 32, 16)
        with torch.no_grad():
            result = self.network(output=False)(*sources)
            whole = self.network()(*sources)
        weights = F.interpolate(
            result.dominance[-1], (32, 16), mode="bilinear", align_corners=False
        )
        restored = torch.cat(result.restored.chunk(2), dim=1)
        expected = (weights * restored).sum(1, keepdim=True) / weights.sum(1, keepdim=True)
        torch.testing.assert_close(result.fused, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(whole.restored, result.restored)
        assert (whole.fused - result.fused).abs().max() > 1e-4

    def test_restored_are_the_sources_where_nothing_is_removed(self):
        infrared, visible = images(self.config, 16, 16)
        with torch.no_grad():
            result = self.network(restore=False)(infrared, visible)
        assert torch.equal(result.restored, torch.cat((infrared, visible)))

    def test_without_dominance_both_count_half(self):
        config = replace(self.config, **NO_DOMINANCE)
        network = build(config)
        with torch.no_grad():
            network.output.weight.zero_()
            network.restore.weight.zero_()
            infrared, visible = images(config, 16, 16)
            fused = network(infrared, visible).fused
        torch.testing.assert_close(fused, (infrared + visible) / 2)


@pytest.mark.parametrize("config", [COMPACT, PAPER], ids=["compact", "paper"])
def test_no_parameter_is_dead(config):
    assert dead_parameters(build(config).train(), *images(config, 32, 32)) == []


def test_convolution_blocks_where_the_variant_has_no_attention():
    config = COMPACT
    network = build(config)
    blocks = (network.encoder[0][0], network.encoder[1][0], network.refinement[0])
    assert all(isinstance(block, ConvolutionBlock) for block in blocks)
    assert isinstance(network.encoder[2][0], TransformerBlock)
    block = blocks[0]
    with torch.no_grad():
        x = torch.rand(1, 16, 8, 8)
        expected = x + block.second(block.first(x).clamp(min=0))
        torch.testing.assert_close(block(x), expected)


def test_output_in_float32():
    config = COMPACT
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = build(config)(*images(config, 32, 32)).float()
    tensors = [output.fused, output.restored, *output.dominance]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


def test_variants_from_nano_to_base_grow():
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in make_network(network_config(name)).parameters())
            for name in ("nano", "tiny", "small", "base")
        ]
    assert counts == sorted(set(counts))


def test_small_runs():
    config = network_config("small")
    side = 2 * config.size_multiple
    with torch.no_grad():
        output = build(config)(*images(config, side, side))
    assert output.fused.shape == (1, 1, side, side)


def test_attention_in_fp16_does_not_overflow():
    """Squared queries summed over 4096 pixels are beyond 65504 here, as in trained networks."""
    torch.manual_seed(0)
    attention = TransposedAttention(8, 2).eval()
    attention.qkv_depthwise.weight.data *= 30
    x = torch.randn(1, 8, 64, 64)
    with torch.no_grad():
        expected = attention(x)
        with torch.autocast("cpu", torch.float16):
            result = attention(x).float()
    torch.testing.assert_close(result, expected, rtol=0.01, atol=0.01 * expected.std().item())
