"""``dreamif benchmark``: time per frame and memory, of variants, sizes and precisions."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dreamif_model import VARIANTS, ConfigError
from dreamif_model.benchmark import Case, Figures, measure_apart
from dreamif_model.device import (
    BACKENDS,
    PRECISIONS,
    machine_name,
    resolve_device,
    resolve_precision,
)
from dreamif_model.engine import STAGES
from dreamif_model.openvino_network import import_openvino
from dreamif_model.variants import AVERAGE
from dreamif_ros.cli.options import check_writable
from dreamif_ros.cli.table import markdown_table, parse_size, text_table
from dreamif_ros.json_file import write_json

EXAMPLES = """examples:
  dreamif benchmark --variant nano --variant tiny --precision fp32 --precision bf16
  dreamif benchmark --backend torch --backend openvino --precision bf16 --size 640x480
  dreamif benchmark --device cuda --size 640x512 --size 1280x1024 --markdown

Nothing else should run meanwhile. `base` takes minutes per frame on a CPU."""
HEADER = (
    "variant",
    "weights",
    "size",
    "backend",
    "precision",
    "ms",
    "p10-p90",
    *STAGES,
    "ratio",
    "MiB",
)


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "benchmark",
        help="time per frame, stage by stage, and memory",
        description="Fuse random pairs and print milliseconds per frame (median, 10th to 90th "
        "percentile; median per stage), the ratio to the first row and peak memory. Each row is "
        "measured in a process of its own. `average`, which has no network, is always among them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    several = "; may be given several times"
    parser.add_argument(
        "--variant",
        choices=VARIANTS,
        action="append",
        help=f"model variant (default: nano){several}",
    )
    parser.add_argument(
        "--size",
        action="append",
        metavar="WxH",
        help=f"of both images, in pixels (default: 640x512){several}",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        action="append",
        help="what runs the network (default: torch); openvino is for the CPU, where then all rows "
        f"are measured{several}",
    )
    parser.add_argument(
        "--precision",
        action="append",
        metavar="NAME",
        help=f"{', '.join(PRECISIONS)} (default: auto, fp16 on CUDA and fp32 on the CPU){several}",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    parser.add_argument(
        "--frames", type=int, default=20, help="that count, per row (default: %(default)s)"
    )
    parser.add_argument(
        "--warmup",
        type=int,
        default=3,
        help="frames before those; on CUDA at least 2 (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="of the CPU (default: left to torch)"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure every case, print the machine and one row per case."""
    check_writable("--json", options.json)
    backends = list(dict.fromkeys(options.backend or ["torch"]))
    device = resolve_device(options.device, "openvino" if "openvino" in backends else "torch")
    cases = list(_cases(options, device, backends))
    figures = [measure_apart(case) for case in tqdm(cases, unit="case", disable=None)]
    machine = describe_machine(device, figures[0].threads)
    if "openvino" in backends:
        machine["OpenVINO"] = version("openvino")
    first = figures[0].median_ms
    table = markdown_table if options.markdown else text_table
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"median of {options.frames} frames after {options.warmup}, ms\n")
    print(table(HEADER, [_texts(row, row.median_ms / first) for row in figures]), end="")
    for note in _notes(figures, device):
        print(f"\n{note}")
    if options.json:
        write_json(options.json, {"machine": machine, "rows": figures})
    return 0


def describe_machine(device: torch.device, threads: int) -> dict[str, str]:
    """What the figures depend on."""
    machine = {device.type.upper(): machine_name(device), "torch": torch.__version__}
    if device.type == "cpu":
        waiting = os.environ.get("OMP_WAIT_POLICY", "unset")
        machine |= {"threads": str(threads), "OMP_WAIT_POLICY": waiting}
    return machine


def _cases(
    options: argparse.Namespace, device: torch.device, backends: Sequence[str]
) -> Iterator[Case]:
    """By size, variant, backend and precision; all options are checked before any is measured."""
    least_warmup = 2 if device.type == "cuda" else 0
    for name, value, least in (
        ("--frames", options.frames, 1),
        ("--warmup", options.warmup, least_warmup),
        ("--threads", options.threads, 0),
    ):
        if value < least:
            raise ConfigError(f"{name} is {value}, expected {least} or more")
    asked = options.precision or ["auto"]
    precisions = list(dict.fromkeys(resolve_precision(name, device) for name in asked))
    variants = dict.fromkeys([*(options.variant or ["nano"]), AVERAGE])
    sizes = [parse_size(text) for text in options.size or ["640x512"]]
    if "openvino" in backends:
        import_openvino()
    for width, height in sizes:
        for variant in variants:
            plain = variant == AVERAGE  # nothing in it depends on these two
            for backend in ["torch"] if plain else backends:
                for precision in ["fp32"] if plain else precisions:
                    yield Case(
                        variant,
                        width,
                        height,
                        str(device),
                        precision,
                        options.frames,
                        options.warmup,
                        options.threads,
                        backend,
                    )


def _texts(row: Figures, ratio: float) -> tuple[str, ...]:
    return (
        row.variant,
        row.weights,
        f"{row.width}x{row.height}",
        row.backend,
        row.precision,
        f"{row.median_ms:.2f}",
        f"{row.p10_ms:.2f}-{row.p90_ms:.2f}",
        *(f"{row.stages_ms[stage]:.2f}" for stage in STAGES),
        f"{ratio:.2f}",
        f"{row.memory_mib:.0f}",
    )


def _notes(figures: list[Figures], device: torch.device) -> Iterator[str]:
    """What a reader would otherwise take for granted."""
    yield {
        "cuda": "MiB: peak that torch allocated on the GPU.",
        "cpu": "MiB: peak resident memory of the whole process, Python and torch included.",
    }[device.type]
    random = {row.variant: None for row in figures if row.weights == "random"}
    if random:
        yield (
            f"Random weights: {', '.join(random)} (no weights in the package that fit); "
            "the time is that of trained ones."
        )
    slow = {f"{row.variant} {row.precision}": None for row in figures if not row.cuda_graph}
    if device.type == "cuda" and slow:
        yield f"Without CUDA graph: {', '.join(slow)}."
