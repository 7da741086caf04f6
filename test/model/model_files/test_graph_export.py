"""`dreamif export`: files that other engines run, checked beside torch; and as weights of ours."""

import dataclasses
import functools
import importlib.util
import json
import sys

import numpy as np
import pytest
import torch

from dreamif_model import ConfigError, DreamIFError, FusionPipeline, ImageError, WeightsError
from dreamif_model.backends.openvino import import_openvino, openvino_core, read_graph
from dreamif_model.backends.phases import PhasePacker
from dreamif_model.backends.pytorch import read_torchscript
from dreamif_model.cameras import Both
from dreamif_model.engine import FusionEngine
from dreamif_model.image_files import write_image
from dreamif_model.model_files import graph_export as exports
from dreamif_model.model_files.checkpoints import load_network, save_weights
from dreamif_model.model_files.graph_info import GRAPH_FORMAT, GRAPH_KEY, GraphInfo
from dreamif_model.model_files.model_source import EXPORTED
from dreamif_model.network import make_network
from dreamif_model.variants import network_config
from dreamif_ros import cli
from dreamif_ros.cli import export as verb
from dreamif_ros.cli.export import FORMATS, _drawn

NEEDS = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",), "torchscript": ()}
SIZE = 96, 64  # width and height, of files of one size
OTHER = 64, 128
# That run a format, in fp32.
RUNS = {
    "onnx": ("openvino", "onnxruntime"),
    "openvino": ("openvino",),
    "torchscript": ("torch",),
}


needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO"
)


def missing(*names):
    return next((name for name in names if importlib.util.find_spec(name) is None), None)


def call(path, *options):
    """Status of the command."""
    kind = {suffix: name for name, suffix in exports.SUFFIXES.items()}[path.suffix]
    return cli.main(["export", "--format", kind, "--out", str(path), *options])


@pytest.fixture(scope="module", autouse=True)
def draws_once():
    """The street costs more than most files that are tried with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "_drawn", functools.cache(_drawn))
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file with random weights of nano."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        network = make_network(network_config("nano"))
    path = tmp_path_factory.mktemp("weights") / "nano.safetensors"
    save_weights(network, "nano", path)
    return path


@pytest.fixture(scope="module")
def network(weights):
    return load_network("nano", weights)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, weights):
    """Exported files, by format, whether whole, whether of one size; made when first asked for."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def export(kind, whole=False, fixed=False):
        lacking = missing(*NEEDS[kind])
        if lacking:
            pytest.skip(f"needs {lacking}")
        key = kind, whole, fixed
        if key not in made:
            name = f"{kind}_{'whole' if whole else 'network'}_{'fixed' if fixed else 'any'}"
            path = folder / f"{name}{exports.SUFFIXES[kind]}"
            options = ["--weights", str(weights), *(["--whole"] if whole else [])]
            options += ["--size", f"{SIZE[0]}x{SIZE[1]}"] if fixed else []
            assert call(path, *options) == 0
            made[key] = path
        return made[key]

    return export


def info_of(path):
    if path.suffix == ".torchscript":
        return read_torchscript(path)[1]
    if path.suffix == ".xml":
        return read_graph(openvino_core(), path)[1]
    onnx = pytest.importorskip("onnx")
    (entry,) = (p for p in onnx.load(path).metadata_props if p.key == GRAPH_KEY)
    return GraphInfo.from_json(entry.value, path)


def images(rng, size):
    """Infrared and visible RGB."""
    width, height = size
    visible = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return rng.integers(0, 256, (height, width), dtype=np.uint8), visible


