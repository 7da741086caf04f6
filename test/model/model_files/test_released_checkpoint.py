"""Checkpoints of the authors' release: which are taken, what they become, which are refused."""

import argparse
import math
import os
import pickle
import resource
import signal
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from dreamif_model import FusionPipeline
from dreamif_model.errors import ConfigError, WeightsError
from dreamif_model.model_files.checkpoints import load_network
from dreamif_model.model_files.released_checkpoint import (
    build_network,
    import_checkpoint,
    released_key,
)
from dreamif_model.network import DreamIF
from dreamif_model.output_files import WriteError
from dreamif_model.variants import NETWORKS, NetworkConfig
from dreamif_ros import cli

FULL = NETWORKS["released"]
TINY = replace(FULL, channels=8, blocks=(1, 2, 1, 1), refinement_blocks=1)

# What the release's own network, built with TINY's sizes and `values` of its keys, gave for
# `images`: its code is not part of this project. Fused: (channel, row, column); dominance:
# the mean of each modality's map per decoder level, coarse to fine, infrared first.
GOLDEN_FUSED = {
    (0, 0, 0): -0.203106,
    (0, 7, 11): -5.921996,
    (1, 3, 20): 3.385617,
    (1, 15, 0): -9.249743,
    (2, 9, 5): 1.299247,
    (2, 15, 23): -6.200956,
}
GOLDEN_DOMINANCE = [[0.7350776, 0.7262585], [0.7273712, 0.7273806], [0.7071339, 0.6993310]]

UNUSED = {
    "reduce_chan_level3.weight": (32, 64, 1, 1),
    "reduce_chan_level2.weight": (16, 32, 1, 1),
    "restoration_3.restoration_A.Conv3_1.weight": (32, 32, 3, 3),
    "restoration_3.norm1.running_mean": (32,),
    "restoration_1.restoration_B.PB.PGM.prompt_param": (1, 5, 64, 16, 16),
}
DROPPED = (
    "reduce_chan_level3, reduce_chan_level2, restoration_3.restoration_A, restoration_3.norm1, "
    "restoration_1.restoration_B"
)


def block_shapes(name, width, heads, expansion=2.66):
    hidden = int(width * expansion)
    return {
        f"{name}.norm1.body.weight": (width,),
        f"{name}.norm1.body.bias": (width,),
        f"{name}.attn.temperature": (heads, 1, 1),
        f"{name}.attn.qkv.weight": (3 * width, width, 1, 1),
        f"{name}.attn.qkv_dwconv.weight": (3 * width, 1, 3, 3),
        f"{name}.attn.project_out.weight": (width, width, 1, 1),
        f"{name}.norm2.body.weight": (width,),
        f"{name}.norm2.body.bias": (width,),
        f"{name}.ffn.project_in.weight": (hidden, width, 1, 1),
        f"{name}.ffn.dwconv.weight": (2 * hidden, hidden, 3, 3),
        f"{name}.ffn.project_out.weight": (width, hidden, 1, 1),
    }


def used_shapes(config):
    """Keys and shapes of what the release's network uses, with the sizes of ``config``."""
    c, heads = config.channels, config.heads
    shapes = {
        "patch_embed.proj.weight": (c, 3, 3, 3),
        "down1_2.body.0.weight": (c // 2, c, 3, 3),
        "down2_3.body.0.weight": (c, 2 * c, 3, 3),
        "down3_4.body.0.weight": (2 * c, 4 * c, 3, 3),
        "up4_3.body.0.weight": (16 * c, 8 * c, 3, 3),
        "up3_2.body.0.weight": (8 * c, 4 * c, 3, 3),
        "up2_1.body.0.weight": (4 * c, 2 * c, 3, 3),
        "restoration_3.conv.weight": (8 * c, 8 * c, 3, 3),
        "restoration_3.conv.bias": (8 * c,),
        "restoration_2.conv.weight": (4 * c, 4 * c, 3, 3),
        "restoration_2.conv.bias": (4 * c,),
        "restoration_1.conv.weight": (4 * c, 2 * c, 3, 3),
        "restoration_1.conv.bias": (4 * c,),
        "output.weight": (3, 2 * c, 3, 3),
    }
    for name, count, width, head in (
        ("encoder_level1", config.blocks[0], c, heads[0]),
        ("encoder_level2", config.blocks[1], 2 * c, heads[1]),
        ("encoder_level3", config.blocks[2], 4 * c, heads[2]),
        ("latent", config.blocks[3], 8 * c, heads[3]),
        ("decoder_level3", config.blocks[2], 4 * c, heads[2]),
        ("decoder_level2", config.blocks[1], 2 * c, heads[1]),
        ("decoder_level1", config.blocks[0], 2 * c, heads[0]),
        ("refinement", config.refinement_blocks, 2 * c, heads[0]),
    ):
        for index in range(count):
            shapes |= block_shapes(f"{name}.{index}", width, head)
    return shapes


def values(key, shape):
    """Values that depend on the key and the place alone: the same in every version of torch."""
    count = math.prod(shape)
    wave = torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + zlib.crc32(key.encode()) % 97)
    if len(shape) < 4:
        return (1 + 0.5 * wave).float().reshape(shape)
    return (wave * (3 / (count // shape[0])) ** 0.5).float().reshape(shape)


def images():
    """Infrared and visible, (1, 3, 16, 24) in [0, 1]; infrared as three equal channels."""
    pixels = torch.arange(4 * 16 * 24, dtype=torch.float64).reshape(1, 4, 16, 24)
    pixels = (0.5 + 0.5 * torch.sin(pixels * pixels * 0.01)).float()
    return pixels[:, :1].expand(-1, 3, -1, -1), pixels[:, 1:]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """The release's structure with few channels: its own sizes make a file of 1 GB."""
    monkeypatch.setitem(NETWORKS, "released", TINY)


@pytest.fixture
def state():
    """A state dict as the release's network has it."""
    state = {key: values(key, shape) for key, shape in {**used_shapes(TINY), **UNUSED}.items()}
    state["restoration_3.norm1.num_batches_tracked"] = torch.tensor(0)
    return state


@pytest.fixture
def save(tmp_path):
    """Writes anything as the release's train.py writes its checkpoints."""

    def save(content):
        torch.save(content, tmp_path / "authors.pth")
        return tmp_path / "authors.pth"

    return save


def as_saved(state):
    return {
        "model": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 3e-4, "params": [0]}]},
        "lr_scheduler": {"scale": 65536.0, "growth_factor": 2.0},
        "epoch": 7,
        "args": argparse.Namespace(lr=3e-4, gpu_ids=[0], data_root="pairs"),
    }


