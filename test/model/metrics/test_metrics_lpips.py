"""LPIPS beside the lpips package, with the same random weights: the real ones are not ours."""

import importlib.util
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dreamif_model.errors import ImageError, WeightsError
from dreamif_model.metrics.lpips import Lpips


@pytest.fixture(scope="module")
def original():
    """Its AlexNet random, its own weights per channel as they come with the package."""
    # torchvision without what it runs on import: that ends in an error when its compiled part was
    # built for another build of torch, and AlexNet needs none of it.
    spec = importlib.util.find_spec("torchvision")
    package = types.ModuleType("torchvision")
    package.__path__, package.__spec__ = spec.submodule_search_locations, spec
    before, real = set(sys.modules), sys.modules.get("torchvision")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=()):
        warnings.simplefilter("ignore")  # of torchvision and torch, about how lpips calls them
        sys.modules["torchvision"] = package
        import lpips

        torch.manual_seed(0)
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("torchvision", "lpips"):
            del sys.modules[name]
    if real is not None:
        sys.modules["torchvision"] = real
    return network


@pytest.fixture(scope="module")
def state(original):
    """The same weights under the names of torchvision's and lpips' files."""
    layers = [layer for part in range(1, 6) for layer in getattr(original.net, f"slice{part}")]
    named = {}
    for number, layer in enumerate(layers):
        for name, value in layer.named_parameters():
            named[f"features.{number}.{name}"] = value.detach().clone()
    for i in range(5):
        named[f"lin{i}.model.1.weight"] = getattr(original, f"lin{i}").model[1].weight.detach()
    assert {name.split(".")[1] for name in named if name.startswith("f")} == set("0368") | {"10"}
    return named


@pytest.fixture
def files(state, tmp_path):
    """Two .pth files as users have them; one has tensors that LPIPS does not need."""
    network = {name: value for name, value in state.items() if name.startswith("features")}
    torch.save(network | {"classifier.6.bias": torch.zeros(3)}, tmp_path / "alexnet.pth")
    rest = {name: value for name, value in state.items() if name.startswith("lin")}
    torch.save(rest, tmp_path / "alex.pth")
    return [tmp_path / "alexnet.pth", tmp_path / "alex.pth"]


@pytest.mark.parametrize("shape", [(64, 80), (75, 93), (31, 31)])
def test_equals_the_lpips_package(original, files, rng, shape):
    a, b = rng.integers(0, 256, (2, *shape)).astype(np.uint8)
    b = np.maximum(a, b)

    def tensor(image):
        return torch.tensor(image / 127.5 - 1, dtype=torch.float32).expand(1, 3, -1, -1)

    with torch.inference_mode():
        expected = float(original(tensor(a), tensor(b)))
    assert expected > 0.001
    lpips = Lpips(files)
    assert lpips.score(a, b, b) == pytest.approx(expected, rel=1e-4)
    assert lpips.score(a, a, a) == 0
    assert lpips.score(a, a, b) == pytest.approx(expected / 2, rel=1e-4)


def test_one_safetensors_file(state, files, tmp_path, rng):
    save_file(
        {name: value.contiguous() for name, value in state.items()}, tmp_path / "l.safetensors"
    )
    a, b = rng.integers(0, 256, (2, 40, 40)).astype(np.uint8)
    assert Lpips([tmp_path / "l.safetensors"]).score(a, b, b) == Lpips(files).score(a, b, b)


def test_refuses_what_has_not_all_tensors(files, tmp_path):
    with pytest.raises(
        WeightsError, match=r"5 tensors are missing.*lin0\.model\.1\.weight \(1, 64"
    ):
        Lpips(files[:1])
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "vgg.pth")
    with pytest.raises(WeightsError, match=r"15 tensors.*features\.0\.weight \(64, 3, 11, 11\)"):
        Lpips([tmp_path / "vgg.pth"])


def test_refuses_what_is_no_weights_file(tmp_path):
    with pytest.raises(WeightsError, match="no LPIPS weights at"):
        Lpips([tmp_path / "absent.pth"])
    for name, words in (
        ("text.pth", "is damaged or not a PyTorch checkpoint"),
        ("text.safetensors", "is not a readable safetensors file"),
    ):
        (tmp_path / name).write_text("neither of the two")
        with pytest.raises(WeightsError, match=f"{name} {words}"):
            Lpips([tmp_path / name])
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list"):
        Lpips([tmp_path / "list.pth"])


@pytest.mark.parametrize("content", [b"\x80\x04\x95.", b"h\x07.", b"ab.", bytes(100)])
def test_a_damaged_pickle_is_one_line(content, tmp_path):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.pth is damaged or not a PyTorch checkpoint$"):
        Lpips([tmp_path / "bad.pth"])


def test_code_in_a_file_is_not_run(tmp_path):
    class Danger:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    torch.save({"features.0.weight": Danger()}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match="could run as code when read") as caught:
        Lpips([tmp_path / "bad.pth"])
    assert "weights_only" not in str(caught.value)  # torch's own advice
    assert not (tmp_path / "ran").exists()


def test_refuses_small_images(files):
    with pytest.raises(ImageError, match="31×31"):
        Lpips(files).score(*np.zeros((3, 30, 99)))
