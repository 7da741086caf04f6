"""Which backend `auto` takes, and what is refused."""

import importlib.util
import logging
import sys

import numpy as np
import pytest
import torch
from helpers.backends import (
    HERE,
    engine,
    needs_onnxruntime,
    needs_openvino,
    random_pair,
    run_python,
)

from dreamif_model import ConfigError, DeviceError, FusionPipeline, backends
from dreamif_model.backends import BACKENDS, choose_backend, make_backend
from dreamif_model.backends.openvino import (
    OpenVINOBackend,
    openvino_core,
)
from dreamif_model.device import bf16_is_fast, cpu_has_bf16
from dreamif_model.engine import FusionEngine
from dreamif_model.model_files.model_source import ModelSource


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
        monkeypatch.setattr(backends, "_warn_of_missing_openvino", lambda: None)

    @needs_openvino
    @pytest.mark.usefixtures("no_cuda")
    def test_openvino_on_a_cpu(self):
        made = FusionEngine("nano").backend
        bf16 = ("openvino", "bf16") in HERE and bf16_is_fast()
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
        """In a new process, where OpenVINO is not imported yet."""
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
            backends._warn_of_missing_openvino.cache_clear()
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
        monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)  # of another test
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
