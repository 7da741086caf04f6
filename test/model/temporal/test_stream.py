"""`FusionPipeline.stream` remembers, `FusionPipeline.fuse` does not."""

import numpy as np
import pytest
from helpers.videos import camera, error, scene

from dreamif_model import ConfigError, FusionPipeline
from dreamif_model.temporal.settings import TemporalConfig

INFRARED, VISIBLE = scene(1), scene(2)


@pytest.fixture
def pipeline():
    return FusionPipeline("average", "cpu")


@pytest.fixture
def pairs(rng):
    """Ten noisy pairs of one scene."""
    return [(camera(VISIBLE, 20, rng), camera(INFRARED, 20, rng)) for _ in range(10)]


def fused(fuser, pairs):
    return [fuser.fuse(visible=visible, infrared=infrared).fused for visible, infrared in pairs]


def test_a_stream_fuses_with_less_noise(pipeline, pairs):
    truth = (INFRARED + VISIBLE)[..., None] / 2
    single, remembered = fused(pipeline, pairs), fused(pipeline.stream(), pairs)
    assert error(single[-1], truth) > 12
    assert error(remembered[-1], truth) < 5


def test_fuse_keeps_no_memory(pipeline, pairs):
    before = fused(pipeline, pairs)
    fused(pipeline.stream(), pairs)
    for one, other in zip(before, fused(pipeline, pairs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_streams_are_independent_and_repeat_themselves(pipeline, pairs):
    first, second = pipeline.stream(), pipeline.stream()
    results = [[*fused(first, [pair]), *fused(second, [pair])] for pair in pairs]
    for one, other in results:
        np.testing.assert_array_equal(one, other)
    first.reset()
    for one, (other, _) in zip(fused(first, pairs), results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_clean_pairs_are_fused_as_by_the_pipeline(rng):
    pipeline = FusionPipeline("nano", "cpu")
    pairs = [(camera(VISIBLE, 0, rng), camera(INFRARED, 0, rng)) for _ in range(3)]
    for one, other in zip(fused(pipeline, pairs), fused(pipeline.stream(), pairs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_network_is_told_how_strong_the_noise_is(pairs, monkeypatch):
    pipeline, told = FusionPipeline("nano", "cpu"), []
    fuse = pipeline.engine.backend.fuse
    monkeypatch.setattr(
        pipeline.engine.backend, "fuse", lambda *given: told.append(given[3]) or fuse(*given)
    )
    fused(pipeline.stream(), pairs)
    fused(pipeline, pairs[:1])
    levels = [float(np.median(noise.infrared)) for noise in told[:-1]]
    assert levels[0] == pytest.approx(20, rel=0.1)
    assert levels[7:] == pytest.approx([20 / 8**0.5] * 3, rel=0.2)
    assert told[-1] is None


def test_off_is_no_memory_and_can_be_set_at_any_time(pipeline, pairs):
    stream, single = pipeline.stream(TemporalConfig("off")), fused(pipeline, pairs)
    for one, other in zip(fused(stream, pairs), single, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "temporal" not in stream.fuse(*pairs[0]).timings
    stream.config = TemporalConfig("auto")
    assert not np.array_equal(fused(stream, pairs)[-1], single[-1])
    assert stream.fuse(*pairs[0]).timings["temporal"] > 0
    stream.config = TemporalConfig("off")
    np.testing.assert_array_equal(fused(stream, pairs)[-1], single[-1])


def test_strength_can_be_set_at_any_time(pipeline, pairs):
    stream = pipeline.stream(TemporalConfig("auto", 0.0))
    truth = (INFRARED + VISIBLE)[..., None] / 2
    weak = error(fused(stream, pairs)[-1], truth)
    stream.config = TemporalConfig("auto", 1.0)
    assert error(fused(stream, pairs)[-1], truth) < 0.7 * weak


def test_stripes_go_before_registration_and_are_told(pipeline, rng):
    small = scene(5, (96, 128))
    stripes = 8 * rng.standard_normal((1, 128))
    stream = pipeline.stream()
    for _ in range(10):
        visible = camera(scene(6, (192, 256)), 10, rng)
        stream.fuse(visible=visible, infrared=camera(small + stripes, 10, rng))
    assert stream.memory.stripes == pytest.approx(8, rel=0.3)
    assert stream.memory.noise.visible == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(ConfigError, match=r"temporal strength is .*, expected 0 to 1"):
        TemporalConfig("auto", strength)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="temporal mode 'on' is unknown: choose one of off, auto"):
        TemporalConfig("on")
