"""The engine on every device and in every precision, and how it uses CUDA graphs."""

import gc
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from dreamif_model.cuda_graph import CapturedStage

from dreamif_model import device as devices
from dreamif_model.engine import STAGES, FusionEngine
from dreamif_model.errors import ConfigError
from dreamif_model.metrics import evaluate
from dreamif_model.network import DreamIF
from dreamif_model.network.blocks import TransposedAttention
from dreamif_model.variants import AVERAGE, VARIANTS, network_config
from dreamif_ros.scene import Scene, SceneConfig

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LUMA = np.array((0.299, 0.587, 0.114))
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def scene():
    """A drawn street: visible (240, 320, 3) uint8, infrared (240, 320) float32 in [0, 1]."""
    size = (320, 240)
    config = SceneConfig(visible_size=size, infrared_size=size)
    drawn = Scene(config)
    counts = drawn.infrared(1.0).astype(np.float32)
    low, high = np.percentile(counts, (1, 99))
    return drawn.visible(1.0), ((counts - low) / (high - low)).clip(0, 1).astype(np.float32)


def engine(variant, device="cpu", precision="auto", query_gain=1):
    """With random weights, always the same.

    query_gain: times what fresh queries and keys have; 10 is what training makes of them.
    """
    network = None
    if variant != AVERAGE:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            network = DreamIF(network_config(variant))
        for module in network.modules():
            if isinstance(module, TransposedAttention):
                module.qkv_depthwise.weight.data *= query_gain
    return FusionEngine(variant, device, precision=precision, network=network)


def scores(fused, visible, infrared):
    return evaluate(fused @ LUMA, infrared * 255.0, visible @ LUMA)


def layers_of(fusing, visible, infrared):
    """Fused, dominance and restored, as the network gives them: fp32, not yet gray levels."""
    with torch.inference_mode(), devices.exact_arithmetic(fusing.device):
        _, *layers = fusing._prepare(fusing._upload(visible), fusing._upload(infrared))
        return [tensor.cpu() for tensor in fusing._fuse_layers(*layers)]


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
    def test_resolved(self, name, device, expected):
        assert devices.resolve_precision(name, device) == expected

    @pytest.mark.parametrize("name", ["half", "", "FP16", "float32"])
    def test_unknown(self, name):
        with pytest.raises(ConfigError, match=r"unknown precision.*choose auto, fp32, fp16, bf16"):
            FusionEngine(AVERAGE, "cpu", precision=name)

    def test_fp16_is_refused_on_the_cpu(self):
        with pytest.raises(ConfigError, match="on the CPU choose fp32 or bf16"):
            FusionEngine(AVERAGE, "cpu", precision="fp16")

    def test_bf16_is_near_fp32(self, scene):
        exact, rounded = engine("nano").fuse(*scene), engine("nano", precision="bf16").fuse(*scene)
        difference = np.abs(exact.fused.astype(int) - rounded.fused)
        assert 0 < difference.mean() < 0.5
        assert difference.max() <= 4
        assert rounded.dominance == pytest.approx(exact.dominance, abs=0.01)

    def test_bf16_scores_like_fp32(self, scene):
        exact, rounded = engine("nano").fuse(*scene), engine("nano", precision="bf16").fuse(*scene)
        expected = scores(exact.fused, *scene)
        # Nabf is near 0.001 of at most 1 here: half a percent of that is within its own noise.
        assert scores(rounded.fused, *scene) == pytest.approx(expected, rel=0.005, abs=2e-5)

    def test_images_stay_fp32_around_the_network(self, scene):
        """Where the network adds nothing, bf16's 8 bits cost the sources nothing."""
        outputs = []
        for precision in ("fp32", "bf16"):
            network = DreamIF(network_config("nano"))
            for layer in (network.output, network.restore):
                torch.nn.init.zeros_(layer.weight)
            for conv in network.decoder[2].enhance.dominance.conv:
                torch.nn.init.zeros_(conv.weight)  # dominance ½
            outputs.append(FusionEngine("nano", "cpu", None, precision, network).fuse(*scene))
        assert np.array_equal(outputs[0].fused, outputs[1].fused)

    def test_only_the_weights_of_products_are_rounded(self):
        network = DreamIF(network_config("nano"))
        FusionEngine("nano", "cpu", None, "bf16", network)
        kinds = {
            name.rpartition(".")[2]
            for name, p in network.named_parameters()
            if p.dtype == torch.float32
        }
        assert kinds == {"weight", "bias", "temperature", "prompts"}
        for name, parameter in network.named_parameters():
            rounded = parameter.dtype == torch.bfloat16
            assert rounded == (not ("norm" in name or name.endswith(("temperature", "prompts"))))


