"""Compute what to expect of boards for drones and robots. Nothing is measured on any of them.

    .venv/bin/python benchmarks/boards.py

Prints the tables of docs/onboard.md. The minimum time of a frame is the roofline of
`dreamif benchmark`: the larger one of arithmetic / peak arithmetic and memory / peak bandwidth. The
expected time is that minimum divided by the share of its peak that this network reached on the CPU
of docs/performance.md (column "of peak", OpenVINO, fp32, one thread).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dreamif_model.benchmark.complexity import complexity
from dreamif_model.benchmark.measure import FULL_SIZE_BYTES
from dreamif_ros.cli.table import markdown_table

SIZE = 640, 480
SHARES = {"nano": 0.67, "tiny": 0.41}  # of the peak, as measured


@dataclass(frozen=True)
class Board:
    """Published figures.

    cores: CUDA cores, or cores of the CPU. fma: fp32 multiply-accumulates of a core in one clock.
    ghz: maximum clock. bus_bits, mega_transfers: of the memory.
    """

    name: str
    cores: int
    fma: int
    ghz: float
    bus_bits: int
    mega_transfers: int

    @property
    def gmac_per_s(self) -> float:
        """Peak arithmetic in fp32; tensor cores are not counted."""
        return self.cores * self.fma * self.ghz

    @property
    def gigabytes_per_s(self) -> float:
        """Peak bandwidth of the memory."""
        return self.bus_bits / 8 * self.mega_transfers / 1e3


BOARDS = (
    Board("Jetson Orin Nano 8 GB", 1024, 1, 0.625, 128, 4266),
    Board("Jetson Orin NX 16 GB", 1024, 1, 0.918, 128, 6400),
    Board("Raspberry Pi 5", 4, 8, 2.4, 32, 4267),
    Board("Intel N100", 4, 8, 3.4, 64, 4800),
)


def peaks() -> str:
    """The table of the boards."""
    header = ("board", "cores × per clock × GHz", "GMAC/s", "memory: bits × MT/s", "GB/s")
    rows = [
        (
            board.name,
            f"{board.cores} × {board.fma} × {board.ghz:g}",
            f"{board.gmac_per_s:.0f}",
            f"{board.bus_bits} × {board.mega_transfers}",
            f"{board.gigabytes_per_s:.1f}",
        )
        for board in BOARDS
    ]
    return markdown_table(header, rows)


def expectations() -> str:
    """The table of times; all of them computed."""
    header = ("board", "variant", "GMAC", "MB", "minimum ms", "expected ms", "expected Hz")
    return markdown_table(header, [_row(board, name) for board in BOARDS for name in SHARES])


def _row(board: Board, variant: str) -> tuple[str, ...]:
    cost = complexity(variant, *SIZE)
    gmac = cost.macs / 1e9
    megabytes = (SIZE[0] * SIZE[1] * FULL_SIZE_BYTES + cost.parameters * 4) / 1e6
    minimum_s = max(gmac / board.gmac_per_s, megabytes / 1e3 / board.gigabytes_per_s)
    expected_s = minimum_s / SHARES[variant]
    times = f"{minimum_s * 1e3:.1f}", f"{expected_s * 1e3:.0f}", f"{1 / expected_s:.0f}"
    return board.name, variant, f"{gmac:.2f}", f"{megabytes:.1f}", *times


if __name__ == "__main__":
    print(peaks())
    print(expectations(), end="")
