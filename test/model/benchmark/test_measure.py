"""Times, memory and the peak of one case; never a time that must be met."""

import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise

import pytest
import torch

from dreamif_model import DreamIFError
from dreamif_model.backends import available
from dreamif_model.benchmark import measure as benchmark
from dreamif_model.benchmark.case import ANCHOR, ANCHOR_CHANNELS, Case
from dreamif_model.benchmark.classic_fusion import CLASSIC
from dreamif_model.benchmark.complexity import complexity
from dreamif_model.benchmark.measure import Figures, Peak, measure, measure_apart, measure_peak
from dreamif_model.engine import STAGES

HERE = available("cpu")

HAS_CUDA = torch.cuda.is_available()


def small(method, **settings):
    return Case(method, 64, 48, "cpu", frames=3, warmup=1, **settings)


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
        for module in ("benchmark.measure", "model_files.checkpoints", "model_files.model_source"):
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
