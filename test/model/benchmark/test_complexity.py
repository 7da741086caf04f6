"""The size of a variant, and `dreamif summary`."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dreamif_model import VARIANTS
from dreamif_model.benchmark.complexity import complexity
from dreamif_model.network import make_network
from dreamif_model.variants import NETWORKS, network_config
from dreamif_ros import cli


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
