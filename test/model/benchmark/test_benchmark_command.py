"""`dreamif benchmark`: the right rows, and refusals before anything is measured."""

import dataclasses
import json
import sys

import pytest
import torch
from helpers.networks import Mean

from dreamif_model.backends import available
from dreamif_model.benchmark.case import ANCHOR, Case
from dreamif_model.benchmark.classic_fusion import CLASSIC
from dreamif_model.benchmark.measure import Figures, Peak, measure
from dreamif_ros import cli
from dreamif_ros.cli.benchmark import HEADER
from dreamif_ros.cli.table import markdown_table, text_table

HAS_CUDA = torch.cuda.is_available()

HERE = available("cpu")

OTHERS = ["average", *CLASSIC, ANCHOR]  # than networks, in the order of the table

COLUMNS = {field.name for field in dataclasses.fields(Figures)}

IMAGE = torch.zeros(1, 1, 48, 64)


@pytest.fixture
def in_this_process(monkeypatch):
    """Instead of a process for each case; and without the time that the peak takes."""
    monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_apart", measure)
    monkeypatch.setattr("dreamif_ros.cli.benchmark.measure_peak", lambda _: Peak(100.0, 10.0))


def call(*options):
    """Status of a small benchmark on one CPU core."""
    small = ["--size", "64x48", "--frames", "2", "--warmup", "1", "--threads", "1"]
    return cli.main(["benchmark", "--device", "cpu", *small, *options])


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
