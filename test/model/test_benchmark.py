"""`dreamif summary` and `dreamif benchmark`: the right rows, never a time that must be met."""

import dataclasses
import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dreamif_model import VARIANTS, ConfigError, DreamIFError, WeightsError, benchmark
from dreamif_model.backends import available
from dreamif_model.benchmark.classic_fusion import CLASSIC
from dreamif_model.benchmark.complexity import complexity
from dreamif_model.benchmark.measure import (
    ANCHOR,
    ANCHOR_CHANNELS,
    PEER,
    Case,
    Figures,
    Peak,
    measure,
    measure_apart,
    measure_peak,
)
from dreamif_model.device import use_cpu_threads
from dreamif_model.engine import STAGES
from dreamif_model.network import make_network
from dreamif_model.variants import NETWORKS, network_config
from dreamif_ros import cli
from dreamif_ros.cli.benchmark import HEADER
from dreamif_ros.cli.table import markdown_table, text_table

HAS_CUDA = torch.cuda.is_available()
HERE = available("cpu")
OTHERS = ["average", *CLASSIC, ANCHOR]  # than networks, in the order of the table
COLUMNS = {field.name for field in dataclasses.fields(Figures)}


@pytest.fixture(autouse=True)
def threads():
    """Measuring sets those of the whole process."""
    torchs, opencvs = torch.get_num_threads(), cv2.getNumThreads()
    yield
    use_cpu_threads(0)
    torch.set_num_threads(torchs)
    cv2.setNumThreads(opencvs)


@pytest.fixture
def in_this_process(monkeypatch):
    """Instead of a process for each case; and without the time that the peak takes."""
    monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_apart", measure)
    monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_peak", lambda _: Peak(100.0, 10.0))


def call(*options):
    """Status of a small benchmark on one CPU core."""
    small = ["--size", "64x48", "--frames", "2", "--warmup", "1", "--threads", "1"]
    return cli.main(["benchmark", "--device", "cpu", *small, *options])


def small(method, **settings):
    return Case(method, 64, 48, "cpu", frames=3, warmup=1, **settings)


class TestComplexity:
    @pytest.mark.parametrize("variant", ["nano", "tiny"])
    def test_parameters_are_the_networks(self, variant):
        network = make_network(network_config(variant))
        expected = sum(parameter.numel() for parameter in network.parameters())
        assert complexity(variant, 64, 48).parameters == expected

    def test_base_is_the_papers(self):
        """36.8 million parameters, as the sizes give them.

        Of the dominance convolutions only the two means that are wanted are computed: 1695 GMAC
        with all their channels.
        """
        assert complexity("base", 640, 480).parameters == pytest.approx(36.8e6, rel=0.01)
        assert complexity("base", 640, 480).macs == pytest.approx(1619e9, rel=0.01)

    def test_macs_are_half_of_the_operations_that_torch_counts(self):
        """The embedding by hand: 3×3 kernels, 16 phases to 32 channels of both, 32×24 cells."""
        network = make_network(network_config("nano"))
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network.embed(torch.zeros(1, 32, 24, 32))
        assert counter.get_total_flops() // 2 == 24 * 32 * 9 * 2 * 16 * 32

    def test_macs_grow_with_the_pixels(self):
        small, large = complexity("nano", 320, 256).macs, complexity("nano", 640, 512).macs
        assert large == pytest.approx(4 * small, rel=0.02)

    def test_other_sizes_are_padded(self):
        assert complexity("nano", 33, 47) == complexity("nano", 64, 64)

    def test_average_costs_nothing(self):
        assert complexity("average", 64, 48).macs == 0


class TestSummary:
    def test_every_variant_is_a_row(self, tmp_path, capfd):
        path = tmp_path / "summary.json"
        assert cli.main(["summary", "--size", "64x48", "--json", str(path)]) == 0
        rows = json.loads(path.read_text())
        assert [row["variant"] for row in rows] == list(VARIANTS)
        header, *printed = capfd.readouterr().out.splitlines()
        assert "GMAC at 64x48" in header
        for row, line in zip(rows, printed, strict=True):
            assert line.split()[0] == row["variant"]
            assert f"{row['parameters']:,}" in line
            assert f"{row['gmac']:.2f}" in line
            assert (row["gmac"] > 0) == (row["variant"] in NETWORKS)

    def test_one_variant_in_markdown(self, capfd):
        assert cli.main(["summary", "--variant", "average", "--markdown"]) == 0
        lines = capfd.readouterr().out.splitlines()
        assert lines[0] == "| variant | parameters | GMAC at 640x480 | weights |"
        assert lines[2:] == ["| average | 0 | 0.00 | not needed |"]

    @pytest.mark.parametrize(
        "size", ["640", "640x", "0x480", "axb", "640x480x3", "99999x1", "-1x5"]
    )
    def test_a_bad_size_is_refused(self, size, capfd):
        assert cli.main(["summary", f"--size={size}"]) == 2
        assert f"--size is {size!r}, expected WIDTHxHEIGHT" in capfd.readouterr().err