def inputs(rng, info, size):
    """Arrays for the inputs of a file."""
    infrared, visible = images(rng, size)
    if info.whole:
        return infrared[None, None], np.ascontiguousarray(visible.transpose(2, 0, 1))[None]
    noise = Both.make(lambda _: rng.uniform(0, 40, (size[1] // 4, size[0] // 4)).astype(np.float32))
    packer = PhasePacker(info.stem, info.noise_map)
    return (packer.pack(infrared, visible[..., 1], noise),)


def test_the_formats_are_one_story():
    assert tuple(exports.SUFFIXES) == FORMATS
    assert set(exports.SUFFIXES.values()) == EXPORTED.keys()


@pytest.mark.parametrize("fixed", [False, True], ids=["any size", "one size"])
@pytest.mark.parametrize("whole", [False, True], ids=["network", "whole"])
@pytest.mark.parametrize("kind", FORMATS)
class TestFiles:
    def test_they_say_what_they_are(self, exported, kind, whole, fixed):
        path = exported(kind, whole, fixed)
        width, height = SIZE if fixed else (0, 0)
        expected = GraphInfo("nano", 4, 1, 32, True, height, width, whole)
        found = info_of(path)
        assert found == expected
        assert found.format == GRAPH_FORMAT
        assert "research" in found.licence

    def test_they_give_what_torch_gives(self, exported, kind, whole, fixed, network, rng):
        path = exported(kind, whole, fixed)
        info = info_of(path)
        sizes = [SIZE, SIZE] if fixed else [SIZE, OTHER, SIZE]
        found = exports.compare(network, info, path, [inputs(rng, info, size) for size in sizes])
        assert found.fused <= exports.FUSED_TOLERANCE
        assert found.dominance <= exports.DOMINANCE_TOLERANCE + (1 / 255 if whole else 0)

    def test_other_weights_are_seen(self, exported, kind, whole, fixed, nano, rng):
        path = exported(kind, whole, fixed)
        info = info_of(path)
        with pytest.raises(DreamIFError, match=r"differs from eager torch by .*: do not use it"):
            exports.compare(nano, info, path, [inputs(rng, info, SIZE)])


class TestPairs:
    @pytest.mark.parametrize("size", ["32x32", "64x32"])
    def test_drawn_ones_are_of_the_files_size(self, size, weights, tmp_path, capfd):
        """Even if the street cannot be drawn so small."""
        path = tmp_path / "a.torchscript"
        assert call(path, "--weights", str(weights), "--size", size) == 0
        printed = capfd.readouterr().out.splitlines()
        assert printed[0] == f"{path}: nano, network, {size}"
        assert printed[1].startswith(f"maximum difference from torch on 2 pairs of {size}: ")

    def test_pairs_of_the_users_own_are_tried(self, weights, tmp_path, rng, capfd):
        for name, image in zip(("ir", "vi"), images(rng, (53, 37)), strict=True):
            write_image(tmp_path / f"{name}.png", image)
        paths = [f"--{name}={tmp_path / f'{name}.png'}" for name in ("ir", "vi")]
        assert call(tmp_path / "a.torchscript", "--weights", str(weights), *paths) == 0
        assert "difference from torch on 1 pairs of 256x192: " in capfd.readouterr().out


class TestWhole:
    @pytest.mark.parametrize("kind", FORMATS)
    def test_the_way_is_the_engines(self, exported, kind, weights):
        """Images in, images out, in gray levels; a drawn pair, whose noise is little."""
        infrared, visible = _drawn((192, 128))[0]
        arrays = infrared[None, None], np.ascontiguousarray(visible.transpose(2, 0, 1))[None]
        path = exported(kind, whole=True)
        fused, dominance = exports._RUNNERS[path.suffix](path)(arrays)
        assert (fused.dtype, dominance.dtype) == (np.uint8, np.uint8)
        assert (fused.shape, dominance.shape) == ((1, 3, 128, 192), (1, 2, 128, 192))
        expected = FusionEngine("nano", "cpu", weights, "fp32", backend="torch")
        expected.backend.fuse = without_removed(expected.backend.fuse)
        result = expected.fuse(visible, infrared)
        # Luma is rounded once more here, or once less there.
        assert np.abs(fused[0].transpose(1, 2, 0).astype(int) - result.fused).max() <= 2
        assert np.abs(dominance[0] / 255 - result.dominance).max() <= 1.01 / 255


def without_removed(fuse):
    """Chroma is not smoothed in whole files, as the help says."""
    return lambda *pair: dataclasses.replace(fuse(*pair), removed=None)


class TestAsWeights:
    @pytest.mark.parametrize(
        ("kind", "backend"), [(kind, backend) for kind in FORMATS for backend in RUNS[kind]]
    )
    def test_the_engine_gives_the_same(self, exported, kind, backend, weights, rng):
        """Images of any size, with any weights."""
        if missing(backend):
            pytest.skip(f"needs {backend}")
        fusing = FusionEngine("nano", "cpu", exported(kind), "fp32", backend=backend)
        reference = FusionEngine("nano", "cpu", weights, "fp32", backend="torch")
        assert fusing.backend.name == backend
        for size in ((171, 131), (96, 64)):
            infrared, visible = images(rng, size)
            result, expected = fusing.fuse(visible, infrared), reference.fuse(visible, infrared)
            assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
            np.testing.assert_allclose(result.dominance, expected.dominance, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("kind", FORMATS)
    def test_the_packaged_weights_survive_the_way(self, kind, tmp_path, rng, capfd):
        """Exported without --weights, read by what auto takes; nothing else is left beside it."""
        if missing(*NEEDS[kind]):
            pytest.skip(f"needs {missing(*NEEDS[kind])}")
        path = tmp_path / f"nano{exports.SUFFIXES[kind]}"
        assert call(path) == 0
        printed = capfd.readouterr().out.splitlines()
        assert printed[0] == f"{path}: nano, network, any size"
        assert printed[1].startswith("maximum difference from torch on 2 pairs of 256x192: ")
        names = {path.name} | ({"nano.bin"} if kind == "openvino" else set())
        assert {file.name for file in tmp_path.iterdir()} == names
        infrared, visible = images(rng, (96, 64))
        result = FusionPipeline("nano", "cpu", path, precision="fp32").fuse(visible, infrared)
        expected = FusionPipeline("nano", "cpu", precision="fp32").fuse(visible, infrared)
        assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
        np.testing.assert_allclose(
            result.dominance_infrared, expected.dominance_infrared, rtol=0, atol=1e-5
        )

    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_file_of_one_size_fuses_what_is_padded_to_it(self, exported, kind, weights, rng):
        infrared, visible = images(rng, (SIZE[0] - 5, SIZE[1] - 31))
        backend = RUNS[kind][0]
        fusing = FusionEngine("nano", "cpu", exported(kind, fixed=True), "fp32", backend=backend)
        reference = FusionEngine("nano", "cpu", weights, "fp32", backend="torch")
        result, expected = fusing.fuse(visible, infrared), reference.fuse(visible, infrared)
        assert np.abs(result.fused.astype(int) - expected.fused).max() <= 1
        FusionPipeline("nano", "cpu", exported(kind, fixed=True), backend=backend).warm_up()

    @pytest.mark.parametrize("kind", FORMATS)
    def test_another_size_than_the_files_is_refused(self, exported, kind, rng):
        infrared, visible = images(rng, OTHER)
        for backend in RUNS[kind]:
            if missing(backend):
                continue
            fusing = FusionEngine("nano", "cpu", exported(kind, fixed=True), backend=backend)
            with pytest.raises(ImageError, match=r"is for images of 96x64 only.* got 64x128"):
                fusing.fuse(visible, infrared)

    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_whole_file_is_refused_in_one_line(self, exported, kind):
        for backend in RUNS[kind]:
            if missing(backend):
                continue
            with pytest.raises(WeightsError, match="exported without --whole") as caught:
                FusionEngine("nano", "cpu", exported(kind, whole=True), backend=backend)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("backend", "suffix", "words"),
        [
            ("torch", ".onnx", "format of ONNX, .*: give .safetensors or .torchscript, or choose"),
            ("torch", ".xml", "format of OpenVINO"),
            ("openvino", ".torchscript", "of TorchScript, .*: give .onnx or .safetensors or .xml"),
            ("onnxruntime", ".xml", "format of OpenVINO, .*: give .onnx or .safetensors"),
            ("onnxruntime", ".torchscript", "format of TorchScript"),
        ],
    )
    def test_a_format_that_a_backend_does_not_read(self, backend, suffix, words, tmp_path):
        if missing(backend):
            pytest.skip(f"needs {backend}")
        with pytest.raises(ConfigError, match=words):
            FusionEngine("nano", "cpu", tmp_path / f"a{suffix}", backend=backend)

    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_missing_file(self, kind, tmp_path):
        for backend in RUNS[kind]:
            if not missing(backend):
                path = tmp_path / f"a{exports.SUFFIXES[kind]}"
                with pytest.raises(WeightsError, match="no weights at"):
                    FusionEngine("nano", "cpu", path, backend=backend)

    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("content", ["empty", "half", "text"])
    def test_a_damaged_file(self, exported, kind, content, tmp_path):
        whole = exported(kind).read_bytes()
        path = tmp_path / f"a{exports.SUFFIXES[kind]}"
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "text": b"?"}[content])
        if kind == "openvino":
            (tmp_path / "a.bin").write_bytes(exported(kind).with_suffix(".bin").read_bytes())
        for backend in RUNS[kind]:
            if missing(backend):
                continue
            with pytest.raises(WeightsError) as caught:
                FusionEngine("nano", "cpu", path, backend=backend)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)

    @needs_openvino
    @pytest.mark.parametrize("kept", [None, 1000])
    def test_openvinos_weights_that_are_missing_or_cut(self, exported, kept, tmp_path):
        path = tmp_path / "a.xml"
        path.write_bytes(exported("openvino").read_bytes())
        if kept:
            binary = exported("openvino").with_suffix(".bin").read_bytes()
            (tmp_path / "a.bin").write_bytes(binary[:kept])
        with pytest.raises(WeightsError, match=r"a.xml is damaged"):
            FusionEngine("nano", "cpu", path, backend="openvino")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's two older exporters
    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_network_of_somebody_else(self, kind, tmp_path):
        """Without our metadata."""
        if missing(*NEEDS[kind]):
            pytest.skip(f"needs {missing(*NEEDS[kind])}")
        path = tmp_path / f"a{exports.SUFFIXES[kind]}"
        example = torch.zeros(1, 32, 8, 8, dtype=torch.uint8)
        foreign(path, torch.nn.Sequential(Doubled()), example)
        for backend in RUNS[kind]:
            if missing(backend):
                continue
            with pytest.raises(WeightsError, match="was not written by `dreamif export`"):
                FusionEngine("nano", "cpu", path, backend=backend)

    def test_a_file_of_another_variant(self, exported):
        """An export names its variant, as weights do."""
        for kind in FORMATS:
            if missing(*NEEDS[kind]):
                continue
            for backend in RUNS[kind]:
                with pytest.raises(WeightsError, match="of variant 'nano', not of 'tiny'"):
                    FusionEngine("tiny", "cpu", exported(kind), backend=backend)


