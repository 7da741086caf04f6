"""The engine: chroma, coverage, precisions and devices, and how torch uses CUDA graphs."""

import gc
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from dreamif_model import device as devices
from dreamif_model.backends import Backend, Layers, available
from dreamif_model.backends import pytorch as torch_backend
from dreamif_model.backends.cuda_graph import CapturedStage
from dreamif_model.engine import CHROMA_NOISE, CHROMA_WINDOW, STAGES, FusionEngine
from dreamif_model.errors import ConfigError
from dreamif_model.metrics import evaluate
from dreamif_model.network import make_network
from dreamif_model.network.blocks import TransposedAttention
from dreamif_model.thermal import ThermalNormalizer
from dreamif_model.variants import AVERAGE, NETWORKS, VARIANTS, network_config
from dreamif_ros.scene import Scene, SceneConfig

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LUMA = np.array((0.299, 0.587, 0.114))
BF16 = [pair for pair in available("cpu") if pair[1] == "bf16"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def scene():
    """A drawn street: visible (240, 320, 3) and infrared (240, 320), both uint8."""
    size = (320, 240)
    drawn = Scene(SceneConfig(visible_size=size, infrared_size=size))
    return drawn.visible(1.0), ThermalNormalizer().normalize(drawn.infrared(1.0))


def network(variant, query_gain=1):
    """With random weights, always the same.

    query_gain: times what fresh queries and keys have; 10 is what training makes of them.
    """
    if variant == AVERAGE:
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        made = make_network(network_config(variant)).eval()
    for module in made.modules():
        if isinstance(module, TransposedAttention):
            module.qkv_depthwise.weight.data *= query_gain
    return made


def engine(variant, device="cpu", precision="fp32", query_gain=1, backend="torch"):
    """By torch, with random weights."""
    of = network(variant, query_gain)
    return FusionEngine(variant, device, None, precision, of, backend)


def scores(fused, visible, infrared):
    return evaluate(fused @ LUMA, infrared.astype(float), visible @ LUMA)


class Given(Backend):
    """A backend that gives what it was told to."""

    name, device, precision, luma, size_multiple = "given", "cpu", "fp32", True, 1

    def __init__(self, fused, dominance=0.5, removed=None):
        maps = np.array((dominance, 1 - dominance), np.float32).reshape(2, 1, 1)
        self.layers = Layers(fused, maps, removed)

    def fuse(self, infrared, visible):
        self.seen = infrared.copy(), visible.copy()
        return self.layers


def given(*layers):
    fusing = FusionEngine(AVERAGE)
    fusing.backend = Given(*layers)
    return fusing


class TestChroma:
    """Fused RGB is visible RGB plus the change of its luma, which is the fused luma."""

    @pytest.fixture
    def visible(self, rng):
        return rng.integers(60, 190, (48, 64, 3), dtype=np.uint8)

    def luma(self, visible):
        return np.rint(visible @ LUMA).astype(int)

    def test_the_three_channels_change_alike(self, visible, rng):
        fused = rng.integers(60, 190, (48, 64), dtype=np.uint8)
        result = given(fused).fuse(visible, fused)
        change = result.fused.astype(int) - visible
        inside = ((result.fused > 0) & (result.fused < 255)).all(axis=2)
        assert inside.mean() > 0.5
        np.testing.assert_array_equal(change[inside].max(axis=1), change[inside].min(axis=1))
        expected = fused.astype(int) - self.luma(visible)
        assert np.abs(change[..., 0] - expected)[inside].max() <= 1  # of luma in integers

    def test_what_leaves_the_range_is_saturated(self):
        visible = np.full((4, 4, 3), (250, 100, 5), np.uint8)  # luma 134
        brighter = given(np.full((4, 4), 144, np.uint8)).fuse(visible, visible[..., 0])
        assert brighter.fused[0, 0].tolist() == [255, 110, 15]
        darker = given(np.full((4, 4), 124, np.uint8)).fuse(visible, visible[..., 0])
        assert darker.fused[0, 0].tolist() == [240, 90, 0]

    @pytest.mark.parametrize("variant", ["nano", AVERAGE])
    def test_a_gray_visible_image_gives_a_gray_fused_one(self, variant, rng):
        """Given as (H, W), or as RGB of three equal channels, which is the same image."""
        gray, infrared = rng.integers(0, 256, (2, 37, 53), dtype=np.uint8)
        fusing = engine(variant)
        result = fusing.fuse(gray, infrared).fused
        assert result.shape == (37, 53, 3)
        np.testing.assert_array_equal(result, np.repeat(result[..., :1], 3, axis=2))
        if variant == AVERAGE:  # nothing is restored, so that no chroma is smoothed
            rgb = np.repeat(gray[..., None], 3, axis=2)
            np.testing.assert_array_equal(fusing.fuse(rgb, infrared).fused, result)

    def test_it_is_smoothed_only_where_noise_was_found(self):
        """A checkerboard of two colours is noise of colour: right, where restoration changed much,
        it becomes the mean of both; left, where it changed nothing, it stays as it was."""
        rows, columns = np.indices((64, 128))
        colours = np.array([(140, 100, 100), (100, 120, 100)], np.uint8)  # luma 112 both
        visible = colours[(rows + columns) % 2]
        luma = np.full((64, 128), 112, np.uint8)
        removed = np.zeros((16, 32), np.float32)
        removed[:, 16:] = CHROMA_NOISE
        result = given(luma, 0.5, removed).fuse(visible, luma).fused.astype(int)
        edge = 64  # between both halves; weights are interpolated from windows beside it
        np.testing.assert_array_equal(
            result[:, : edge - CHROMA_WINDOW], visible[:, : edge - CHROMA_WINDOW]
        )
        smooth = result[:, edge + CHROMA_WINDOW :]
        assert np.abs(smooth - (120, 110, 100)).max() <= 1

    @pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
    def test_how_far_it_is_smoothed_grows_with_the_square_of_the_noise(self, share):
        rows, columns = np.indices((64, 64))
        visible = np.array([(140, 100, 100), (100, 120, 100)], np.uint8)[(rows + columns) % 2]
        luma = np.full((64, 64), 112, np.uint8)
        removed = np.full((16, 16), share * CHROMA_NOISE, np.float32)
        result = given(luma, 0.5, removed).fuse(visible, luma).fused.astype(float)
        weight = share**2 if share > 0.1 else 0  # so little is not seen
        expected = weight * np.array((120, 110, 100)) + (1 - weight) * visible
        assert np.abs(result - expected).max() <= 1.01

    def test_luma_stays_the_networks_where_chroma_is_smoothed(self, visible, rng):
        fused = rng.integers(110, 140, (48, 64), dtype=np.uint8)
        removed = np.ones((12, 16), np.float32)
        result = given(fused, 0.5, removed).fuse(visible, fused).fused
        assert np.abs(self.luma(result) - fused.astype(int)).max() <= 1
        chroma = result.astype(int) - self.luma(result)[..., None]
        before = visible.astype(int) - self.luma(visible)[..., None]
        assert chroma.std() < 0.2 * before.std()


class TestCoverage:
    @pytest.mark.parametrize("variant", ["nano", AVERAGE])
    @pytest.mark.parametrize("gray", [False, True])
    def test_nowhere_everywhere_and_between(self, variant, gray, scene):
        visible, infrared = scene[0][:100, :150], scene[1][:100, :150]
        if gray:
            visible = np.ascontiguousarray(visible[..., 1])
        rgb = np.repeat(visible[..., None], 3, axis=2) if gray else visible
        fusing = engine(variant)
        alone = fusing.fuse(visible, infrared)
        zeros = np.zeros((100, 150), np.float32)
        nowhere = fusing.fuse(visible, infrared, zeros)
        np.testing.assert_array_equal(nowhere.fused, rgb)
        assert (nowhere.dominance[0] == 0).all()
        assert (nowhere.dominance[1] == 1).all()
        everywhere = fusing.fuse(visible, infrared, zeros + 1)
        np.testing.assert_array_equal(everywhere.fused, alone.fused)
        np.testing.assert_array_equal(everywhere.dominance, alone.dominance)

    def test_the_average_of_a_half(self):
        """Infrared is blended towards the visible luma first, then the fused to the visible."""
        visible, infrared = np.full((4, 4), 40, np.uint8), np.full((4, 4), 200, np.uint8)
        result = engine(AVERAGE).fuse(visible, infrared, np.full((4, 4), 0.5, np.float32))
        assert (result.fused == 60).all()  # infrared 120, average 80, half way back to 40
        np.testing.assert_allclose(result.dominance[0], 0.25)
        np.testing.assert_allclose(result.dominance[1], 0.75)

    def test_where_infrared_does_not_reach_the_network_sees_the_visible_image(self, rng):
        visible = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        infrared = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        coverage = np.zeros((8, 8), np.float32)
        coverage[:, 4:] = 1
        fusing = given(infrared)
        fusing.fuse(visible, infrared, coverage)
        seen, luma = fusing.backend.seen
        np.testing.assert_array_equal(seen[:, :4], luma[:, :4])
        np.testing.assert_array_equal(seen[:, 4:], infrared[:, 4:])


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


def test_the_stages_are_timed(scene):
    seconds = engine("nano").fuse(*scene).seconds
    assert tuple(seconds) == STAGES
    assert all(value > 0 for value in seconds.values())


def test_the_average_takes_no_weights():
    """But an empty name, as the node's parameter has it, is none."""
    FusionEngine(AVERAGE, "cpu", weights="")
    with pytest.raises(ConfigError, match="average has no network: weights a"):
        FusionEngine(AVERAGE, "cpu", weights="a.safetensors")


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in ("base", "released")])
def test_every_variant_runs(variant, rng):
    visible = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    fused = engine(variant).fuse(visible, rng.integers(0, 256, (37, 53), dtype=np.uint8))
    assert fused.fused.shape == visible.shape
    assert fused.dominance.shape == (2, 37, 53)


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

    @pytest.mark.parametrize(("asked", "expected"), [(3, 3), (0, 2)])
    def test_a_number_of_threads_that_was_asked_for_stays(self, asked, expected, monkeypatch):
        """Whatever the quota; 0 is what may be used."""
        monkeypatch.setattr(devices, "cpu_quota", lambda: 2)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6))
        before = torch.get_num_threads()
        try:
            devices.use_cpu_threads(asked)
            engine("nano")
            assert (devices.cpu_threads(), torch.get_num_threads()) == (expected, expected)
        finally:
            devices.use_cpu_threads(0)
            torch.set_num_threads(before)

    def test_a_number_below_0_is_refused(self):
        with pytest.raises(ConfigError, match="the number of CPU threads is -1, expected 0 or"):
            devices.use_cpu_threads(-1)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("flags\t\t: fpu avx512f avx512_bf16 sse\n", True),
            ("Features\t: fp asimd bf16 i8mm\n", True),
            ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
            ("flags\t\t: fpu avx512f avx2\nbugs\t\t: bf16\n", False),
            ("flags\t\t: not_bf16 bf16_not\n", False),
            ("", False),
        ],
    )
    def test_a_processor_says_whether_it_has_bf16(self, text, expected, tmp_path):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        assert devices.cpu_has_bf16(path) == expected

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
            "from dreamif_model import FusionPipeline\n"
            "FusionPipeline('nano', 'cpu', backend='torch')"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.split() == [expected]

    @pytest.mark.parametrize(
        ("first", "policy", "threads", "warnings"),
        [
            ("torch", None, 2, 1),
            ("torch", None, 1, 0),
            ("torch", "passive", 2, 0),
            ("dreamif_model", None, 2, 0),
        ],
    )
    def test_a_program_that_imports_torch_first_is_told_once(
        self, first, policy, threads, warnings
    ):
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        if policy:
            environment["OMP_WAIT_POLICY"] = policy
        code = (
            f"import {first}\n"
            "from dreamif_model.device import use_cpu_threads\n"
            "from dreamif_model.engine import FusionEngine\n"
            f"use_cpu_threads({threads})\n"
            "for _ in range(2): FusionEngine('nano', 'cpu', backend='torch')\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        assert result.stderr.count("torch was imported before dreamif_model") == warnings

    def test_the_machine_has_a_name(self):
        assert devices.machine_name("cpu")


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
            outputs.append(backend.infer(phases))
        for number, (expected, result) in enumerate(zip(*outputs, strict=True)):
            assert np.abs(result - expected).max() <= (1e-4 if number else 1e-4 * 255)

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
