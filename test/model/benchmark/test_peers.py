"""Networks of others beside ours."""

import numpy as np
import pytest
import torch
from helpers.networks import Mean

from dreamif_model import ConfigError, WeightsError
from dreamif_model.benchmark.case import PEER, Case
from dreamif_model.benchmark.measure import measure

IMAGE = torch.zeros(1, 1, 48, 64)


def small(method, **settings):
    return Case(method, 64, 48, "cpu", frames=3, warmup=1, **settings)


class Stacked(torch.nn.Module):
    """One that does not fit: a single input of two channels."""

    def forward(self, images):
        return images.mean(1)


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
