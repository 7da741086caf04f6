"""Convert checkpoints of the authors' released code to weights of variant ``released``.

The tables below map all names. Two kinds of tensors are also reordered. The release's attention
keeps all queries, then all keys, then all values; ours keeps the three of each head together. The
release puts visible features before infrared ones; we put infrared first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dreamif_model.errors import WeightsError
from dreamif_model.model_files.checkpoints import read_pickled, save_weights
from dreamif_model.network import DreamIF
from dreamif_model.network.blocks import TransposedAttention
from dreamif_model.network.enhancement import DominanceGate
from dreamif_model.output_files import naming
from dreamif_model.variants import NetworkConfig, network_config

VARIANT = "released"
LISTED = 5  # keys of each kind that an error names

# Our stacks of blocks: the release's.
STACKS = {
    "encoder.0": "encoder_level1",
    "encoder.1": "encoder_level2",
    "encoder.2": "encoder_level3",
    "encoder.3": "latent",
    "decoder.0.blocks": "decoder_level3",
    "decoder.1.blocks": "decoder_level2",
    "decoder.2.blocks": "decoder_level1",
    "refinement": "refinement",
}
# The tensors of one block.
BLOCK = {
    "norm_attention.weight": "norm1.body.weight",
    "norm_attention.bias": "norm1.body.bias",
    "attention.temperature": "attn.temperature",
    "attention.qkv.weight": "attn.qkv.weight",
    "attention.qkv_depthwise.weight": "attn.qkv_dwconv.weight",
    "attention.project.weight": "attn.project_out.weight",
    "norm_feed_forward.weight": "norm2.body.weight",
    "norm_feed_forward.bias": "norm2.body.bias",
    "feed_forward.project_in.weight": "ffn.project_in.weight",
    "feed_forward.depthwise.weight": "ffn.dwconv.weight",
    "feed_forward.project_out.weight": "ffn.project_out.weight",
}
# All others.
SINGLE = {
    "embed.weight": "patch_embed.proj.weight",
    "downsample.0.0.weight": "down1_2.body.0.weight",
    "downsample.1.0.weight": "down2_3.body.0.weight",
    "downsample.2.0.weight": "down3_4.body.0.weight",
    "decoder.0.upsample.0.weight": "up4_3.body.0.weight",
    "decoder.1.upsample.0.weight": "up3_2.body.0.weight",
    "decoder.2.upsample.0.weight": "up2_1.body.0.weight",
    "decoder.0.enhance.conv.weight": "restoration_3.conv.weight",
    "decoder.0.enhance.conv.bias": "restoration_3.conv.bias",
    "decoder.1.enhance.conv.weight": "restoration_2.conv.weight",
    "decoder.1.enhance.conv.bias": "restoration_2.conv.bias",
    "decoder.2.enhance.conv.weight": "restoration_1.conv.weight",
    "decoder.2.enhance.conv.bias": "restoration_1.conv.bias",
    "output.weight": "output.weight",
}
# Modules that the release builds and never calls; their tensors are dropped.
UNUSED = (
    "reduce_chan_level3",
    "reduce_chan_level2",
    *(
        f"restoration_{level}.{part}"
        for level in (3, 2, 1)
        for part in ("restoration_A", "restoration_B", "norm1", "norm2")  # A, B: CE and SE
    ),
)


@dataclass(frozen=True)
class ImportReport:
    """How many tensors were imported and dropped."""

    imported: int
    dropped: int
    dropped_modules: tuple[str, ...]


def import_checkpoint(source: Path, out: Path, replace: bool = False) -> ImportReport:
    """Convert ``source``, a checkpoint of the released code, to the safetensors file ``out``.

    WeightsError when reading ``source`` would run code from it, when its tensors are not exactly
    those of the release, or when ``out`` exists and shall not be replaced; WriteError when it
    cannot be written.
    """
    if out.exists() and not replace:
        raise WeightsError(f"{out} exists already: write somewhere else, or --force replaces it")
    used, unused = _split(read_state_dict(source))
    network = build_network(used, source)
    with naming(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    save_weights(network, VARIANT, out)
    modules = tuple(module for module in UNUSED if any(_inside(key, module) for key in unused))
    return ImportReport(len(used), len(unused), modules)


def read_state_dict(path: Path) -> dict[str, Any]:
    """Read the network's entries of a ``.pth``, without running code of the file.

    They may be under ``model`` (where the release saves them), ``state_dict`` or ``params``, and
    have the prefix ``module.`` of a parallel training.
    """
    content = read_pickled(path)
    for name in ("model", "state_dict", "params"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise WeightsError(
            f"{path} holds no state dict: expected names and tensors, at the top or under "
            "'model', 'state_dict' or 'params'"
        )
    if all(key.startswith("module.") for key in content):
        return {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def released_key(name: str) -> str:
    """The release's name of one of our tensors."""
    if name in SINGLE:
        return SINGLE[name]
    part = next(part for part in BLOCK if name.endswith(f".{part}"))
    stack, _, index = name.removesuffix(f".{part}").rpartition(".")
    return f"{STACKS[stack]}.{index}.{BLOCK[part]}"


