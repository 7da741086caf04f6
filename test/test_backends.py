"""Backend openvino: the same images as torch, from the CPU only, and nothing sent to anybody."""

import importlib.util
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from dreamif_model.openvino_network import KEPT_SIZES, OpenVINONetwork

from dreamif_model import Calibration, ConfigError, DeviceError, FusionPipeline
from dreamif_model.data import read_rgb, write_image
from dreamif_model.device import BACKENDS, resolve_device
from dreamif_model.engine import FusionEngine
from dreamif_model.network import DreamIF
from dreamif_model.registration.geometry import Homography
from dreamif_model.variants import SWITCHES, network_config
from dreamif_ros import cli
from dreamif_ros.scene import Scene, SceneConfig

# Both add in fp32, in another order: that differs by some units of 2⁻²⁴ for each of the network's
# 40 layers, 1e-6 as measured. A gray level is 4e-3.
FP32 = 1e-5
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO"
)


def network(variant="nano", without=()):
    """With random weights, always the same."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return DreamIF(network_config(variant, without)).eval()


def engine(backend, precision="fp32", of=None):
    """With the packaged weights of nano, or a network of one's own."""
    return FusionEngine("nano", "cpu", precision=precision, network=of, backend=backend)


def random_pair(rng, *shape):
    visible = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return visible, rng.random(shape, dtype=np.float32)


def layers(fusing, visible, infrared):
    """Fused, dominance and restored, as the network gives them: fp32, not yet gray levels."""
    with torch.inference_mode():
        _, *inputs = fusing._prepare(fusing._upload(visible), fusing._upload(infrared))
        return [tensor.numpy() for tensor in fusing._fuse_layers(*inputs)]


def assert_same(result, expected):
    """Of two fp32 results: gray levels that round the other way are few."""
    different = result.fused != expected.fused
    assert different.mean() < 1e-3
    assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
    np.testing.assert_allclose(result.dominance, expected.dominance, rtol=0, atol=FP32)


@pytest.fixture(scope="module")
def scene():
    """A drawn street: visible (240, 320, 3) uint8, infrared (240, 320) float32 in [0, 1]."""
    drawn = Scene(SceneConfig(visible_size=(320, 240), infrared_size=(320, 240)))
    counts = drawn.infrared(1.0).astype(np.float32)
    low, high = np.percentile(counts, (1, 99))
    return drawn.visible(1.0), ((counts - low) / (high - low)).clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def packaged():
    """Backend openvino with the packaged weights, by precision."""
    return {precision: engine("openvino", precision) for precision in ("fp32", "bf16")}