class Doubled(torch.nn.Module):
    def forward(self, x):
        return x * 2


def foreign(path, module, example):
    if path.suffix == ".torchscript":
        torch.jit.save(torch.jit.trace(module, example), str(path))
    elif path.suffix == ".xml":
        from dreamif_model.backends.openvino_convert import convert_module

        import_openvino().save_model(convert_module(module, (example,)), path)
    else:
        torch.onnx.export(module, (example,), str(path), dynamo=False)


class TestMetadata:
    def test_what_is_written_is_read(self):
        info = GraphInfo.of("tiny", network_config("tiny"))
        assert GraphInfo.from_json(info.to_json(), "a") == info
        assert (info.stem, info.image_channels, info.size_multiple) == (2, 1, 16)
        assert (info.noise_map, info.channels) == (False, 8)

    def test_a_map_of_noise_is_two_channels_more(self):
        assert GraphInfo.of("nano", network_config("nano")).channels == 34

    def test_older_files_take_no_map_of_noise(self):
        values = json.loads(GraphInfo.of("nano", network_config("nano")).to_json())
        del values["noise_map"]
        assert GraphInfo.from_json(json.dumps(values), "a") == GraphInfo("nano", 4, 1, 32)

    @pytest.mark.parametrize("text", [None, "", "{}", "[]", "3", "nonsense", '{"variant": "nano"}'])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(WeightsError, match=r"a.onnx was not written by `dreamif export`"):
            GraphInfo.from_json(text, "a.onnx")

    def test_an_old_format_is_named(self):
        info = GraphInfo("nano", 4, 1, 32, format="dreamif-graph-0")
        with pytest.raises(WeightsError, match="format 'dreamif-graph-0', expected 'dreamif-graph"):
            GraphInfo.from_json(info.to_json(), "a.onnx")