def refusal(path, out=None):
    """The one-line reason why ``path`` is not imported; nothing is written."""
    out = out or path.parent / "released.safetensors"
    before = out.exists()
    with pytest.raises(WeightsError) as caught:
        import_checkpoint(path, out)
    assert out.exists() == before
    assert list(path.parent.glob("*.part")) == []
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message or str(out) in message
    return message


def test_the_fused_image_is_the_releases(state, save, tmp_path):
    out = tmp_path / "released.safetensors"
    import_checkpoint(save(as_saved(state)), out)
    with torch.no_grad():
        output = load_network("released", out)(*images())
    for place, expected in GOLDEN_FUSED.items():
        assert output.fused[0][place].item() == pytest.approx(expected, abs=2e-4), place
    means = [level.mean((2, 3))[0].tolist() for level in output.dominance]
    np.testing.assert_allclose(means, GOLDEN_DOMINANCE, atol=1e-5, rtol=0)


def test_every_tensor_of_the_releases_sizes_has_its_place():
    """At full size, shapes only."""
    with torch.device("meta"):
        tensors = DreamIF(FULL).state_dict()
    shapes = {released_key(name): tuple(value.shape) for name, value in tensors.items()}
    assert len(shapes) == len(tensors) == 498
    assert shapes == used_shapes(NetworkConfig())  # the paper's sizes


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_the_command_and_the_pipeline(state, save, tmp_path, rng, capfd, backend):
    out = tmp_path / "new" / "released.safetensors"
    assert cli.main(["import-checkpoint", str(save(as_saved(state))), "--out", str(out)]) == 0
    printed = capfd.readouterr().out
    assert f"{len(used_shapes(TINY))} tensors imported" in printed
    assert f"6 tensors dropped, which the release never uses: {DROPPED}\n" in printed
    assert f"weights: {out}" in printed
    assert list(out.parent.iterdir()) == [out]

    visible = rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)
    infrared = rng.integers(0, 256, (16, 24), dtype=np.uint8)
    pipeline = FusionPipeline("released", "cpu", out, precision="fp32", backend=backend)
    result = pipeline.fuse(visible=visible, infrared=infrared)
    rgb = torch.from_numpy(visible).permute(2, 0, 1)[None] / 255
    gray = torch.from_numpy(infrared)[None, None].expand(1, 3, 16, 24) / 255
    with torch.no_grad():
        expected = load_network("released", out)(gray, rgb).fused.clamp(0, 1) * 255
    assert np.abs(result.fused - expected[0].permute(1, 2, 0).numpy()).max() <= 0.5 + 1e-2
    assert np.ptp(result.dominance_infrared) > 0


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        lambda state: {"state_dict": state},
        lambda state: {"params": state},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {key: value.double() for key, value in state.items()},
    ],
    ids=["bare", "state_dict", "params", "module.", "double"],
)
def test_other_ways_to_save_the_same(state, save, tmp_path, wrap):
    import_checkpoint(save(as_saved(state)), tmp_path / "expected.safetensors")
    import_checkpoint(save(wrap(state)), tmp_path / "released.safetensors")
    expected = load_network("released", tmp_path / "expected.safetensors").state_dict()
    for name, value in load_network(
        "released", tmp_path / "released.safetensors"
    ).named_parameters():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[name]), name


def test_old_files_of_torch_are_read(state, tmp_path):
    path = tmp_path / "authors.pth"
    torch.save(as_saved(state), path, _use_new_zipfile_serialization=False)
    assert import_checkpoint(path, tmp_path / "released.safetensors").dropped == len(UNUSED) + 1


