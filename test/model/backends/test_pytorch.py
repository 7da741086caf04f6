"""Precisions and arithmetic of torch, and how it uses CUDA graphs."""

import warnings

import numpy as np
import pytest
import torch
from helpers.engines import engine, scores

from dreamif_model.backends import available
from dreamif_model.backends import pytorch as torch_backend
from dreamif_model.backends.cuda_graph import CapturedStage
from dreamif_model.errors import ConfigError
from dreamif_model.thermal import ThermalNormalizer
from dreamif_model.variants import NETWORKS, network_config
from dreamif_ros.scene import Scene, SceneConfig

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

BF16 = [pair for pair in available("cpu") if pair[1] == "bf16"]

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def scene():
    """A drawn street: visible (240, 320, 3) and infrared (240, 320), both uint8."""
    size = (320, 240)
    drawn = Scene(SceneConfig(visible_size=size, infrared_size=size))
    return drawn.visible(1.0), ThermalNormalizer().normalize(drawn.infrared(1.0))


class TestPrecision:
    @pytest.mark.parametrize(
        ("name", "device", "expected"),
        [
            ("auto", CPU, "fp32"),
            ("auto", CUDA, "fp16"),
            ("fp32", CUDA, "fp32"),
            ("fp16", CUDA, "fp16"),
            ("bf16", CPU, "bf16"),
        ],
    )
    def test_torch_resolves_it(self, name, device, expected):
        assert torch_backend._resolve_precision(name, device) == expected

    def test_fp16_is_refused_on_the_cpu(self):
        with pytest.raises(ConfigError, match="on the CPU choose fp32 or bf16"):
            engine("nano", precision="fp16")

    @pytest.mark.parametrize(("backend", "precision"), BF16)
    def test_bf16_is_near_fp32_and_scores_like_it(self, backend, precision, scene):
        exact = engine("nano").fuse(*scene)
        rounded = engine("nano", precision=precision, backend=backend).fuse(*scene)
        difference = np.abs(exact.fused.astype(int) - rounded.fused)
        assert 0 < difference.mean() < 0.5
        assert difference.max() <= 4
        assert rounded.dominance == pytest.approx(exact.dominance, abs=0.01)
        expected = scores(exact.fused, *scene)
        # Nabf is near 0.001 of at most 1 here: half a percent of that is within its own noise.
        assert scores(rounded.fused, *scene) == pytest.approx(expected, rel=0.005, abs=2e-5)


class TestArithmetic:
    switches = tuple((owner, name) for owner, name, _ in torch_backend._arithmetic_switches())

    def state(self):
        return [getattr(owner, name) for owner, name in self.switches]

    def test_cuda_is_exact_inside_and_as_before_outside(self):
        """The switches exist without a GPU too."""
        before = self.state()
        wanted = [value for _, _, value in torch_backend._arithmetic_switches()]
        assert before != wanted
        inside = []

        def work():
            with torch_backend.exact_arithmetic(CUDA):
                inside.extend(self.state())
                raise KeyError

        with pytest.raises(KeyError):
            work()
        assert inside == wanted
        assert self.state() == before

    def test_the_cpu_needs_nothing(self):
        before = self.state()
        with torch_backend.exact_arithmetic(CPU):
            assert self.state() == before


def double(*tensors):
    return tuple(2 * tensor for tensor in tensors)


def replaying(run):
    """A replay like CUDA's, which fills the outputs of the capture again."""
    outputs = run()

    def replay():
        for kept, new in zip(outputs, run(), strict=True):
            kept.copy_(new)

    return replay, outputs


class TestCapturedStage:
    def test_the_second_call_of_a_size_captures(self):
        stage = CapturedStage(double, replaying)
        captured = []
        for value in (1.0, 2.0, 3.0):
            (result,) = stage(torch.full((2, 3), value))
            captured.append(stage.is_captured)
            assert torch.equal(result, torch.full((2, 3), 2 * value))
        assert captured == [False, True, True]

    def test_inputs_are_copied_not_kept(self):
        stage = CapturedStage(double, replaying)
        inputs = [torch.ones(4) for _ in range(3)]
        for tensor in inputs:
            stage(tensor)
        assert all(torch.equal(tensor, torch.ones(4)) for tensor in inputs)

    @pytest.mark.parametrize("other", [torch.ones(5), torch.ones(4, dtype=torch.float64)])
    def test_another_size_or_type_drops_the_graph(self, other):
        stage = CapturedStage(double, replaying)
        for tensor in (torch.ones(4), torch.ones(4), other):
            (result,) = stage(tensor)
        assert not stage.is_captured
        assert torch.equal(result, 2 * other)
        stage(other)
        assert stage.is_captured

    def test_a_failed_capture_is_warned_of_once_and_does_without(self):
        attempts = []

        def failing(run):
            attempts.append(run)
            raise RuntimeError("operation not permitted when stream is capturing")

        stage = CapturedStage(double, failing)
        stage(torch.ones(4))
        with pytest.warns(RuntimeWarning, match=r"no CUDA graph.*not permitted when stream"):
            (result,) = stage(torch.ones(4))
        assert torch.equal(result, torch.full((4,), 2.0))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(3):
                stage(torch.ones(5))
        assert len(attempts) == 1
        assert not stage.is_captured

    def test_the_engine_gives_the_same_frames_with_it(self, scene):
        """Three different frames through a captured stage, as on CUDA."""
        plain, staged = engine("nano"), engine("nano")
        backend = staged.backend
        backend._stage = CapturedStage(backend._run, replaying)
        for shift in range(3):
            pair = [np.roll(image, 7 * shift, axis=1) for image in scene]
            expected, result = plain.fuse(*pair), staged.fuse(*pair)
            np.testing.assert_array_equal(result.fused, expected.fused)
            np.testing.assert_array_equal(result.dominance, expected.dominance)
        assert backend.uses_cuda_graph
        assert not plain.backend.uses_cuda_graph