class TestRefused:
    def test_an_existing_file_without_force(self, weights, tmp_path, capfd):
        path = tmp_path / "a.torchscript"
        path.write_text("mine")
        assert call(path, "--weights", str(weights)) == 2
        assert f"--out {path} exists: give another name, or --force" in capfd.readouterr().err
        assert path.read_text() == "mine"
        assert call(path, "--weights", str(weights), "--force") == 0
        assert read_torchscript(path)[1].variant == "nano"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--size", "100x64"], "multiple of 32 in both directions for nano, got 100x64"),
            (["--size", "64"], "--size is '64', expected WIDTHxHEIGHT"),
            (["--ir", "a.png"], "--ir and --vi belong together"),
            (["--format", "onnx"], "a file of format onnx ends in .onnx"),
        ],
    )
    def test_a_bad_option(self, options, words, tmp_path, capfd):
        path = tmp_path / "a.torchscript"
        assert call(path, *options) == 2
        error = capfd.readouterr().err
        assert words in error
        assert error.count("\n") == 1
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("out", ["missing/a.torchscript", "file/a.torchscript"])
    def test_an_out_in_no_folder_is_refused_before_any_work(self, out, tmp_path, capfd):
        (tmp_path / "file").touch()
        assert call(tmp_path / out) == 2
        assert "make its folder first" in capfd.readouterr().err

    def test_weights_of_another_variant(self, weights, tmp_path, capfd):
        assert call(tmp_path / "a.torchscript", "--variant", "tiny", "--weights", str(weights)) == 1
        assert "weights of variant 'nano', not of 'tiny'" in capfd.readouterr().err

    @pytest.mark.parametrize("kind", ["openvino", "torchscript"])
    def test_a_file_that_differs_does_not_stay(self, kind, weights, tmp_path, monkeypatch, capfd):
        """Neither it nor what was there before is lost or left."""
        if missing(*NEEDS[kind]):
            pytest.skip(f"needs {missing(*NEEDS[kind])}")
        monkeypatch.setattr(exports, "FUSED_TOLERANCE", -1.0)
        path = tmp_path / f"a{exports.SUFFIXES[kind]}"
        path.write_text("before")
        assert call(path, "--weights", str(weights), "--force") == 1
        error = capfd.readouterr().err
        assert "differs from eager torch" in error
        assert error.count("\n") == 1
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {path.name: "before"}

    @pytest.mark.parametrize("name", ["onnx", "openvino"])
    def test_a_package_that_is_missing_is_named(self, name, weights, tmp_path, monkeypatch, capfd):
        monkeypatch.setitem(sys.modules, name, None)
        path = tmp_path / f"a{exports.SUFFIXES[name]}"
        assert call(path, "--weights", str(weights)) in (1, 2)
        error = capfd.readouterr().err
        assert f"pip install {name}" in error
        assert error.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
