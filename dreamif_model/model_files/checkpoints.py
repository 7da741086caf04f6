"""Weights on disk: safetensors that name their variant, and PyTorch files of plain values."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dreamif_model.errors import MAX_SHOWN, WeightsError, shown
from dreamif_model.network import Network, make_network
from dreamif_model.output_files import write_whole
from dreamif_model.variants import SWITCHES, WEIGHTS_FOLDER, network_config, without_noise_map

FORMAT = "dreamif-1"  # metadata key "format"; changes when old files can no longer be read
MAX_HEADER = 1 << 20  # bytes, in which a safetensors file names its tensors
NOISE_MAP = "embed_noise.kernel.weight"  # in networks that take a map of noise
NOT_SAFETENSORS = "not a readable safetensors file: it is damaged, cut off or of another kind"


def save_weights(
    network: torch.nn.Module, variant: str, path: Path, without: Sequence[str] = ()
) -> None:
    """Write a network's weights; the metadata names its variant and the parts it lacks."""
    state = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    metadata = {"format": FORMAT, "variant": variant, "without": ",".join(without)}
    write_whole(path, save(state, metadata=metadata))


def load_network(variant: str, path: Path | str | None = None) -> Network:
    """Build ``variant`` in eval mode, with its packaged weights or with those of ``path``.

    WeightsError when the file is missing, not safetensors, of another variant, or when its
    tensors are not exactly the network's.
    """
    network_config(variant)  # refuses an unknown one
    path = Path(path) if path else WEIGHTS_FOLDER / f"{variant}.safetensors"
    with _opened(path) as (file, metadata):
        config = network_config(variant, _without(metadata, variant, path))
        if NOISE_MAP not in file.keys():  # noqa: SIM118  # no mapping
            config = without_noise_map(config)
        network = make_network(config)
        expected = network.state_dict()
        _check_tensors(file, {name: list(value.shape) for name, value in expected.items()}, path)
        state = {name: file.get_tensor(name) for name in expected}
    broken = next((name for name, value in state.items() if not value.isfinite().all()), None)
    if broken:
        raise WeightsError(f"{path} has NaN or infinite values in {broken}")
    network.load_state_dict(state)
    return network.eval()


def variant_of(path: Path) -> str:
    """The variant whose weights a file holds; WeightsError when it cannot be read."""
    with _opened(path) as (_, metadata):
        return metadata["variant"]


def read_pickled(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read tensors and plain values that ``torch.save`` wrote, without running code of the file.

    WeightsError when the file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise WeightsError(f"no file at {path}: expected the .pth of a checkpoint")
    with path.open("rb") as file:  # an OSError of this is none of its content
        try:
            # The authors' release saves its options too: a Namespace, which only holds values.
            with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch guesses about damaged files
                return torch.load(file, map_location=device, weights_only=True)
        except Exception as error:  # damage can raise any error: a seek to nowhere, an OSError
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


def _without(metadata: dict[str, str], variant: str, path: Path) -> list[str]:
    """The parts that the network was built without."""
    if metadata["variant"] != variant:
        raise WeightsError(
            f"{path} holds weights of variant {shown(metadata['variant'])}, not of {variant!r}"
        )
    without = [name for name in metadata.get("without", "").split(",") if name]
    if not set(without) <= set(SWITCHES):
        raise WeightsError(
            f"{path} was built without {shown(without)}: known are {', '.join(SWITCHES)}"
        )
    return without


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """The open file and its metadata, of any variant."""
    if not path.is_file():
        shipped = sorted(p.stem for p in WEIGHTS_FOLDER.glob("*.safetensors"))
        raise WeightsError(
            f"no weights at {path}: variants with weights in the package are "
            f"{', '.join(shipped) or 'none'}; train others with `dreamif train`, or "
            "convert a checkpoint of the authors' with `dreamif import-checkpoint`"
        )
    check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise WeightsError(
                    f"{path} was not written by `dreamif train` (format "
                    f"{shown(metadata.get('format', 'none'))}, expected {FORMAT!r})"
                )
            yield file, {"variant": "none"} | metadata
    except (SafetensorError, OSError):
        raise WeightsError(f"{path} is {NOT_SAFETENSORS}") from None


def check_header(path: Path) -> None:
    """WeightsError where a safetensors file names a header larger than any that we write."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= min(MAX_HEADER, path.stat().st_size - 8):
        raise WeightsError(f"{path} is {NOT_SAFETENSORS}")


def _check_tensors(file: Any, expected: dict[str, list[int]], path: Path) -> None:
    """WeightsError where names or shapes are not those expected; no values are read for it."""
    found = set(file.keys())
    shapes = {name: file.get_slice(name).get_shape() for name in found & expected.keys()}
    problems = [
        f"{len(names)} {what} (first: {min(names)[:MAX_SHOWN]})"
        for what, names in (
            ("missing", expected.keys() - found),
            ("unknown", found - expected.keys()),
            ("of another shape", {n for n, shape in shapes.items() if shape != expected[n]}),
        )
        if names
    ]
    if problems:
        raise WeightsError(f"the tensors of {path} do not fit the network: {'; '.join(problems)}")
