"""What the paper prints in its Tables 1 to 4, and the degradations behind Tables 2 and 3.

The paper is Dream-IF: Dynamic Relative EnhAncement for Image Fusion (Xu et al.). It gives
σ = 35, λ in [2, 4] and ε in [2, 25] without units. They are read as in the code of the work that it
cites for them (Zhang et al., Designing a practical degradation model for deep blind image
super-resolution, ICCV 2021): 10^λ photons of white, and ε in gray levels of 255. For blur, resizing
and rain it gives no strength; those here are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dreamif_model.degradations.spec import DegradationSpec, Step

NOISES = ("gaussian", "poisson", "speckle")
STRENGTHS: dict[str, Callable[[np.random.Generator], float]] = {
    "gaussian": lambda rng: 35.0,  # noqa: ARG005
    "poisson": lambda rng: 10 ** rng.uniform(2, 4),
    "speckle": lambda rng: rng.uniform(2, 25) / 255,
    "rain": lambda rng: 0.5,  # noqa: ARG005
    "blur": lambda rng: 2.0,  # noqa: ARG005
    "resize": lambda rng: 3.0,  # noqa: ARG005
}
RANDOM = "random noise"  # the condition of Table 2
ONE_STAGE = ("rain", "gaussian", "poisson", "speckle", "blur", "resize")  # columns of Table 3


class PaperTable(NamedTuple):
    """One table as printed.

    Attributes:
        title: what the paper measured, and on which pairs.
        columns: metrics or, in Table 3, degradations.
        rows: by method, a figure for each column.
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]


def random_noise(seed: int) -> DegradationSpec:
    """One to three of the paper's noises for each image, with strengths drawn from its ranges."""
    rng = np.random.default_rng(seed)
    cameras = [rng.permutation(NOISES)[: rng.integers(1, 4)].tolist() for _ in range(2)]
    return DegradationSpec(*(_steps(sorted(names), rng) for names in cameras))


def one_degradation(name: str) -> Callable[[int], DegradationSpec]:
    """One degradation of both images; the strength is drawn for each from the paper's range."""

    def draw(seed: int) -> DegradationSpec:
        rng = np.random.default_rng(seed)
        return DegradationSpec(_steps([name], rng), _steps([name], rng))

    return draw


def conditions(tables: Sequence[int]) -> dict[str, Callable[[int], DegradationSpec]]:
    """The degradations of these tables, by name."""
    found: dict[str, Callable[[int], DegradationSpec]] = {}
    if 2 in tables:
        found[RANDOM] = random_noise
    if 3 in tables:
        found |= {name: one_degradation(name) for name in ONE_STAGE}
    return found


def _steps(names: Sequence[str], rng: np.random.Generator) -> tuple[Step, ...]:
    return tuple((name, STRENGTHS[name](rng)) for name in names)


METRICS = ("AG", "SF", "Qabf", "SSIM", "VIFF")
TABLE_1 = {
    "LLVIP": {
        "TarDAL": (4.921, 18.207, 0.410, 1.080, 0.537),
        "CDDFuse": (5.403, 18.495, 0.582, 1.184, 0.660),
        "EMMA": (5.560, 17.190, 0.552, 1.192, 0.648),
        "Text-IF": (5.682, 17.718, 0.640, 1.074, 0.813),
        "TTD": (5.509, 19.914, 0.627, 1.196, 0.730),
        "Text-DiFuse": (4.848, 15.528, 0.403, 1.045, 0.524),
        "FusionBooster": (5.476, 15.464, 0.407, 0.978, 0.551),
        "Dream-IF": (5.926, 19.992, 0.679, 1.198, 0.800),
    },
    "MSRS": {
        "TarDAL": (1.914, 5.944, 0.170, 0.930, 0.380),
        "CDDFuse": (3.779, 11.570, 0.585, 1.303, 0.717),
        "EMMA": (3.775, 11.559, 0.621, 1.324, 0.738),
        "Text-IF": (3.801, 11.868, 0.624, 1.117, 0.867),
        "TTD": (3.705, 11.527, 0.549, 1.349, 0.656),
        "Text-DiFuse": (3.842, 11.506, 0.436, 0.935, 0.703),
        "FusionBooster": (3.208, 9.012, 0.420, 1.043, 0.630),
        "Dream-IF": (3.962, 12.293, 0.631, 1.362, 0.849),
    },
    "M3FD": {
        "TarDAL": (4.331, 15.766, 0.292, 0.731, 0.486),
        "CDDFuse": (4.800, 14.709, 0.521, 1.379, 0.578),
        "EMMA": (5.362, 15.304, 0.590, 1.377, 0.711),
        "Text-IF": (5.034, 15.494, 0.644, 1.339, 0.637),
        "TTD": (5.022, 15.254, 0.519, 1.367, 0.607),
        "Text-DiFuse": (2.810, 8.465, 0.149, 1.122, 0.165),
        "FusionBooster": (3.559, 10.245, 0.396, 1.297, 0.515),
        "Dream-IF": (5.124, 16.198, 0.614, 1.387, 0.704),
    },
}
TABLE_2 = {  # SCUNet restores first for all but Dream-IF
    "SCUNet, TarDAL": (4.745, 17.337, 0.266, 0.503, 0.256),
    "SCUNet, CDDFuse": (4.530, 15.929, 0.523, 1.179, 0.618),
    "SCUNet, EMMA": (4.593, 14.818, 0.499, 1.186, 0.592),
    "SCUNet, Text-IF": (4.863, 16.554, 0.536, 1.156, 0.609),
    "SCUNet, TTD": (4.948, 16.637, 0.489, 1.144, 0.533),
    "SCUNet, Text-DiFuse": (4.084, 13.777, 0.364, 1.049, 0.490),
    "SCUNet, FusionBooster": (4.524, 13.401, 0.380, 1.017, 0.533),
    "Dream-IF": (5.243, 17.441, 0.580, 1.186, 0.705),
}
TABLE_3 = {
    "Text-IF, told the degradation": (0.273, 0.275, 0.275, 0.270, 0.269, 0.244),
    "Text-DiFuse": (0.296, 0.291, 0.268, 0.266, 0.290, 0.268),
    "Dream-IF": (0.241, 0.255, 0.242, 0.240, 0.260, 0.241),
}
# Its heads are EI, AG, PSNR, Qabf, VIFF, but the last row is that of Table 1 on LLVIP.
TABLE_4 = {
    "base": (5.402, 18.032, 0.627, 1.181, 0.736),
    "RD": (5.638, 18.594, 0.659, 1.185, 0.756),
    "RD, CE": (5.642, 18.633, 0.675, 1.193, 0.770),
    "RD, SE": (5.746, 19.446, 0.668, 1.191, 0.797),
    "RD, CE, SE": (5.926, 19.992, 0.679, 1.198, 0.800),
}
SETS = tuple(TABLE_1)
NUMBERS = (1, 2, 3, 4)


def table(number: int, pairs: str) -> PaperTable:
    """Table 1 to 4 as printed; ``pairs`` is the name of the set that Table 1 is for."""
    return {
        1: PaperTable(f"without degradation, {pairs}", METRICS, TABLE_1[pairs]),
        2: PaperTable("random noise, LLVIP", METRICS, TABLE_2),
        3: PaperTable("LPIPS, one degradation at a time, fused in one stage", ONE_STAGE, TABLE_3),
        4: PaperTable("ablation, LLVIP", METRICS, TABLE_4),
    }[number]
