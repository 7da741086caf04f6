"""How engines and their backends are used."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from helpers.backends import CONFIGS, HERE, engine, needs_openvino, network, random_pair, run_python

from dreamif_model.backends.interface import OUTPUTS
from dreamif_model.backends.openvino import (
    KEPT_SIZES,
)
from dreamif_model.backends.openvino_convert import convert
from dreamif_model.backends.pytorch import TorchBackend
from dreamif_model.device import cpu_threads
from dreamif_model.image_files import read_rgb, write_image
from dreamif_model.model_files.graph_info import GraphInfo
from dreamif_model.model_files.model_source import ModelSource
from dreamif_model.network import LeanDreamIF
from dreamif_model.variants import network_config
from dreamif_ros import cli


@pytest.fixture(scope="module")
def packaged():
    """Backend openvino with the packaged weights, by precision."""
    return {name: engine("openvino", name) for backend, name in HERE if backend == "openvino"}


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
        request = packaged[precision].backend._request((1, 34, 8, 8))
        compiled = request.get_compiled_model()
        assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == hint
        assert compiled.get_property("INFERENCE_NUM_THREADS") == cpu_threads()
        assert not compiled.get_property("ENABLE_CPU_PINNING")

    @needs_openvino
    def test_openvinos_newest_sizes_are_kept_compiled(self):
        backend = engine("openvino").backend
        first, second, third = ((1, 34, side, 8) for side in (8, 16, 24))
        kept = [backend._request(shape) for shape in (first, second)]
        assert backend._request(first) is kept[0]
        backend._request(third)  # the second is now the oldest
        assert backend._request(first) is kept[0]
        assert (second, OUTPUTS) not in backend._requests
        assert len(backend._requests) == KEPT_SIZES

    @needs_openvino
    def test_a_size_that_tracing_would_make_a_constant_is_an_error(self):
        config = network_config("nano")

        class Fixed(LeanDreamIF):
            def forward_phases(self, phases, noise=None):
                return super().forward_phases(phases + int(phases.shape[2]), noise)

        with pytest.raises(RuntimeError, match="by tracing"):
            convert(Fixed(config), GraphInfo.of("nano", config))

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
        """In a new process with an empty home; importing openvino alone would send a report."""
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
