"""Weights on disk: safetensors that name their variant, and PyTorch files of plain values."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dreamif_model.errors import WeightsError
from dreamif_model.network import Network, make_network
from dreamif_model.variants import SWITCHES, WEIGHTS_FOLDER, network_config

FORMAT = "dreamif-1"  # metadata key "format"; changes when old files can no longer be read


def save_weights(
    network: torch.nn.Module, variant: str, path: Path, without: Sequence[str] = ()
) -> None:
    """Write a network's weights; the metadata names its variant and the parts it lacks."""
    state = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    metadata = {"format": FORMAT, "variant": variant, "without": ",".join(without)}
    save_file(state, path, metadata=metadata)


def load_network(variant: str, path: Path | str | None = None) -> Network:
    """Build ``variant`` in eval mode, with its packaged weights or with those of ``path``.

    WeightsError when the file is missing, not safetensors, of another variant, or when its
    tensors are not exactly the network's.
    """
    network_config(variant)  # refuses an unknown one
    path = Path(path) if path else WEIGHTS_FOLDER / f"{variant}.safetensors"
    state, without = _read(path, variant)
    network = make_network(network_config(variant, without))
    _check_tensors(state, network.state_dict(), path)
    network.load_state_dict(state)
    return network.eval()


def variant_of(path: Path) -> str:
    """The variant whose weights a file holds; WeightsError when it cannot be read."""
    return _read_file(path)[1]["variant"]


def read_pickled(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read tensors and plain values that ``torch.save`` wrote, without running code of the file.

    WeightsError when the file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise WeightsError(f"no file at {path}: expected the .pth of a checkpoint")
    try:
        # The authors' release saves its options too: a Namespace, which only holds values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch guesses about damaged files
            return torch.load(path, map_location=device, weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise any error
        raise WeightsError(_unreadable(path, str(error))) from None


def _unreadable(path: Path, reason: str) -> str:
    """An error message in place of torch's, which advises to run the file's code."""
    found = re.search(r"GLOBAL (\S+)", reason)
    if not found:
        return f"{path} is damaged or not a PyTorch checkpoint"
    return (
        f"{path} holds {found[1]}, which could run as code when read, so it was not read: where "
        "you trust the file, save the state dict alone, torch.save(model.state_dict(), ...)"
    )


def _read(path: Path, variant: str) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors, and the parts that the network was built without."""
    state, metadata = _read_file(path)
    if metadata.get("variant") != variant:
        raise WeightsError(
            f"{path} holds weights of variant {metadata.get('variant')!r}, not of {variant!r}"
        )
    without = [name for name in metadata.get("without", "").split(",") if name]
    if not set(without) <= set(SWITCHES):
        raise WeightsError(f"{path} was built without {without}: known are {', '.join(SWITCHES)}")
    return state, without


def _read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of any variant."""
    if not path.is_file():
        shipped = sorted(p.stem for p in WEIGHTS_FOLDER.glob("*.safetensors"))
        raise WeightsError(
            f"no weights at {path}: variants with weights in the package are "
            f"{', '.join(shipped) or 'none'}; train others with `dreamif train`, or "
            "convert a checkpoint of the authors' with `dreamif import-checkpoint`"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} was not written by `dreamif train` (format "
            f"{metadata.get('format', 'none')!r}, expected {FORMAT!r})"
        )
    return state, {"variant": "none"} | metadata


def _check_tensors(state: dict[str, Tensor], expected: dict[str, Tensor], path: Path) -> None:
    missing, surplus = expected.keys() - state.keys(), state.keys() - expected.keys()
    other = [n for n in expected.keys() & state.keys() if expected[n].shape != state[n].shape]
    problems = [
        f"{len(names)} {what} (first: {min(names)})"
        for what, names in (
            ("missing", missing),
            ("unknown", surplus),
            ("of another shape", other),
        )
        if names
    ]
    if problems:
        raise WeightsError(f"the tensors of {path} do not fit the network: {'; '.join(problems)}")
    broken = sorted(name for name, value in state.items() if not value.isfinite().all())
    if broken:
        raise WeightsError(f"{path} has NaN or infinite values in {broken[0]}")