class TestMeasure:
    @pytest.mark.parametrize(("backend", "precision"), HERE)
    def test_networks(self, backend, precision):
        figures = measure(small("nano", backend=backend, precision=precision, threads=1))
        assert (figures.method, figures.width, figures.height) == ("nano", 64, 48)
        found = (figures.backend, figures.device, figures.precision, figures.threads)
        assert found == (backend, "cpu", precision, 1)
        assert 0 < figures.p50_ms <= figures.p99_ms
        assert figures.cpu_ms > 0
        assert list(figures.stages_ms) == list(STAGES)
        assert all(value > 0 for value in figures.stages_ms.values())
        cost = complexity("nano", 64, 48)
        assert figures.gmac == cost.macs / 1e9
        assert figures.megabytes == (64 * 48 * 15 + 4 * cost.parameters) / 1e6
        assert figures.memory_mib > 50  # Python and its packages alone
        assert not figures.cuda_graph

    @pytest.mark.parametrize("method", ["average", *CLASSIC])
    def test_methods_without_a_network(self, method):
        figures = measure(small(method))
        assert (figures.weights, figures.device) == ("none", "cpu")
        assert figures.gmac is None
        assert figures.megabytes == 64 * 48 * 15 / 1e6
        assert 0 < figures.p50_ms <= figures.p99_ms
        assert list(figures.stages_ms) == (list(STAGES) if method == "average" else [])

    def test_the_anchor_is_what_it_says(self):
        """Seven 3×3 convolutions at full size."""
        figures = measure(small(ANCHOR))
        pairs = list(pairwise(ANCHOR_CHANNELS))
        assert len(pairs) == 7
        products = sum(inputs * outputs for inputs, outputs in pairs) * 9
        assert figures.gmac == products * 64 * 48 / 1e9
        weights = products + sum(ANCHOR_CHANNELS[1:])
        assert figures.megabytes == (64 * 48 * 15 + 4 * weights) / 1e6
        found = (figures.weights, figures.backend, figures.precision)
        assert found == ("random", "torch", "fp32")

    @pytest.mark.parametrize("variant", ["nano", "small"])
    def test_what_the_weights_are_is_said(self, variant):
        packaged = (benchmark.WEIGHTS_FOLDER / f"{variant}.safetensors").is_file()
        figures = measure(dataclasses.replace(small(variant, backend="torch"), frames=1))
        assert figures.weights == ("packaged" if packaged else "random")

    def test_weights_that_do_not_fit_are_replaced(self, tmp_path, monkeypatch):
        (tmp_path / "nano.safetensors").write_bytes(b"of another state")
        for module in ("benchmark", "checkpoints", "model_source"):
            monkeypatch.setattr(f"dreamif_model.{module}.WEIGHTS_FOLDER", tmp_path)
        for backend in ("torch", "auto"):
            assert measure(small("nano", backend=backend)).weights == "random"