@pytest.mark.cuda
@needs_cuda
class TestCuda:
    """What a GPU must do; `make benchmark` runs these too."""

    @pytest.mark.parametrize("variant", NETWORKS)
    def test_fp32_agrees_with_the_cpu(self, variant, rng):
        """Within 1e-4 of [0, 1], before rounding to gray levels."""
        phases = None
        outputs = []
        for device in ("cpu", "cuda"):
            backend = engine(variant, device, "fp32").backend
            if phases is None:
                config = network_config(variant)
                side = 7 * config.size_multiple // config.stem
                channels = (1 + config.image_channels) * config.stem**2
                phases = rng.integers(0, 256, (1, channels, side, side), dtype=np.uint8)
            outputs.append(backend.infer(phases, 4))
        for number, (expected, result) in enumerate(zip(*outputs, strict=True)):
            levels = number in (0, 3)  # of gray; the others are in [0, 1]
            assert np.abs(result - expected).max() <= (1e-4 * 255 if levels else 1e-4)

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
    @pytest.mark.parametrize("variant", NETWORKS)
    def test_graphs_give_the_same_frames(self, variant, precision, scene):
        plain, captured = engine(variant, "cuda", precision), engine(variant, "cuda", precision)
        plain.backend._stage = plain.backend._run
        for shift in range(4):
            pair = [np.roll(image, 7 * shift, axis=1) for image in scene]
            expected, result = plain.fuse(*pair), captured.fuse(*pair)
            difference = np.abs(result.fused.astype(int) - expected.fused)
            assert difference.max() <= (1 if precision == "fp32" else 4)  # other kernels
            assert difference.mean() <= (0.01 if precision == "fp32" else 0.5)
        assert captured.backend.uses_cuda_graph
        smaller = [np.ascontiguousarray(image[:100, :90]) for image in scene]
        assert captured.fuse(*smaller).fused.shape == (100, 90, 3)
        assert not captured.backend.uses_cuda_graph

    @pytest.mark.parametrize("precision", ["fp16", "bf16"])
    @pytest.mark.parametrize("variant", NETWORKS)
    def test_half_precision_scores_like_the_cpu(self, variant, precision, scene):
        expected = scores(engine(variant, "cpu", "fp32").fuse(*scene).fused, *scene)
        result = scores(engine(variant, "cuda", precision).fuse(*scene).fused, *scene)
        allowed = 0.005 if precision == "fp16" else 0.02  # bf16 has 3 bits less
        assert result == pytest.approx(expected, rel=allowed, abs=1e-4)

    @pytest.mark.parametrize("variant", NETWORKS)
    def test_fp16_does_not_overflow_at_full_size(self, variant, rng):
        """Attention sums over all pixels: 1280×1024, queries as large as trained ones."""
        visible = rng.integers(0, 256, (1024, 1280, 3), dtype=np.uint8)
        infrared = rng.integers(0, 256, (1024, 1280), dtype=np.uint8)
        exact = engine(variant, "cuda", "fp32", query_gain=10).fuse(visible, infrared)
        rounded = engine(variant, "cuda", "fp16", query_gain=10).fuse(visible, infrared)
        assert np.isfinite(rounded.dominance).all()
        assert rounded.dominance == pytest.approx(exact.dominance, abs=0.01)
        assert np.abs(rounded.fused.astype(int) - exact.fused).mean() < 0.5

    def test_tf32_is_off_only_inside(self, scene):
        before = torch.backends.cudnn.allow_tf32
        engine("nano", "cuda", "fp32").fuse(*scene)
        assert torch.backends.cudnn.allow_tf32 == before