def test_the_caller_hears_of_each_stage(scene):
    calls = []
    engine("nano").fuse(*scene, after_stage=lambda: calls.append(len(calls)))
    assert len(calls) == len(STAGES)


def test_the_average_takes_no_weights():
    """But an empty name, as the node's parameter has it, is none."""
    FusionEngine(AVERAGE, "cpu", weights="")
    with pytest.raises(ConfigError, match="average has no network: weights a"):
        FusionEngine(AVERAGE, "cpu", weights="a.safetensors")


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("base", "released")])
def test_every_variant_runs(variant, rng):
    visible = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    fused = engine(variant).fuse(visible, rng.random((37, 53), dtype=np.float32))
    assert fused.fused.shape == visible.shape
    assert fused.dominance.shape == (2, 37, 53)


class TestArithmetic:
    switches = tuple((owner, name) for owner, name, _ in devices._arithmetic_switches())

    def state(self):
        return [getattr(owner, name) for owner, name in self.switches]

    def test_cuda_is_exact_inside_and_as_before_outside(self):
        """The switches exist without a GPU too."""
        before = self.state()
        wanted = [value for _, _, value in devices._arithmetic_switches()]
        assert before != wanted
        inside = []

        def work():
            with devices.exact_arithmetic(CUDA):
                inside.extend(self.state())
                raise KeyError

        with pytest.raises(KeyError):
            work()
        assert inside == wanted
        assert self.state() == before

    def test_the_cpu_needs_nothing(self):
        before = self.state()
        with devices.exact_arithmetic(CPU):
            assert self.state() == before