def build_network(state: Mapping[str, Any], path: Path) -> DreamIF:
    """Build the ``released`` network from the release's tensors that it uses.

    WeightsError lists tensors that do not fit; its message names ``path``.
    """
    with torch.device("meta"):  # shapes only: all values come from the checkpoint
        network = DreamIF(cast("NetworkConfig", network_config(VARIANT)))
    keys = {name: released_key(name) for name in network.state_dict()}
    shapes = {keys[name]: tuple(value.shape) for name, value in network.state_dict().items()}
    _check(state, shapes, path)
    ours = {name: state[key].float() for name, key in keys.items()}
    _reorder(ours, network)
    network.load_state_dict(ours, assign=True)
    return network.eval()


def _inside(key: str, module: str) -> bool:
    return key.startswith(f"{module}.")


def _split(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The entries that the network uses, and the keys of the others."""
    unused = [key for key in state if any(_inside(key, module) for module in UNUSED)]
    return {key: value for key, value in state.items() if key not in unused}, unused


def _check(state: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """One WeightsError for all tensors that do not fit."""
    common = [key for key in shapes if key in state]
    misfits = [key for key in common if not _fits(state[key], shapes[key])]
    fitting = [key for key in common if key not in misfits]
    problems = {
        "missing": [key for key in shapes if key not in state],
        "unknown": [key for key in state if key not in shapes],
        "of another shape or type": [
            f"{key} is {_described(state[key])}, not {shapes[key]}" for key in misfits
        ],
        "with NaN or infinite values": [k for k in fitting if not state[k].isfinite().all()],
    }
    found = [f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in problems.items() if keys]
    if found:
        raise WeightsError(
            f"{path} does not fit the network of the authors' released code: {'; '.join(found)}; "
            "expected the file that its train.py saves, with its sizes unchanged"
        )


def _fits(value: Any, shape: tuple[int, ...]) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_meta
        and value.is_floating_point()
        and value.shape == shape
    )


def _described(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else repr(type(value))


def _first(keys: Iterable[str]) -> str:
    keys = list(keys)
    return ", ".join(keys[:LISTED]) + (", …" if len(keys) > LISTED else "")


def _reorder(state: dict[str, Tensor], network: DreamIF) -> None:
    """Change the release's order of channels to ours, in place."""
    for path, module in network.named_modules():
        if isinstance(module, TransposedAttention):
            for name in (f"{path}.qkv.weight", f"{path}.qkv_depthwise.weight"):
                state[name] = _by_head(state[name], module.heads)
        elif isinstance(module, DominanceGate):
            weight, bias = f"{path}.conv.weight", f"{path}.conv.bias"
            state[weight] = _swap_halves(_swap_halves(state[weight], 0), 1)
            state[bias] = _swap_halves(state[bias], 0)


def _by_head(weight: Tensor, heads: int) -> Tensor:
    """Reorder rows (3C, …) from Q, K, V of all heads to Q, K, V of each head."""
    by_head: Tensor = weight.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
    return by_head


def _swap_halves(value: Tensor, dim: int) -> Tensor:
    """Move the infrared half before the visible half."""
    return value.roll(value.shape[dim] // 2, dim)