class TestPeak:
    def figures(self, p50_ms, gmac, megabytes):
        names = ("method", "weights", "width", "height", "backend", "device", "precision")
        values = ("nano", "none", 1, 1, "torch", "cpu", "fp32")
        return Figures(
            **dict(zip(names, values, strict=True)),
            threads=1,
            cuda_graph=False,
            cpu_ms=1.0,
            p50_ms=p50_ms,
            p99_ms=p50_ms,
            stages_ms={},
            gmac=gmac,
            megabytes=megabytes,
            memory_mib=1.0,
        )

    @pytest.mark.parametrize(
        ("p50_ms", "gmac", "megabytes", "share"),
        [
            (20.0, 1.0, 1.0, 0.5),  # 10 ms of arithmetic
            (20.0, 0.1, 50.0, 0.25),  # 5 ms of memory, which takes longer
            (20.0, None, 50.0, None),
        ],
    )
    def test_the_share_is_the_least_time_over_the_own(self, p50_ms, gmac, megabytes, share):
        found = Peak(100.0, 10.0).share(self.figures(p50_ms, gmac, megabytes))
        assert found == (share if share is None else pytest.approx(share))

    @pytest.mark.parametrize("without", [(), ("openvino",)])
    def test_it_is_measured_with_openvino_or_without(self, without, monkeypatch):
        for name in without:
            monkeypatch.setitem(sys.modules, name, None)
        peak = measure_peak(1)
        assert 1 < peak.gmac_per_s < 10_000  # of one core of any machine of these years
        assert 0.1 < peak.gigabytes_per_s < 1000


class Mean(torch.nn.Module):
    """A network of somebody else, for two images of any size."""

    def __init__(self):
        super().__init__()
        self.filter = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, infrared, visible):
        return self.filter(infrared / 2 + visible / 2)


class Stacked(torch.nn.Module):
    """One that does not fit: a single input of two channels."""

    def forward(self, images):
        return images.mean(1)


@pytest.fixture
def peer(tmp_path):
    """Writes a network as a file whose suffix says the format."""

    def write(network, name, *inputs):
        path = tmp_path / name
        if path.suffix == ".onnx":
            if not all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))):
                pytest.skip("needs onnx and ONNX Runtime")
            torch.onnx.export(network, inputs, str(path), dynamo=False)
        else:
            torch.jit.save(torch.jit.trace(network, inputs), str(path))
        return path

    return write


IMAGE = torch.zeros(1, 1, 48, 64)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's two older exporters
class TestPeers:
    @pytest.mark.parametrize(
        ("name", "backend"),
        [
            ("a.onnx", "onnxruntime"),
            ("a.torchscript", "torch"),
            ("a.ts", "torch"),
            ("a.pt", "torch"),
        ],
    )
    def test_are_measured(self, peer, name, backend):
        figures = measure(small(PEER, file=peer(Mean(), name, IMAGE, IMAGE)))
        assert (figures.method, figures.backend, figures.device) == (name, backend, "cpu")
        assert (figures.weights, figures.precision) == ("its own", "its own")
        assert 0 < figures.p50_ms <= figures.p99_ms

    def test_are_fed_infrared_then_visible_luma_in_0_to_1(self, peer, monkeypatch):
        from dreamif_model.benchmark import peers

        fed = []

        class Spy(torch.nn.Module):
            def forward(self, *images):
                fed.extend(images)

        monkeypatch.setattr(peers.torch.jit, "load", lambda *_, **__: Spy())
        path = peer(Mean(), "a.pt", IMAGE, IMAGE)
        infrared = np.full((2, 2), 51, np.uint8)
        visible = np.full((2, 2, 3), 255, np.uint8)
        peers.make_peer(small(PEER, file=path), visible, infrared)
        assert [image.dtype for image in fed] == [torch.float32] * 2
        assert [image.shape for image in fed] == [(1, 1, 2, 2)] * 2
        assert fed[0].numpy() == pytest.approx(0.2)
        assert fed[1].numpy() == pytest.approx(1.0)

    @pytest.mark.parametrize("name", ["a.onnx", "a.pt"])
    @pytest.mark.parametrize("kind", ["one input", "another size", "damaged"])
    def test_that_do_not_fit_are_refused_in_one_line(self, peer, name, kind):
        if kind == "another size":
            if name == "a.pt":
                pytest.skip("TorchScript has no size of its own")
            path = peer(Mean(), name, IMAGE[..., :32], IMAGE[..., :32])
        else:
            path = peer(Stacked(), name, torch.zeros(1, 2, 48, 64))
        if kind == "damaged":
            path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(WeightsError) as caught:
            measure(small(PEER, file=path))
        text = str(caught.value)
        assert text.startswith(f"the peer {path} does not take infrared and visible luma, float32")
        assert "\n" not in text
        assert len(text) < 500

    def test_missing_or_unknown(self, tmp_path):
        with pytest.raises(WeightsError, match="no peer at"):
            measure(small(PEER, file=tmp_path / "a.onnx"))
        (tmp_path / "a.engine").touch()
        with pytest.raises(ConfigError, match=r"a peer is TorchScript .* or ONNX, got"):
            measure(small(PEER, file=tmp_path / "a.engine"))