def test_without_the_unused_tensors(state, tmp_path):
    used = {key: state[key] for key in used_shapes(TINY)}
    assert build_network(used, tmp_path).state_dict().keys() == DreamIF(TINY).state_dict().keys()


def test_the_file_names_its_variant(state, save, tmp_path):
    out = tmp_path / "released.safetensors"
    import_checkpoint(save(state), out)
    with safe_open(out, "pt") as file:
        assert file.metadata()["variant"] == "released"
    with pytest.raises(WeightsError, match="holds weights of variant 'released', not of 'nano'"):
        load_network("nano", out)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda state: [state.pop("output.weight"), state.pop("latent.0.attn.qkv.weight")],
            "2 missing (latent.0.attn.qkv.weight, output.weight)",
        ),
        (lambda state: state.update(extra=torch.zeros(1)), "1 unknown (extra)"),
        (
            lambda state: state.update({f"fc{i}": torch.zeros(1) for i in range(7)}),
            "7 unknown (fc0, fc1, fc2, fc3, fc4, …)",
        ),
        (
            lambda state: state.update({"module.output.weight": state.pop("output.weight")}),
            "1 missing (output.weight); 1 unknown (module.output.weight)",
        ),
        (
            lambda state: state.update({"output.weight": torch.zeros(1, 16, 3, 3)}),
            "1 of another shape or type (output.weight is torch.float32 (1, 16, 3, 3), "
            "not (3, 16, 3, 3))",
        ),
        (
            lambda state: state.update({"output.weight": state["output.weight"].int()}),
            "output.weight is torch.int32 (3, 16, 3, 3)",
        ),
        (lambda state: state.update({"output.weight": 3}), "output.weight is <class 'int'>"),
        (
            lambda state: state["output.weight"].view(-1)[:1].fill_(math.nan),
            "1 with NaN or infinite values (output.weight)",
        ),
    ],
    ids=["missing", "unknown", "many", "prefix", "shape", "dtype", "no-tensor", "nan"],
)
def test_tensors_that_do_not_fit(state, save, change, words):
    change(state)
    message = refusal(save(as_saved(state)))
    assert words in message
    assert "expected the file that its train.py saves" in message


def test_a_depthwise_feed_forward_is_another_network(state, save):
    """The paper's feed-forward, which is Restormer's."""
    for key in [key for key in state if key.endswith("ffn.dwconv.weight")]:
        state[key] = state[key][:, :1].contiguous()
    assert "10 of another shape or type (encoder_level1.0.ffn.dwconv.weight" in refusal(save(state))


@pytest.mark.parametrize("content", [[1, 2], 3.0, {1: torch.zeros(1)}, torch.zeros(2)])
def test_what_is_no_state_dict(save, content):
    assert "holds no state dict" in refusal(save(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"not a checkpoint",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-10],
        lambda _: bytes(1000),
        lambda _: pickle.dumps({"model": {}})[:-3],
    ],
    ids=["empty", "text", "half", "cut", "zeros", "pickle"],
)
def test_damaged_files(state, save, damage):
    path = save(as_saved(state))
    path.write_bytes(damage(path.read_bytes()))
    assert "damaged or not a PyTorch checkpoint" in refusal(path)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_code_in_the_file_is_not_run(state, save, tmp_path):
    path = save({"model": state, "bomb": Bomb(f"touch {tmp_path / 'ran'}")})
    message = refusal(path)
    assert f"{os.system.__module__}.system" in message
    assert "save the state dict alone" in message
    assert not (tmp_path / "ran").exists()


def test_no_file_or_a_folder(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        assert "no file at" in refusal(path)


def test_an_existing_file_is_kept(state, save, tmp_path):
    out = tmp_path / "released.safetensors"
    out.write_bytes(b"precious")
    assert "exists already" in refusal(save(state), out)
    assert out.read_bytes() == b"precious"
    import_checkpoint(save(state), out, replace=True)
    assert load_network("released", out)


def test_a_full_disk_leaves_nothing(state, save, tmp_path):
    path, out = save(state), tmp_path / "new" / "released.safetensors"
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(WriteError, match=f"^cannot write {out}: File too large$"):
            import_checkpoint(path, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(out.parent.iterdir()) == []


def test_a_failure_is_one_line_and_status_1(state, save, tmp_path, capfd):
    state.pop("output.weight")
    out = tmp_path / "released.safetensors"
    assert cli.main(["import-checkpoint", str(save(state)), "--out", str(out)]) == 1
    error = capfd.readouterr().err
    assert error.startswith("dreamif: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["authors.pth"], ["--out", "released.safetensors"]])
def test_a_wrong_call_is_status_2(arguments):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["import-checkpoint", *arguments])
    assert exit_info.value.code == 2


@pytest.mark.parametrize(
    "switches",
    [{"cross_enhancement": True}, {"self_enhancement": True}, {"relative_dominance": False}],
)
def test_the_released_structure_has_dominance_only(switches):
    with pytest.raises(ConfigError, match="neither cross nor self enhancement"):
        replace(FULL, **switches)
