import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamif_model.errors import ConfigError, WeightsError
from dreamif_model.model_files.checkpoints import (
    FORMAT,
    load_network,
    read_pickled,
    save_weights,
)

METADATA = {"format": FORMAT, "variant": "nano"}


def rewrite(path, change, metadata=METADATA):
    """Save the file's tensors again after ``change`` to them."""
    state = load_file(path)
    change(state)
    save_file(state, path, metadata=metadata)


def refusal(path, variant="nano"):
    with pytest.raises(WeightsError) as caught:
        load_network(variant, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip(nano, nano_weights):
    loaded = load_network("nano", nano_weights)
    assert loaded.state_dict().keys() == nano.state_dict().keys()
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, nano.state_dict()[name]), name
    assert not loaded.training
    infrared, visible = torch.rand(2, 1, 1, 32, 64)
    with torch.no_grad():
        assert torch.equal(loaded(infrared, visible).fused, nano(infrared, visible).fused)


def test_channels_last_weights_round_trip(nano, tmp_path):
    """A checkpoint of training."""
    path = tmp_path / "nano.safetensors"
    save_weights(nano.to(memory_format=torch.channels_last), "nano", path)
    loaded = load_network("nano", path).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in nano.state_dict().items())


def test_unknown_variant(nano_weights):
    with pytest.raises(ConfigError, match="unknown network variant 'mega'"):
        load_network("mega", nano_weights)


def test_missing(tmp_path):
    message = refusal(tmp_path / "none.safetensors")
    assert "no weights at" in message
    assert "dreamif train" in message
    assert "no weights at" in refusal(tmp_path)  # a folder


@pytest.mark.parametrize(
    "content", [b"", b"not a tensor file at all", b"\xff" * 64], ids=["empty", "text", "bytes"]
)
def test_garbage(content, tmp_path):
    path = tmp_path / "nano.safetensors"
    path.write_bytes(content)
    assert "not a readable safetensors file" in refusal(path)


@pytest.mark.parametrize("kept", [4, 100, 0.5, -1])
def test_truncated(nano_weights, kept):
    data = nano_weights.read_bytes()
    nano_weights.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    assert "not a readable safetensors file" in refusal(nano_weights)


class Trap:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_nothing_is_unpickled(save, tmp_path):
    sprung, path = tmp_path / "sprung", tmp_path / "nano.safetensors"
    save(Trap(sprung), path)
    assert "not a readable safetensors file" in refusal(path)
    assert not sprung.exists()


def test_a_zip_whose_directory_is_nowhere(tmp_path):
    """Found by `make fuzz`: torch seeks there, which is an OSError."""
    path = tmp_path / "model.pth"
    torch.save({"a": torch.zeros(2)}, path)
    data = bytearray(path.read_bytes())
    data[-50:-42] = b"\xff" * 8  # in the ZIP64 record
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged or not a PyTorch checkpoint"):
        read_pickled(path)


def test_pickled_state_renamed(nano, tmp_path):
    path = tmp_path / "nano.safetensors"
    torch.save(nano.state_dict(), path)
    assert "not a readable safetensors file" in refusal(path)


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        (None, "format 'none', expected 'dreamif-1'"),
        ({"format": "pt"}, "format 'pt'"),
        ({"variant": "nano"}, "format 'none'"),
        ({"format": FORMAT}, "variant 'none', not of 'nano'"),
        ({"format": FORMAT, "variant": "base"}, "variant 'base', not of 'nano'"),
    ],
)
def test_foreign_metadata(nano_weights, metadata, word):
    rewrite(nano_weights, dict.copy, metadata)
    assert word in refusal(nano_weights)


def test_other_variant(nano_weights):
    assert "holds weights of variant 'nano', not of 'base'" in refusal(nano_weights, "base")


def test_missing_tensors(nano_weights):
    rewrite(
        nano_weights, lambda state: (state.pop("output.weight"), state.pop("embed.kernel.weight"))
    )
    assert "2 missing (first: embed.kernel.weight)" in refusal(nano_weights)


def test_older_weights_take_no_map_of_noise(nano, nano_weights):
    rewrite(
        nano_weights,
        lambda state: [state.pop(f"embed_noise.kernel.{name}") for name in ("weight", "bias")],
    )
    older = load_network("nano", nano_weights)
    assert not older.config.noise_map
    infrared, visible = torch.rand(2, 1, 1, 32, 64)
    with torch.no_grad():
        assert torch.equal(older(infrared, visible).fused, nano(infrared, visible).fused)


def test_surplus_tensors(nano_weights):
    rewrite(nano_weights, lambda state: state.update(module=torch.zeros(1)))
    assert "1 unknown (first: module)" in refusal(nano_weights)


def test_misshapen_tensors(nano_weights):
    rewrite(
        nano_weights,
        lambda state: state.update(
            {"embed.kernel.weight": state["embed.kernel.weight"][..., :1].contiguous()}
        ),
    )
    assert "1 of another shape (first: embed.kernel.weight)" in refusal(nano_weights)


def test_all_problems_are_told_at_once(nano_weights):
    rewrite(nano_weights, lambda state: state.update({"embed": state.pop("embed.kernel.weight")}))
    message = refusal(nano_weights)
    assert "1 missing (first: embed.kernel.weight); 1 unknown (first: embed)" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers(nano_weights, value):
    rewrite(nano_weights, lambda state: state["output.weight"].view(-1)[:1].fill_(value))
    message = refusal(nano_weights)
    assert "NaN or infinite" in message
    assert "output.weight" in message


def test_offsets_outside_the_file(tmp_path):
    entry = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    header = json.dumps({"embed.kernel.weight": entry, "__metadata__": METADATA}).encode()
    path = tmp_path / "nano.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert "not a readable safetensors file" in refusal(path)