class TestMeasureApart:
    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (MemoryError(), "nano at 64x48: not enough memory: smaller --size"),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
            (BrokenProcessPool(), "was killed, perhaps because memory ran out"),
        ],
    )
    def test_too_little_memory_is_named(self, error, words, failing):
        failing(error)
        with pytest.raises(DreamIFError, match=words):
            measure_apart(Case("nano", 64, 48))

    def test_another_error_is_not(self, failing):
        failing(RuntimeError("a defect"))
        with pytest.raises(RuntimeError, match="a defect"):
            measure_apart(Case("nano", 64, 48))

    @pytest.fixture
    def failing(self, monkeypatch):
        """Lets the measurement, which is in a thread here, end in an error."""

        def fail(error):
            def measure(_):
                raise error

            monkeypatch.setattr(benchmark, "measure", measure)
            monkeypatch.setattr(benchmark, "ProcessPoolExecutor", lambda **_: ThreadPoolExecutor(1))

        return fail


class TestBenchmark:
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's two older exporters
    @pytest.mark.usefixtures("in_this_process")
    def test_rows(self, peer, tmp_path, capfd):
        """All that is here, then peers and what needs no training; printed as written."""
        path, pt = tmp_path / "benchmark.json", peer(Mean(), "mean.pt", IMAGE, IMAGE)
        assert call("--markdown", "--json", str(path), "--peer", str(pt)) == 0
        written = json.loads(path.read_text())
        rows = written["rows"]
        networks = [(row["backend"], row["precision"]) for row in rows[: len(HERE)]]
        assert networks == HERE
        methods = ["nano"] * len(HERE) + ["mean.pt", *OTHERS]
        assert [row["method"] for row in rows] == methods
        assert all(row.keys() == COLUMNS for row in rows)
        assert written["peak"] == {"gmac_per_s": 100.0, "gigabytes_per_s": 10.0}
        assert torch.__version__.startswith(written["machine"]["torch"])
        assert written["machine"]["threads"] == "1"
        printed = capfd.readouterr().out
        assert written["machine"]["CPU"] in printed
        assert "peak of 1 threads, fp32: 100 GMAC/s, 10.0 GB/s; 2 frames after 1" in printed
        table = [line.strip("|\n ").split(" | ") for line in printed.splitlines() if "|" in line]
        assert tuple(table[0]) == HEADER
        assert len(table) == 2 + len(rows)
        anchor = rows[-1]["cpu_ms"]
        for row, line in zip(rows, table[2:], strict=True):
            cells = dict(zip(HEADER, line, strict=True))
            assert (cells["method"], cells["backend"]) == (row["method"], row["backend"])
            assert (cells["weights"], cells["precision"]) == (row["weights"], row["precision"])
            assert (cells["CPU ms"], cells["p50 ms"], cells["p99 ms"]) == tuple(
                f"{row[name]:.2f}" for name in ("cpu_ms", "p50_ms", "p99_ms")
            )
            assert cells["size"] == "64x48"
            assert cells["MB"] == f"{row['megabytes']:.1f}"
            assert cells["ratio"] == f"1/{anchor / row['cpu_ms']:.1f}"
            if row["gmac"] is None:
                assert (cells["GMAC"].strip(), cells["of peak"].strip()) == ("", "")
            else:
                assert cells["GMAC"] == f"{row['gmac']:.2f}"
                least_ms = max(row["gmac"] / 100 * 1e3, row["megabytes"] / 10)
                assert cells["of peak"] == f"{least_ms / row['p50_ms']:.2f}"
        assert ("Random weights: nano" in printed) == (rows[0]["weights"] == "random")

    @pytest.mark.usefixtures("in_this_process")
    def test_only_networks(self, tmp_path, capfd):
        """Then the ratio is to the first row."""
        path = tmp_path / "benchmark.json"
        options = ["--backend", "torch", "--precision", "fp32", "--only-networks"]
        options += ["--variant", "nano", "--variant", "average", "--size", "32x32"]
        assert call(*options, "--json", str(path)) == 0
        rows = json.loads(path.read_text())["rows"]
        expected = [(m, w) for w in (64, 32) for m in ("nano", "average")]
        assert [(row["method"], row["width"]) for row in rows] == expected
        first = capfd.readouterr().out.splitlines()[4]
        assert first.split()[:1] == ["nano"]
        assert " 1/1.0 " in first

    def test_each_case_has_a_process_of_its_own(self, monkeypatch, capfd):
        """One of the cheapest; the sum of what is measured there is not the test's."""
        monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_peak", lambda _: Peak(100.0, 10.0))
        assert call("--variant", "average", "--only-networks") == 0
        assert capfd.readouterr().out.splitlines()[4].split()[0] == "average"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--size", "64"], "--size is '64', expected WIDTHxHEIGHT"),
            (["--frames", "0"], "--frames is 0, expected 1 or more"),
            (["--warmup", "-1"], "--warmup is -1, expected 0 or more"),
            (["--threads", "-2"], "--threads is -2, expected 0 or more"),
            (["--device", "gpu"], "unknown device 'gpu'"),
            (["--precision", "fp16"], "no backend here has precision fp16"),
            (
                ["--backend", "torch", "--precision", "fp32", "--precision", "fp16"],
                "backend torch has no precision fp16 on device cpu here: choose",
            ),
            (
                ["--backend", "openvino", "--precision", "fp16"],
                "openvino has no precision fp16 on device cpu here: choose",
            ),
            (
                ["--backend", "onnxruntime", "--precision", "bf16"],
                "onnxruntime has no precision bf16 on device cpu here: choose fp32 or auto",
            ),
            (
                ["--device", "cuda", "--backend", "openvino"],
                "backend openvino does not run on device cuda here",
            ),
        ],
    )
    def test_a_bad_option_is_refused_before_anything_is_measured(
        self, options, words, monkeypatch, capfd
    ):
        monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_apart", None)
        monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_peak", None)
        backend = options[options.index("--backend") + 1] if "--backend" in options else "torch"
        if backend not in {name for name, _ in HERE}:
            pytest.skip(f"needs {backend}")
        assert cli.main(["benchmark", "--device", "cpu", *options]) == 2
        printed = capfd.readouterr()
        assert words in printed.err
        assert printed.out == ""

    @pytest.mark.parametrize("option", ["--precision", "--backend"])
    def test_an_unknown_name_is_refused_with_those_there_are(self, option, capfd):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["benchmark", option, "int8"])
        assert stopped.value.code == 2
        error = capfd.readouterr().err
        assert f"{option}: invalid choice: 'int8'" in error
        assert ("fp32" if option == "--precision" else "openvino") in error

    @pytest.mark.parametrize("name", ["openvino", "onnxruntime", "tensorrt"])
    def test_a_missing_backend_fails_before_anything_is_measured(self, name, monkeypatch, capfd):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_apart", None)
        monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_peak", None)
        assert cli.main(["benchmark", "--backend", "torch", "--backend", name]) == 1
        error = capfd.readouterr().err
        assert f"backend {name} was asked for, but {name} is not installed: pip install" in error
        assert error.count("\n") == 1

    @pytest.mark.usefixtures("in_this_process")
    def test_what_is_not_here_is_left_out_where_nothing_was_asked_for(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "openvino", None)
        path = tmp_path / "benchmark.json"
        assert call("--only-networks", "--json", str(path)) == 0
        rows = json.loads(path.read_text())["rows"]
        found = [(row["backend"], row["precision"]) for row in rows]
        assert found == [pair for pair in HERE if pair[0] != "openvino"]

    @pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device")
    def test_a_missing_gpu_is_a_failure_in_one_line(self, capfd):
        assert cli.main(["benchmark", "--device", "cuda"]) == 1
        error = capfd.readouterr().err
        assert "device 'cuda' was asked for" in error
        assert error.count("\n") == 1

    @pytest.mark.cuda
    @pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
    def test_cuda_figures(self):
        figures = measure(Case("nano", 64, 48, "cuda", frames=3, warmup=2, backend="torch"))
        assert figures.precision == "fp16"
        assert figures.cuda_graph
        assert sum(figures.stages_ms.values()) > 0
        assert figures.memory_mib > 0


def test_tables():
    header, rows = ("name", "ms"), [("a", "1.00"), ("longer", "10.00")]
    assert text_table(header, rows) == "name       ms\na        1.00\nlonger  10.00\n"
    assert markdown_table(header, rows) == (
        "| name | ms |\n| --- | ---: |\n| a | 1.00 |\n| longer | 10.00 |\n"
    )