class TestCpu:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("max 100000\n", None),
            ("200000 100000\n", 2),
            ("350000 100000\n", 3),
            ("50000 100000", 1),
            ("nonsense", None),
        ],
    )
    def test_quota(self, text, expected, tmp_path):
        path = tmp_path / "cpu.max"
        path.write_text(text)
        assert devices.cpu_quota(path) == expected

    def test_no_quota_without_cgroups(self, tmp_path):
        assert devices.cpu_quota(tmp_path / "none") is None

    @pytest.mark.parametrize(("quota", "expected"), [(None, 6), (2, 2), (8, 6)])
    def test_usable_cores_are_within_affinity_and_quota(self, quota, expected, monkeypatch):
        monkeypatch.setattr(devices, "cpu_quota", lambda: quota)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6))
        assert devices.usable_cores() == expected

    def test_a_number_of_threads_that_was_asked_for_stays(self, monkeypatch):
        """Whatever the quota, which an engine that is made later looks at."""
        monkeypatch.setattr(devices, "cpu_quota", lambda: 1)
        before = torch.get_num_threads()
        devices.prepare_cpu.cache_clear()
        try:
            devices.use_cpu_threads(3)
            FusionEngine(AVERAGE, "cpu")
            assert torch.get_num_threads() == 3
        finally:
            torch.set_num_threads(before)

    def test_what_has_settled_is_left_out_of_collections_until_memory_is_freed(self):
        devices.settle_memory()
        try:
            assert gc.get_freeze_count() > 10_000
        finally:
            devices.free_memory()
        assert gc.get_freeze_count() == 0

    @pytest.mark.parametrize(("given", "expected"), [(None, "passive"), ("active", "active")])
    def test_threads_sleep_while_they_wait_unless_told(self, given, expected):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        if given:
            environment["OMP_WAIT_POLICY"] = given
        code = (
            "import builtins, sys; real = builtins.__import__\n"
            "def spy(name, *rest):\n"
            "    if name == 'torch':\n"
            "        import os; print(os.environ.get('OMP_WAIT_POLICY')); os._exit(0)\n"
            "    return real(name, *rest)\n"
            "builtins.__import__ = spy; sys.stdout.reconfigure(write_through=True)\n"
            "import dreamif_model"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split() == [expected]

    def test_the_machine_has_a_name(self):
        assert devices.machine_name(CPU)


def double(*tensors):
    return tuple(2 * tensor for tensor in tensors)


def replaying(run):
    """As CUDA does it: the outputs of the capture are filled again by each replay."""
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
        """Three different frames through captured stages, as on CUDA."""
        plain, staged = engine("nano"), engine("nano")
        staged._stages = tuple(CapturedStage(stage, replaying) for stage in staged._stages)
        for shift in range(3):
            pair = [np.roll(image, 7 * shift, axis=1) for image in scene]
            expected, result = plain.fuse(*pair), staged.fuse(*pair)
            assert np.array_equal(result.fused, expected.fused)
            assert np.array_equal(result.dominance, expected.dominance)
        assert staged.uses_cuda_graph
        assert not plain.uses_cuda_graph


@pytest.mark.cuda
@needs_cuda
class TestCuda:
    """What a GPU must do; `make benchmark` runs these too."""

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_fp32_agrees_with_the_cpu(self, variant, rng):
        """Within 1e-4, before rounding to gray levels; an odd size."""
        visible = rng.integers(0, 256, (117, 149, 3), dtype=np.uint8)
        infrared = rng.random((117, 149), dtype=np.float32)
        results = (
            layers_of(engine(variant, device, "fp32"), visible, infrared)
            for device in ("cpu", "cuda")
        )
        for expected, result in zip(*results, strict=True):
            assert (result - expected).abs().max() <= 1e-4

    @pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_graphs_give_the_same_frames(self, variant, precision, scene):
        plain, captured = engine(variant, "cuda", precision), engine(variant, "cuda", precision)
        plain._stages = (plain._prepare, plain._fuse_layers, plain._finish)
        for shift in range(4):
            pair = [np.roll(image, 7 * shift, axis=1) for image in scene]
            expected, result = plain.fuse(*pair), captured.fuse(*pair)
            difference = np.abs(result.fused.astype(int) - expected.fused)
            assert difference.max() <= (1 if precision == "fp32" else 4)  # other kernels
            assert difference.mean() <= (0.01 if precision == "fp32" else 0.5)
        assert captured.uses_cuda_graph
        smaller = [image[:100, :90] for image in scene]
        assert captured.fuse(*smaller).fused.shape == (100, 90, 3)
        assert not captured.uses_cuda_graph

    @pytest.mark.parametrize("precision", ["fp16", "bf16"])
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_half_precision_scores_like_the_cpu(self, variant, precision, scene):
        expected = scores(engine(variant, "cpu", "fp32").fuse(*scene).fused, *scene)
        result = scores(engine(variant, "cuda", precision).fuse(*scene).fused, *scene)
        allowed = 0.005 if precision == "fp16" else 0.02  # bf16 has 3 bits less
        assert result == pytest.approx(expected, rel=allowed, abs=1e-4)

    @pytest.mark.parametrize("variant", [name for name in VARIANTS if name != AVERAGE])
    def test_fp16_does_not_overflow_at_full_size(self, variant, rng):
        """Attention sums over all pixels: 1280×1024, queries as large as trained ones."""
        visible = rng.integers(0, 256, (1024, 1280, 3), dtype=np.uint8)
        infrared = rng.random((1024, 1280), dtype=np.float32)
        exact = engine(variant, "cuda", "fp32", query_gain=10).fuse(visible, infrared)
        rounded = engine(variant, "cuda", "fp16", query_gain=10).fuse(visible, infrared)
        assert np.isfinite(rounded.dominance).all()
        assert rounded.dominance == pytest.approx(exact.dominance, abs=0.01)
        assert np.abs(rounded.fused.astype(int) - exact.fused).mean() < 0.5

    def test_tf32_is_off_only_inside(self, scene):
        before = torch.backends.cudnn.allow_tf32
        engine("nano", "cuda", "fp32").fuse(*scene)
        assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.cuda
@needs_cuda
def test_the_fused_image_stays_on_the_gpu_where_asked(scene):
    fusing = engine("average", "cuda")
    first = fusing.fuse(*scene, keep_on_device=True)
    later = fusing.fuse(scene[0][::-1].copy(), scene[1], keep_on_device=True)
    assert first.on_device.device.type == "cuda"
    assert np.array_equal(first.on_device.cpu().numpy(), first.fused)  # not overwritten
    assert np.array_equal(later.on_device.cpu().numpy(), later.fused)
    assert fusing.fuse(*scene).on_device is None


def test_on_the_cpu_there_is_nothing_to_keep(scene):
    assert engine("average", "cpu").fuse(*scene, keep_on_device=True).on_device is None