@needs_openvino
class TestSameAsTorch:
    @pytest.mark.parametrize(
        ("variant", "without"),
        [("nano", ()), ("tiny", ()), *(("nano", (switch,)) for switch in SWITCHES)],
    )
    def test_fp32_at_any_size(self, variant, without, rng):
        """Odd sizes, taken in turn."""
        of = network(variant, without)
        fusing, reference = engine("openvino", of=of), engine("torch", of=of)
        for shape in ((97, 130), (32, 64), (97, 130)):
            pair = random_pair(rng, *shape)
            expected = layers(reference, *pair)
            results = layers(fusing, *pair)
            assert len(results) == len(expected) == 3
            for result, wanted in zip(results, expected, strict=True):
                np.testing.assert_allclose(result, wanted, rtol=0, atol=FP32)

    def test_packaged_weights_on_a_street(self, packaged, scene):
        expected = engine("torch").fuse(*scene)
        assert expected.dominance.std() > 0.05  # there is something to see
        assert_same(packaged["fp32"].fuse(*scene), expected)

    def test_bf16_is_as_near_fp32_as_torchs(self, packaged, scene):
        """It keeps 8 bits: torch's bf16 is up to 0.025 off in dominance and 2 gray levels."""
        exact, rounded = (packaged[name].fuse(*scene) for name in ("fp32", "bf16"))
        difference = np.abs(exact.fused.astype(int) - rounded.fused)
        assert 0 < difference.mean() < 0.5
        assert difference.max() <= 4
        assert rounded.dominance == pytest.approx(exact.dominance, abs=0.05)

    def test_images_stay_fp32_around_the_network(self, scene):
        """Where the network adds nothing, bf16's 8 bits cost the sources nothing."""
        of = network()
        for layer in (of.output, of.restore, *of.decoder[2].enhance.dominance.conv):
            torch.nn.init.zeros_(layer.weight)  # dominance ½
        expected = engine("torch", of=of).fuse(*scene)
        result = engine("openvino", "bf16", of).fuse(*scene)
        np.testing.assert_array_equal(result.fused, expected.fused)

    def test_weights_from_a_file_and_a_registration(self, nano_weights, rng):
        """Where infrared does not reach, exactly the visible image."""
        shift = np.array([[1.0, 0, 32], [0, 1, 0], [0, 0, 1]])
        half = Calibration(Homography(shift), (64, 48), (64, 48))
        visible = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        infrared = rng.integers(0, 256, (48, 64), dtype=np.uint8)
        fused = {}
        for backend in BACKENDS:
            pipeline = FusionPipeline(
                "nano", "cpu", nano_weights, None, "fp32", half, backend=backend
            )
            pipeline.warm_up()
            fused[backend] = pipeline.fuse(visible, infrared)
        assert len(pipeline.engine._openvino._requests) == 1  # the warm-up was of the frame's size
        result, expected = fused["openvino"], fused["torch"]
        np.testing.assert_array_equal(result.fused[:, :32], visible[:, :32])
        assert (result.dominance_infrared[:, :32] == 0).all()
        assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
        np.testing.assert_allclose(
            result.dominance_infrared, expected.dominance_infrared, rtol=0, atol=FP32
        )

    def test_a_gray_image_and_one_color_are_fused_too(self, packaged, rng):
        for visible, infrared in (
            (rng.integers(0, 256, (37, 53), dtype=np.uint8), rng.random((37, 53), np.float32)),
            (np.zeros((37, 53, 3), np.uint8), np.zeros((37, 53), np.float32)),
        ):
            expected = engine("torch").fuse(visible, infrared)
            assert_same(packaged["fp32"].fuse(visible, infrared), expected)


@needs_openvino
class TestUse:
    def test_a_frame_is_not_written_into_by_the_next(self, packaged, rng):
        """Layers too; and frames may come from another thread than the engine."""
        fusing = packaged["fp32"]
        first = layers(fusing, *random_pair(rng, 32, 48))
        frame = fusing.fuse(*random_pair(rng, 32, 48))
        kept = [array.copy() for array in (*first, frame.fused, frame.dominance)]
        later = []
        pair = random_pair(rng, 32, 48)
        thread = threading.Thread(target=lambda: later.append(fusing.fuse(*pair)))
        thread.start()
        thread.join()
        assert not np.array_equal(later[0].fused, frame.fused)
        for array, copy in zip((*first, frame.fused, frame.dominance), kept, strict=True):
            np.testing.assert_array_equal(array, copy)

    @pytest.mark.parametrize(("precision", "hint"), [("fp32", "f32"), ("bf16", "bf16")])
    def test_precision_and_threads_are_as_asked(self, packaged, precision, hint):
        request = packaged[precision]._openvino._request(torch.Size((1, 1, 16, 16)))
        compiled = request.get_compiled_model()
        assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == hint
        assert compiled.get_property("INFERENCE_NUM_THREADS") == torch.get_num_threads()

    def test_the_newest_sizes_are_kept_compiled(self, packaged):
        requests = packaged["fp32"]._openvino
        kept = [requests._request(torch.Size((1, 1, side, 16))) for side in (16, 32)]
        assert requests._request(torch.Size((1, 1, 16, 16))) is kept[0]
        requests._request(torch.Size((1, 1, 48, 16)))  # 32 is now the oldest
        assert requests._request(torch.Size((1, 1, 16, 16))) is kept[0]
        assert torch.Size((1, 1, 32, 16)) not in requests._requests
        assert len(requests._requests) == KEPT_SIZES

    def test_a_size_that_tracing_would_make_a_constant_is_an_error(self):
        class Fixed(DreamIF):
            def forward(self, infrared, visible):
                side = int(infrared.shape[2])
                return super().forward(infrared + side, visible)

        with pytest.raises(RuntimeError, match="by tracing"):
            OpenVINONetwork(Fixed(network_config("nano")), "fp32")

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
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout == "(16, 16, 3) False\n"
        assert ran.stderr == ""
        assert list(tmp_path.iterdir()) == []


