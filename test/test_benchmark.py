"""`dreamif summary` and `dreamif benchmark`: the right rows, never a time that must be met."""

import json
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dreamif_model import VARIANTS, DreamIFError, benchmark
from dreamif_model.benchmark import Case, measure, measure_apart
from dreamif_model.complexity import complexity
from dreamif_model.engine import STAGES
from dreamif_model.network import DreamIF
from dreamif_model.variants import NETWORKS, network_config
from dreamif_ros import cli
from dreamif_ros.cli.table import markdown_table, text_table

HAS_CUDA = torch.cuda.is_available()


class TestComplexity:
    @pytest.mark.parametrize("variant", ["nano", "tiny"])
    def test_parameters_are_the_networks(self, variant):
        network = DreamIF(network_config(variant))
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
        """The embedding by hand: 3×3 kernels, 4 to 16 channels, 32×24 pixels."""
        network = DreamIF(network_config("nano"))
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network.embed(torch.zeros(1, 4, 24, 32))
        assert counter.get_total_flops() // 2 == 24 * 32 * 9 * 4 * 16

    def test_macs_grow_with_the_pixels(self):
        small, large = complexity("nano", 320, 240).macs, complexity("nano", 640, 480).macs
        assert large == pytest.approx(4 * small, rel=0.02)

    def test_other_sizes_are_padded(self):
        assert complexity("nano", 33, 47) == complexity("nano", 48, 48)

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
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_figures_are_positive(self, precision):
        figures = measure(Case("nano", 64, 48, "cpu", precision, frames=3, warmup=1))
        assert figures.precision == precision
        assert (figures.width, figures.height) == (64, 48)
        assert 0 < figures.p10_ms <= figures.median_ms <= figures.p90_ms
        assert list(figures.stages_ms) == list(STAGES)
        assert all(value > 0 for value in figures.stages_ms.values())
        assert figures.memory_mib > 50  # Python and torch alone
        assert not figures.cuda_graph

    def test_random_weights_are_said_to_be(self):
        assert measure(Case("small", 64, 48, "cpu", frames=1, warmup=0)).weights in (
            "random",
            "packaged",
        )
        assert measure(Case("average", 64, 48, "cpu", frames=1, warmup=0)).weights == "none"

    def test_weights_that_do_not_fit_are_replaced(self, tmp_path, monkeypatch):
        (tmp_path / "nano.safetensors").write_bytes(b"of another state")
        monkeypatch.setattr("dreamif_model.benchmark.WEIGHTS_FOLDER", tmp_path)
        monkeypatch.setattr("dreamif_model.checkpoints.WEIGHTS_FOLDER", tmp_path)
        assert measure(Case("nano", 64, 48, "cpu", frames=1, warmup=0)).weights == "random"


class TestMeasureApart:
    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (MemoryError(), "nano at 64x48: not enough memory: smaller --size"),
            (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
            (BrokenProcessPool(), "ended from outside, perhaps because there is not enough memory"),
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
    def test_rows(self, tmp_path, capfd):
        """Both precisions of nano, then the baseline; the same numbers printed and written."""
        path = tmp_path / "benchmark.json"
        options = ["--precision", "fp32", "--precision", "bf16", "--size", "64x48"]
        options += ["--device", "cpu", "--frames", "2", "--warmup", "1", "--threads", "1"]
        assert cli.main(["benchmark", *options, "--markdown", "--json", str(path)]) == 0
        written = json.loads(path.read_text())
        rows = [(row["variant"], row["precision"]) for row in written["rows"]]
        assert rows == [("nano", "fp32"), ("nano", "bf16"), ("average", "fp32")]
        assert written["machine"]["torch"] == torch.__version__
        assert written["machine"]["threads"] == "1"
        printed = capfd.readouterr().out
        table = [line for line in printed.splitlines() if line.startswith("|")]
        assert table[0].startswith(
            "| variant | weights | size | backend | precision | ms | p10-p90 | prepare"
        )
        assert len(table) == 5
        for row, line in zip(written["rows"], table[2:], strict=True):
            assert f"| {row['variant']} | {row['weights']} | 64x48 | torch |" in line
            assert f"| {row['precision']} | {row['median_ms']:.2f} |" in line
        assert written["machine"]["CPU"] in printed
        assert ("Random weights: nano" in printed) == (written["rows"][0]["weights"] == "random")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--precision", "int8"], "unknown precision 'int8': choose auto, fp32, fp16, bf16"),
            (["--precision", "fp16"], "on the CPU choose fp32 or bf16"),
            (["--size", "64"], "--size is '64', expected WIDTHxHEIGHT"),
            (["--frames", "0"], "--frames is 0, expected 1 or more"),
            (["--warmup", "-1"], "--warmup is -1, expected 0 or more"),
            (["--threads", "-2"], "--threads is -2, expected 0 or more"),
            (["--device", "gpu"], "unknown device 'gpu'"),
            (["--device", "cuda", "--backend", "openvino"], "openvino runs on the CPU only"),
            (["--backend", "openvino", "--precision", "fp16"], "on the CPU choose fp32 or bf16"),
        ],
    )
    def test_a_bad_option_is_refused_before_anything_is_measured(self, options, words, capfd):
        assert cli.main(["benchmark", "--device", "cpu", *options]) == 2
        assert words in capfd.readouterr().err

    @pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device")
    def test_a_missing_gpu_is_a_failure_in_one_line(self, capfd):
        assert cli.main(["benchmark", "--device", "cuda"]) == 1
        error = capfd.readouterr().err
        assert "device 'cuda' was asked for" in error
        assert error.count("\n") == 1

    @pytest.mark.cuda
    @pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
    def test_cuda_figures(self):
        figures = measure(Case("nano", 64, 48, "cuda", frames=3, warmup=2))
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
