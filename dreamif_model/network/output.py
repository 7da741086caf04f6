"""The output of a network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class NetworkOutput:
    """The output of one pass; images are about in [0, 1], not clamped."""

    fused: Tensor  # (B, 1 or 3, H, W)
    dominance: list[Tensor]  # per decoder level, coarse to fine: (B, 2, h, w), infrared first
    restored: Tensor | None  # (2B, 1 or 3, H, W), infrared first; with source_residual only

    def float(self) -> NetworkOutput:
        return NetworkOutput(
            self.fused.float(),
            [maps.float() for maps in self.dominance],
            None if self.restored is None else self.restored.float(),
        )