class TestRefused:
    @pytest.mark.parametrize("name", ["onnx", "", "OpenVINO", None])
    def test_an_unknown_backend(self, name):
        with pytest.raises(ConfigError, match=r"unknown backend .*: choose torch or openvino"):
            FusionPipeline("average", "cpu", backend=name)

    @pytest.mark.parametrize("device", ["cuda", "cuda:1"])
    @pytest.mark.parametrize("variant", ["nano", "average"])
    def test_cuda(self, variant, device):
        with pytest.raises(ConfigError, match=f"CPU only: got device '{device}', choose cpu or"):
            FusionPipeline(variant, device, backend="openvino")

    def test_fp16(self):
        with pytest.raises(ConfigError, match="on the CPU choose fp32 or bf16"):
            FusionPipeline("nano", "auto", precision="fp16", backend="openvino")

    @needs_openvino
    def test_bf16_where_the_processor_has_none(self, monkeypatch):
        monkeypatch.setattr(OpenVINONetwork, "_capabilities", lambda _: ["FP32", "INT8"])
        with pytest.raises(ConfigError, match="no bf16 on this processor: choose precision fp32"):
            engine("openvino", "bf16", network())

    def test_auto_is_the_cpu_even_beside_a_gpu(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert resolve_device("auto", "openvino") == torch.device("cpu")
        assert resolve_device("cpu", "openvino") == torch.device("cpu")


class TestWithoutOpenVINO:
    @pytest.fixture(autouse=True)
    def missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "openvino", None)

    def test_one_line_says_what_to_install(self):
        with pytest.raises(DeviceError) as caught:
            FusionPipeline("nano", "cpu", backend="openvino")
        text = str(caught.value)
        assert "OpenVINO cannot be imported" in text
        assert "pip install 'dreamif_ros[openvino]', or take backend torch" in text
        assert "\n" not in text
        assert "openvino_telemetry" not in sys.modules

    def test_average_does_without(self, rng):
        pair = random_pair(rng, 20, 30)
        results = [FusionEngine("average", "cpu", backend=name).fuse(*pair) for name in BACKENDS]
        np.testing.assert_array_equal(results[0].fused, results[1].fused)

    def test_the_benchmark_fails_before_anything_is_measured(self, capfd, monkeypatch):
        monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_apart", None)
        assert cli.main(["benchmark", "--backend", "torch", "--backend", "openvino"]) == 1
        error = capfd.readouterr().err
        assert "pip install 'dreamif_ros[openvino]'" in error
        assert error.count("\n") == 1


@needs_openvino
class TestCommandLine:
    def test_fuse(self, packaged, tmp_path, rng, capfd):
        visible = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        infrared = rng.integers(0, 256, (32, 48), dtype=np.uint8)
        for name, image in (("vi", visible), ("ir", infrared)):
            write_image(tmp_path / f"{name}.png", image)
        paths = [f"--{name}={tmp_path / f'{name}.png'}" for name in ("ir", "vi")]
        options = ["--backend", "openvino", "--precision", "bf16", "--out", str(tmp_path / "out")]
        assert cli.main(["fuse", *paths, *options]) == 0, capfd.readouterr().err
        expected = packaged["bf16"].fuse(visible, infrared.astype(np.float32) / 255)
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / "vi.png"), expected.fused)

    def test_fuse_refuses_another_backend(self, capfd):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["fuse", "--ir=a", "--vi=b", "--out=c", "--backend", "onnx"])
        assert stopped.value.code == 2
        assert "invalid choice: 'onnx'" in capfd.readouterr().err

    def test_benchmark(self, tmp_path, capfd):
        """A row for each backend; the average, which has no network, once."""
        path = tmp_path / "benchmark.json"
        options = ["--backend", "torch", "--backend", "openvino", "--size", "64x48"]
        options += ["--frames", "2", "--warmup", "1", "--threads", "1", "--json", str(path)]
        assert cli.main(["benchmark", *options]) == 0, capfd.readouterr().err
        written = json.loads(path.read_text())
        rows = [(row["variant"], row["backend"]) for row in written["rows"]]
        assert rows == [("nano", "torch"), ("nano", "openvino"), ("average", "torch")]
        assert written["machine"]["OpenVINO"].startswith("20")
