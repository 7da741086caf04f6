"""Every backend gives torch's images, in each precision that is here; what is missing is named."""

import importlib.util
import logging
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from dreamif_model import Calibration, ConfigError, DeviceError, FusionPipeline, backends
from dreamif_model.backends import BACKENDS, available, choose_backend, make_backend
from dreamif_model.backends.openvino import (
    KEPT_SIZES,
    OpenVINOBackend,
    openvino_core,
    read_graph,
)
from dreamif_model.backends.openvino_convert import convert
from dreamif_model.backends.phases import PhasePacker
from dreamif_model.backends.pytorch import TorchBackend
from dreamif_model.device import cpu_has_bf16, cpu_threads
from dreamif_model.engine import FusionEngine
from dreamif_model.image_files import find_pairs, read_gray, read_rgb, write_image
from dreamif_model.model_files.model_source import WEIGHTS_FOLDER, ModelSource
from dreamif_model.network import LeanDreamIF, make_network
from dreamif_model.registration.geometry import Homography
from dreamif_model.thermal import ThermalNormalizer
from dreamif_model.variants import SWITCHES, LeanConfig, NetworkConfig, network_config
from dreamif_ros import cli
from dreamif_ros.scene import Scene, SceneConfig

ODD = 131, 171  # height and width, no multiple of anything
# All add in fp32, in another order: that differs by some units of 2⁻²⁴ for each of the network's
# layers, 1e-6 as measured. A gray level is 4e-3.
FP32 = 1e-5
# bf16 keeps 8 bits: as measured up to 0.01 off in dominance and 3 gray levels, 0.1 in the mean.
BF16_DOMINANCE, BF16_LEVELS, BF16_MEAN = 0.03, 4, 0.5
HERE = available("cpu")
OTHERS = [pair for pair in HERE if pair != ("torch", "fp32")]
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO"
)
needs_onnxruntime = pytest.mark.skipif(
    not (importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx")),
    reason="needs ONNX Runtime and onnx",
)

SMALL = {
    "channels": 8,
    "blocks": (1, 1, 1, 1),
    "heads": (1, 1, 2, 2),
    "refinement_blocks": 1,
    "expansion": 2.0,
    "prompt_channels": (4, 4, 4),
    "prompt_size": (4, 4, 4),
    "attention": (False, False, False, True),
}
CONFIGS = {
    "nano": network_config("nano"),
    "lean, stem 1": LeanConfig(stem=1, channels=(8, 8)),
    "paper, RGB": NetworkConfig(**SMALL),
    "paper, luma": NetworkConfig(
        **SMALL, luma=True, stem=2, skip_connections=True, source_residual=True, separable=True
    ),
}
ABLATIONS = {f"nano without {name}": network_config("nano", (name,)) for name in SWITCHES}


def network(config):
    """With random weights, always the same."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return make_network(config).eval()


def engine(backend, precision="fp32", of=None, variant="nano"):
    """With the packaged weights, or a network of one's own."""
    return FusionEngine(variant, "cpu", precision=precision, network=of, backend=backend)


def random_pair(rng, *shape):
    visible = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return visible, rng.integers(0, 256, shape, dtype=np.uint8)


def assert_same(result, expected):
    """Of two fp32 results: gray levels that round the other way are few."""
    different = result.fused != expected.fused
    assert different.mean() < 1e-3
    assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
    np.testing.assert_allclose(result.dominance, expected.dominance, rtol=0, atol=FP32)


def assert_near(result, expected):
    """Of a bf16 result, which is not the fp32 one."""
    difference = np.abs(result.fused.astype(int) - expected.fused)
    assert 0 < difference.mean() < BF16_MEAN
    assert difference.max() <= BF16_LEVELS
    assert result.dominance == pytest.approx(expected.dominance, abs=BF16_DOMINANCE)


def run_python(code, **environment):
    """In a process of its own; what it printed, and its errors."""
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def street():
    """A drawn street of an odd size: visible RGB and infrared gray levels."""
    height, width = ODD
    drawn = Scene(SceneConfig(visible_size=(width, height), infrared_size=(width, height)))
    return drawn.visible(1.0), ThermalNormalizer().normalize(drawn.infrared(1.0))


@pytest.fixture(scope="module")
def packaged():
    """Backend openvino with the packaged weights, by precision."""
    return {name: engine("openvino", name) for backend, name in HERE if backend == "openvino"}


@pytest.fixture(scope="module")
def references(street):
    """What torch gives in fp32, by the name of the network; packaged ones by their variant."""
    found = {}

    def reference(name):
        if name not in found:
            if name in ("packaged nano", "packaged tiny"):
                fusing = engine("torch", variant=name.split()[1])
            else:
                fusing = engine("torch", of=network((CONFIGS | ABLATIONS)[name]))
            found[name] = fusing.fuse(*street)
        return found[name]

    return reference


class TestPhases:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("stem", [1, 2, 4])
    def test_packed_as_torch_does(self, stem, channels, rng):
        visible, infrared = random_pair(rng, 24, 40)
        shown = visible if channels == 3 else visible[..., 0]  # a view: not contiguous
        planes = np.concatenate(
            (infrared[None], visible.transpose(2, 0, 1) if channels == 3 else shown[None])
        )
        expected = torch.nn.functional.pixel_unshuffle(torch.from_numpy(planes)[None], stem)
        packer = PhasePacker(stem)
        for _ in range(2):  # into new buffers and into kept ones
            packed = packer.pack(infrared, shown)
            assert packed.dtype == np.uint8
            np.testing.assert_array_equal(packed, expected.numpy())

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("stem", [1, 2, 4])
    def test_unpacked_rounded_and_saturated(self, stem, channels, rng):
        levels = rng.uniform(0, 300, (1, channels, 24, 40)).astype(np.float32)
        levels[..., :2, :] = 255.0, 255.4, *(40 - 2) * (12.25,)
        phases = torch.nn.functional.pixel_unshuffle(torch.from_numpy(levels), stem).numpy()
        unpacked = PhasePacker(stem).unpack(phases)
        expected = np.rint(levels[0].clip(0, 255)).astype(np.uint8).transpose(1, 2, 0)
        assert unpacked.dtype == np.uint8
        np.testing.assert_array_equal(unpacked, expected[..., 0] if channels == 1 else expected)

    @pytest.mark.parametrize("shape", [(32, 48), (32, 48, 3)])
    @pytest.mark.parametrize("stem", [1, 2, 4])
    def test_unpacking_undoes_packing(self, stem, shape, rng):
        visible = rng.integers(0, 256, shape, dtype=np.uint8)
        packer = PhasePacker(stem)
        phases = packer.pack(np.zeros(shape[:2], np.uint8), visible)[:, stem**2 :]
        np.testing.assert_array_equal(packer.unpack(phases.astype(np.float32)), visible)

    def test_another_size_takes_other_buffers(self, rng):
        packer = PhasePacker(4)
        for shape in ((8, 12), (16, 8), (8, 12)):
            visible, infrared = random_pair(rng, *shape)
            phases = packer.pack(infrared, visible).astype(np.float32)
            np.testing.assert_array_equal(packer.unpack(phases[:, :16]), infrared)
            np.testing.assert_array_equal(packer.unpack(phases[:, 16:]), visible)


class TestSameAsTorch:
    """Within one gray level in fp32, within the bounds above in bf16; of an odd size."""

    @pytest.mark.parametrize(("backend", "precision"), OTHERS)
    @pytest.mark.parametrize("variant", ["nano", "tiny"])
    def test_packaged_weights(self, variant, backend, precision, street, references):
        expected = references(f"packaged {variant}")
        assert expected.dominance.std() > 0.05  # there is something to see
        result = engine(backend, precision, variant=variant).fuse(*street)
        (assert_same if precision == "fp32" else assert_near)(result, expected)

    @pytest.mark.parametrize(("backend", "precision"), OTHERS)
    @pytest.mark.parametrize("name", CONFIGS)
    def test_networks_in_memory(self, name, backend, precision, street, references):
        if backend == "onnxruntime":
            pytest.importorskip("onnx", reason="needs onnx: pip install onnx")
        result = engine(backend, precision, network(CONFIGS[name])).fuse(*street)
        (assert_same if precision == "fp32" else assert_near)(result, references(name))

    @needs_openvino
    @pytest.mark.parametrize("name", ABLATIONS)
    def test_ablated_networks(self, name, street, references):
        assert_same(engine("openvino", of=network(ABLATIONS[name])).fuse(*street), references(name))

    @pytest.mark.parametrize("backend", [name for name, precision in OTHERS if precision == "fp32"])
    def test_sizes_in_turn(self, backend, rng):
        """Also one that needs no padding, then the first again."""
        fusing, reference = engine(backend), engine("torch")
        for shape in ((97, 130), (32, 64), (97, 130)):
            pair = random_pair(rng, *shape)
            assert_same(fusing.fuse(*pair), reference.fuse(*pair))

    @pytest.mark.parametrize(("backend", "precision"), OTHERS)
    def test_a_real_pair(self, backend, precision, pairs_root):
        folder = pairs_root / "roadscene"
        pair = find_pairs(folder / "ir", folder / "vi")[0]
        visible, infrared = read_rgb(pair.visible)[:131, :171], read_gray(pair.infrared)[:131, :171]
        expected = engine("torch").fuse(visible, infrared)
        result = engine(backend, precision).fuse(visible, infrared)
        (assert_same if precision == "fp32" else assert_near)(result, expected)

    @pytest.mark.parametrize("backend", [name for name, precision in OTHERS if precision == "fp32"])
    def test_a_gray_image_and_one_color_are_fused_too(self, backend, rng):
        fusing, reference = engine(backend), engine("torch")
        gray, infrared = rng.integers(0, 256, (2, 37, 53), dtype=np.uint8)
        black = np.zeros((37, 53), np.uint8)
        for pair in ((gray, infrared), (np.zeros((37, 53, 3), np.uint8), black)):
            assert_same(fusing.fuse(*pair), reference.fuse(*pair))

    @pytest.mark.parametrize(("backend", "precision"), [pair for pair in HERE if "bf16" in pair])
    def test_the_sources_cost_nothing_where_the_network_adds_nothing(
        self, backend, precision, street
    ):
        """bf16's 8 bits are for the features: half of each source stays exact."""
        of = silent_nano()
        expected = engine("torch", of=of).fuse(*street)
        result = engine(backend, precision, of).fuse(*street)
        np.testing.assert_array_equal(result.fused, expected.fused)

    def test_weights_from_a_file_and_a_registration(self, nano_weights, rng):
        """Where infrared does not reach, exactly the visible image."""
        shift = np.array([[1.0, 0, 32], [0, 1, 0], [0, 0, 1]])
        half = Calibration(Homography(shift), (64, 48), (64, 48))
        visible, infrared = random_pair(rng, 48, 64)
        fused = {}
        for backend, precision in HERE:
            if precision != "fp32":
                continue
            pipeline = FusionPipeline(
                "nano", "cpu", nano_weights, None, precision, half, backend=backend
            )
            pipeline.warm_up()
            fused[backend] = pipeline.fuse(visible, infrared)
            if backend == "openvino":  # the warm-up was of the frame's size
                assert len(pipeline.engine.backend._requests) == 1
        expected = fused.pop("torch")
        assert fused
        for result in fused.values():
            np.testing.assert_array_equal(result.fused[:, :32], visible[:, :32])
            assert (result.dominance_infrared[:, :32] == 0).all()
            assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
            np.testing.assert_allclose(
                result.dominance_infrared, expected.dominance_infrared, rtol=0, atol=FP32
            )


def silent_nano():
    """Whose output is the mean of both sources: no restoration, no residual, dominance ½."""
    of = network(network_config("nano"))
    for layer in (of.output, of.enhance[0].dominance.score, of.restore.gate.kernel):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.zeros_(of.restore.detail.kernel.bias)
    torch.nn.init.constant_(of.restore.gate.kernel.bias, -6)  # closed
    return of


@pytest.mark.parametrize("variant", ["nano", "tiny"])
class TestPackagedFiles:
    """The .onnx that OpenVINO reads and the .safetensors of torch are one network."""

    @pytest.mark.parametrize("backend", [name for name, precision in OTHERS if precision == "fp32"])
    def test_both_give_the_same(self, variant, backend, street, references):
        onnx = WEIGHTS_FOLDER / f"{variant}.onnx"
        fusing = FusionEngine(variant, "cpu", onnx, "fp32", backend=backend)
        assert_same(fusing.fuse(*street), references(f"packaged {variant}"))

    @needs_openvino
    def test_the_onnx_file_says_what_it_is(self, variant):
        source = ModelSource(variant)
        path = source.graph_file((".onnx", ".xml"))
        assert path == WEIGHTS_FOLDER / f"{variant}.onnx"
        assert read_graph(openvino_core(), path)[1] == source.info()

    def test_other_weights_would_be_seen(self, variant, street, references):
        other = engine("torch", of=network(network_config(variant)), variant=variant).fuse(*street)
        with pytest.raises(AssertionError):
            assert_same(other, references(f"packaged {variant}"))


class TestUse:
    @pytest.mark.parametrize(("backend", "precision"), HERE)
    def test_a_frame_is_not_written_into_by_the_next(self, backend, precision, rng):
        """And frames may come from another thread than the engine."""
        fusing = engine(backend, precision)
        frame = fusing.fuse(*random_pair(rng, 32, 64))
        kept = [frame.fused.copy(), frame.dominance.copy()]
        later = []
        pair = random_pair(rng, 32, 64)
        thread = threading.Thread(target=lambda: later.append(fusing.fuse(*pair)))
        thread.start()
        thread.join()
        assert not np.array_equal(later[0].fused, frame.fused)
        for array, copy in zip((frame.fused, frame.dominance), kept, strict=True):
            np.testing.assert_array_equal(array, copy)

    @pytest.mark.parametrize(("backend", "precision"), HERE)
    def test_the_backend_says_what_it_is(self, backend, precision):
        made = engine(backend, precision).backend
        assert (made.name, made.device, made.precision) == (backend, "cpu", precision)
        assert (made.luma, made.size_multiple) == (True, 32)

    def test_an_rgb_network_is_given_rgb(self):
        made = engine("torch", of=network(CONFIGS["paper, RGB"])).backend
        assert (made.luma, made.size_multiple) == (False, 8)

    @needs_openvino
    @pytest.mark.parametrize(("precision", "hint"), [("fp32", "f32"), ("bf16", "bf16")])
    def test_openvinos_precision_and_threads_are_as_asked(self, packaged, precision, hint):
        if precision not in packaged:
            pytest.skip(f"needs a processor with {precision}")
        request = packaged[precision].backend._request((1, 32, 8, 8))
        compiled = request.get_compiled_model()
        assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == hint
        assert compiled.get_property("INFERENCE_NUM_THREADS") == cpu_threads()
        assert not compiled.get_property("ENABLE_CPU_PINNING")

    @needs_openvino
    def test_openvinos_newest_sizes_are_kept_compiled(self):
        backend = engine("openvino").backend
        first, second, third = ((1, 32, side, 8) for side in (8, 16, 24))
        kept = [backend._request(shape) for shape in (first, second)]
        assert backend._request(first) is kept[0]
        backend._request(third)  # the second is now the oldest
        assert backend._request(first) is kept[0]
        assert second not in backend._requests
        assert len(backend._requests) == KEPT_SIZES

    @needs_openvino
    def test_a_size_that_tracing_would_make_a_constant_is_an_error(self):
        class Fixed(LeanDreamIF):
            def forward_phases(self, phases):
                return super().forward_phases(phases + int(phases.shape[2]))

        with pytest.raises(RuntimeError, match="by tracing"):
            convert(Fixed(network_config("nano")))

    def test_torch_rounds_only_the_weights_of_products(self):
        of = network(CONFIGS["paper, luma"])
        placed = TorchBackend(ModelSource("nano", network=of), "cpu", "bf16")._network
        assert all(parameter.dtype == torch.float32 for parameter in of.parameters())  # its own
        dtypes = {name: p.dtype for name, p in placed.named_parameters()}
        assert set(dtypes.values()) == {torch.float32, torch.bfloat16}
        for name, dtype in dtypes.items():
            exact = "norm" in name or name.endswith(("temperature", "prompts"))
            assert (dtype == torch.float32) == exact, name

    @needs_openvino
    def test_no_telemetry_and_no_connection(self, tmp_path):
        """In a process and a home of its own: importing openvino alone would report."""
        code = (
            "import socket, sys\n"
            "def record(name): return lambda *rest, **more: print('CALLED', name, flush=True)\n"
            "socket.socket.connect = record('connect')\n"
            "socket.getaddrinfo = record('getaddrinfo')\n"
            "import numpy as np\n"
            "from dreamif_model import FusionPipeline\n"
            "pipeline = FusionPipeline('nano', 'cpu', backend='openvino')\n"
            "result = pipeline.fuse(np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8))\n"
            "import openvino\n"
            "print(result.fused.shape, 'openvino_telemetry' in sys.modules)\n"
        )
        assert run_python(code, HOME=str(tmp_path)) == ("(16, 16, 3) False\n", "")
        assert list(tmp_path.iterdir()) == []


SIGNALS = """
import os, signal
import numpy as np
from dreamif_model.engine import FusionEngine

heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
image = np.zeros((64, 64), np.uint8)
engines = [FusionEngine("nano", "cpu", backend="openvino") for _ in range(3)]
while engines:  # the first made ends first
    engines.pop(0).fuse(image, image)
    os.kill(os.getpid(), signal.SIGUSR1)
print(heard)
"""


def test_signals_are_heard_when_engines_have_come_and_gone():
    """OpenVINO's cores left a freed stack for signals behind: a crash at the next one."""
    command = [sys.executable, "-c", SIGNALS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[1, 1, 1]\n"), done.stderr


class TestAuto:
    @pytest.fixture
    def no_cuda(self, monkeypatch):
        monkeypatch.setattr(backends, "cuda_is_here", lambda: False)

    @pytest.fixture
    def cuda(self, monkeypatch):
        monkeypatch.setattr(backends, "cuda_is_here", lambda: True)

    @pytest.fixture
    def no_openvino(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "openvino", None)
        monkeypatch.setattr(backends, "_warned", True)

    @needs_openvino
    @pytest.mark.usefixtures("no_cuda")
    def test_openvino_on_a_cpu(self):
        made = FusionEngine("nano").backend
        bf16 = ("openvino", "bf16") in HERE
        found = (made.name, made.device, made.precision)
        assert found == ("openvino", "cpu", "bf16" if bf16 else "fp32")

    @needs_openvino
    @pytest.mark.parametrize(
        ("device", "suffix", "expected"),
        [
            ("auto", "", "torch"),
            ("auto", ".safetensors", "torch"),
            ("auto", ".onnx", "onnxruntime"),
            ("auto", ".xml", "openvino"),
            ("cpu", "", "openvino"),
            ("cpu", ".safetensors", "openvino"),
            ("cpu", ".onnx", "openvino"),
            ("cpu", ".torchscript", "torch"),
            ("cuda:1", "", "torch"),
            ("cuda:1", ".onnx", "onnxruntime"),
            ("cuda:1", ".TorchScript", "torch"),
        ],
    )
    @pytest.mark.usefixtures("cuda")
    def test_beside_a_gpu(self, device, suffix, expected, tmp_path):
        source = ModelSource("nano", tmp_path / f"a{suffix}" if suffix else None)
        assert choose_backend("auto", device, source) == expected

    @pytest.mark.parametrize(
        ("suffix", "expected"),
        [
            ("", "torch"),
            (".safetensors", "torch"),
            (".onnx", "onnxruntime"),
            (".torchscript", "torch"),
            (".xml", "openvino"),  # nothing else reads it: an error that says what to install
        ],
    )
    @pytest.mark.usefixtures("no_cuda", "no_openvino")
    def test_without_openvino(self, suffix, expected, tmp_path):
        source = ModelSource("nano", tmp_path / f"a{suffix}" if suffix else None)
        assert choose_backend("auto", "auto", source) == expected

    def test_without_openvino_torch_is_taken_and_one_warning_logged(self):
        """In a process of its own, where no import of it can have been before."""
        code = (
            "import sys\n"
            "sys.modules['openvino'] = None\n"
            "from dreamif_model.engine import FusionEngine\n"
            "for _ in range(3): made = FusionEngine('nano', 'cpu').backend\n"
            "print(made.name, made.device, made.precision)\n"
        )
        out, errors = run_python(code)
        assert out == "torch cpu fp32\n"
        assert errors.count("OpenVINO is not installed") == 1
        assert errors.strip().endswith("pip install openvino")

    def test_where_it_is_here_or_another_was_asked_for_nothing_is_logged(self, caplog, monkeypatch):
        with caplog.at_level(logging.DEBUG, logger="dreamif_model.backends"):
            if ("openvino", "fp32") in HERE:
                FusionEngine("nano", "cpu")
            monkeypatch.setitem(sys.modules, "openvino", None)
            monkeypatch.setattr(backends, "_warned", False)
            FusionEngine("nano", "cpu", backend="torch")
            FusionEngine("average", "cpu")
        assert [r for r in caplog.records if r.name == "dreamif_model.backends"] == []

    def test_every_backend_is_here_or_says_what_to_install(self):
        """`available` lists what can be built, and nothing else."""
        names = {name for name, _ in HERE}
        for backend in BACKENDS[1:]:
            if backend in names:
                assert engine(backend).backend.name == backend
            else:
                with pytest.raises(DeviceError, match=backend):
                    engine(backend)
        assert (("torch", "bf16") in HERE) == cpu_has_bf16()


class TestRefused:
    @pytest.mark.parametrize("variant", ["nano", "average"])
    @pytest.mark.parametrize("name", ["onnx", "", "OpenVINO", None])
    def test_an_unknown_backend(self, name, variant):
        expected = r"unknown backend .*: choose one of auto, torch, openvino, onnxruntime, tensorrt"
        with pytest.raises(ConfigError, match=expected):
            FusionPipeline(variant, "cpu", backend=name)

    @pytest.mark.parametrize("variant", ["nano", "average"])
    @pytest.mark.parametrize("name", ["half", "", "FP16", "float32"])
    def test_an_unknown_precision(self, name, variant):
        with pytest.raises(ConfigError, match=r"unknown precision.*choose auto, fp32, fp16, bf16"):
            FusionEngine(variant, "cpu", precision=name)

    @needs_openvino
    @pytest.mark.parametrize("device", ["cuda", "cuda:1"])
    def test_openvino_on_cuda(self, device):
        with pytest.raises(ConfigError, match=f"CPU only: got device '{device}', choose cpu or"):
            FusionPipeline("nano", device, backend="openvino")

    @pytest.mark.parametrize(
        ("backend", "precision", "words"),
        [
            ("torch", "fp16", "on the CPU choose fp32 or bf16"),
            ("openvino", "fp16", "openvino has no precision fp16: choose fp32, bf16 or auto"),
            ("onnxruntime", "fp16", "precision of its file, fp32: got 'fp16', choose fp32 or auto"),
            ("onnxruntime", "bf16", "precision of its file, fp32: got 'bf16', choose fp32 or auto"),
        ],
    )
    def test_a_precision_that_a_backend_lacks(self, backend, precision, words):
        if backend not in {name for name, _ in HERE}:
            pytest.skip(f"needs {backend}")
        with pytest.raises(ConfigError, match=words):
            engine(backend, precision)

    @needs_openvino
    def test_bf16_where_the_processor_has_none(self, monkeypatch):
        class Old:
            def get_property(self, *_):
                return ["FP32", "INT8"]

        made = OpenVINOBackend.__new__(OpenVINOBackend)
        monkeypatch.setattr(made, "_core", Old(), raising=False)
        assert made._resolve("auto") == "fp32"
        with pytest.raises(ConfigError, match="no bf16 on this processor: choose precision fp32"):
            made._resolve("bf16")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    @pytest.mark.parametrize("backend", ["auto", "torch"])
    @pytest.mark.parametrize("device", ["cuda", "cuda:1"])
    def test_a_missing_card(self, backend, device):
        with pytest.raises(DeviceError, match=rf"device '{device}' was asked for.* sees 0 CUDA"):
            FusionEngine("nano", device, backend=backend)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    @needs_onnxruntime
    def test_a_missing_card_for_onnxruntime(self):
        with pytest.raises(DeviceError, match=r"device 'cuda' was asked for.*no CUDA provider"):
            FusionEngine("nano", "cuda", backend="onnxruntime")

    @pytest.mark.parametrize(
        ("backend", "package"),
        [("torch", "torch"), ("openvino", "openvino"), ("onnxruntime", "onnxruntime")],
    )
    def test_a_backend_that_is_not_installed(self, backend, package, monkeypatch):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(DeviceError) as caught:
            make_backend(ModelSource("nano"), backend, "cpu", "auto")
        text = str(caught.value)
        assert f"backend {backend} was asked for" in text
        assert f"pip install {package}" in text
        assert "\n" not in text

    def test_one_that_is_installed_but_broken(self, monkeypatch):
        def fail(name):
            raise ImportError(f"{name}.so: cannot open shared object file")

        module = "dreamif_model.backends.openvino"
        monkeypatch.setattr(f"{module}.openvino_core", openvino_core.__wrapped__)
        monkeypatch.setattr(f"{module}.importlib.import_module", fail)
        with pytest.raises(DeviceError, match=r"OpenVINO cannot be imported \(openvino.so: cannot"):
            OpenVINOBackend(ModelSource("nano"), "cpu", "auto")
        assert "openvino_telemetry" not in sys.modules

    def test_tensorrt_without_a_card(self):
        if importlib.util.find_spec("tensorrt"):
            pytest.skip("there is TensorRT")
        with pytest.raises(DeviceError, match="tensorrt is not installed: pip install tensorrt"):
            engine("tensorrt")


def test_average_does_without_any_backend(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    pair = random_pair(rng, 20, 30)
    results = [FusionEngine("average", "cpu", backend=name).fuse(*pair) for name in BACKENDS]
    for result in results[1:]:
        np.testing.assert_array_equal(result.fused, results[0].fused)


class TestCommandLine:
    @pytest.mark.parametrize(("backend", "precision"), HERE)
    def test_fuse(self, backend, precision, tmp_path, rng, capfd):
        visible, infrared = random_pair(rng, 32, 64)
        for name, image in (("vi", visible), ("ir", infrared)):
            write_image(tmp_path / f"{name}.png", image)
        paths = [f"--{name}={tmp_path / f'{name}.png'}" for name in ("ir", "vi")]
        options = ["--backend", backend, "--precision", precision, "--device", "cpu"]
        assert cli.main(["fuse", *paths, *options, "--out", str(tmp_path / "out")]) == 0, (
            capfd.readouterr().err
        )
        expected = engine(backend, precision).fuse(visible, infrared)
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "vi.png"), expected.fused)

    def test_fuse_refuses_another_backend(self, capfd):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["fuse", "--ir=a", "--vi=b", "--out=c", "--backend", "onnx"])
        assert stopped.value.code == 2
        assert "invalid choice: 'onnx'" in capfd.readouterr().err
