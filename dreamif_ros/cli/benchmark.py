"""``dreamif benchmark``: time per frame of variants, backends and precisions."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dreamif_model import ConfigError
from dreamif_model.backends import BACKENDS, available, check_available
from dreamif_model.benchmark.case import ANCHOR, PEER, Case
from dreamif_model.benchmark.classic_fusion import CLASSIC
from dreamif_model.benchmark.measure import Figures, Peak, measure_apart, measure_peak
from dreamif_model.device import PRECISIONS, check_device_name, cuda_is_here, machine_name
from dreamif_model.variants import AVERAGE
from dreamif_ros.cli.model_options import add_device_option, add_variants_option
from dreamif_ros.cli.options import add_force_option, check_outputs
from dreamif_ros.cli.progress import progress
from dreamif_ros.cli.table import markdown_table, parse_size, text_table
from dreamif_ros.json_file import write_json

EXAMPLES = """examples:
  dreamif benchmark
  dreamif benchmark --variant nano --backend openvino --precision bf16 --threads 1
  dreamif benchmark --device cuda --size 640x512 --size 1280x1024 --markdown
  dreamif benchmark --peer other_network.onnx
  dreamif benchmark --live

Run nothing else at the same time. `base` takes minutes per frame on a CPU."""
HEADER = (
    *("method", "weights", "size", "backend", "precision", "CPU ms", "p50 ms", "p99 ms"),
    *("GMAC", "MB", "of peak", "ratio", "MiB"),
)
LIVE_HEADER = ("cameras Hz", "fused Hz", "p50 ms", "p99 ms", "pairs", "overtaken")
LIVE_RATES_HZ = (10, 30, 60)
LIVE_S = 5.0
PACKAGES = ("torch", "openvino", "onnxruntime", "opencv-python-headless")


def add_parser(verbs: Any) -> None:
    parser = verbs.add_parser(
        "benchmark",
        help="time per frame of variants, backends and precisions, beside other methods",
        description="Fuse random pairs and print for each frame: CPU time (median), wall time "
        "(median and 99th percentile), multiply-accumulates (GMAC), megabytes to move, the share "
        "of this machine's measured fp32 roofline (it can exceed 1 in bf16), the ratio of CPU time "
        "to the anchor's, and peak memory. Each row is measured in a process of its own.",
        epilog=EXAMPLES,
    )
    _add_case_options(parser)
    _add_measuring_options(parser)
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    add_force_option(parser)
    parser.set_defaults(run=run)


def _add_case_options(parser: argparse.ArgumentParser) -> None:
    several = "; may be given several times"
    add_variants_option(parser, "nano")
    parser.add_argument(
        "--size",
        action="append",
        metavar="WxH",
        help=f"size of both images in pixels (default: 640x480){several}",
    )
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        action="append",
        help=f"backend that runs the network (default: all that are here){several}",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        action="append",
        metavar="NAME",
        help=f"{', '.join(PRECISIONS)} (default: all that the backend has here){several}",
    )
    add_device_option(parser)
    parser.add_argument(
        "--peer",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="another network as TorchScript or ONNX, with two inputs, infrared and visible luma, "
        f"float32 (1, 1, H, W) in [0, 1]; it runs on the CPU{several}",
    )
    parser.add_argument(
        "--only-networks",
        action="store_true",
        help="leave out average, the classic methods and the anchor; the ratio is to the first row",
    )


def _add_measuring_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--live",
        action="store_true",
        help="run the fusion node with simulated cameras at "
        f"{', '.join(map(str, LIVE_RATES_HZ))} Hz over ROS instead, with the first variant given",
    )
    parser.add_argument(
        "--frames", type=int, default=20, help="frames to measure per row (default: %(default)s)"
    )
    parser.add_argument(
        "--warmup",
        type=int,
        default=3,
        help="frames before those; 2 or more on CUDA (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads (default: one per usable core)"
    )


def run(options: argparse.Namespace) -> int:
    check_outputs({"--json": options.json}, options.peer, force=options.force)
    check_device_name(options.device)
    table = markdown_table if options.markdown else text_table
    if options.live:
        return _run_live(options, table)
    cases = list(_cases(options))
    peak = measure_peak(options.threads)
    figures = [measure_apart(case) for case in progress(cases, "case")]
    anchor = next((row for row in figures if row.method == ANCHOR), figures[0])
    machine = describe_machine(figures[0].device, figures[0].threads)
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(
        f"peak of {figures[0].threads} threads, fp32: {peak.gmac_per_s:.0f} GMAC/s, "
        f"{peak.gigabytes_per_s:.1f} GB/s; {options.frames} frames after {options.warmup}\n"
    )
    print(table(HEADER, [_texts(row, peak, anchor) for row in figures]), end="")
    for note in _notes(figures):
        print(f"\n{note}")
    if options.json:
        write_json(options.json, {"machine": machine, "peak": peak, "rows": figures})
    return 0


def describe_machine(device: str, threads: int) -> dict[str, str]:
    """The hardware and the versions that the figures depend on."""
    kind = device.partition(":")[0]
    machine = {kind.upper(): machine_name(device), "threads": str(threads)}
    for package in PACKAGES:
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            continue
    return machine


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    """The cases by size; checks all options before any case is measured."""
    on_cuda = options.device.startswith("cuda") or (options.device == "auto" and cuda_is_here())
    for name, value, lowest in (
        ("--frames", options.frames, 1),
        ("--warmup", options.warmup, 2 if on_cuda else 0),
        ("--threads", options.threads, 0),
    ):
        if value < lowest:
            raise ConfigError(f"{name} is {value}, expected {lowest} or more")
    sizes = [parse_size(text) for text in options.size or ["640x480"]]
    variants = dict.fromkeys(options.variant or ["nano"])
    pairs = _backends_and_precisions(options)
    shared = {"frames": options.frames, "warmup": options.warmup, "threads": options.threads}
    for width, height in sizes:
        for variant in variants:
            for backend, precision in [("auto", "auto")] if variant == AVERAGE else pairs:
                yield Case(variant, width, height, options.device, precision, backend, **shared)
        for path in options.peer:
            yield Case(PEER, width, height, "cpu", file=path, **shared)
        if not options.only_networks:
            for method in (name for name in (AVERAGE, *CLASSIC) if name not in variants):
                yield Case(method, width, height, "cpu", **shared)
            yield Case(ANCHOR, width, height, options.device, **shared)


def _backends_and_precisions(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The pairs that were asked for, or all that this machine has."""
    here = available(options.device)
    if options.backend is None and options.precision is None:
        return here
    backends = list(dict.fromkeys(options.backend or [name for name, _ in here]))
    pairs = []
    for backend in backends:
        check_available(backend)
        own = [precision for name, precision in here if name == backend]
        if not own:
            raise ConfigError(f"backend {backend} does not run on device {options.device} here")
        for precision in options.precision or own:
            if precision in (*own, "auto"):
                pairs.append((backend, precision))
            elif options.backend:
                raise ConfigError(
                    f"backend {backend} has no precision {precision} on device {options.device} "
                    f"here: choose {', '.join(own)} or auto"
                )
    if not pairs:
        raise ConfigError(f"no backend here has precision {', '.join(options.precision)}")
    return pairs


def _texts(row: Figures, peak: Peak, anchor: Figures) -> tuple[str, ...]:
    share = peak.share(row) if row.device == "cpu" else None
    return (
        row.method,
        row.weights,
        f"{row.width}x{row.height}",
        row.backend,
        row.precision,
        f"{row.cpu_ms:.2f}",
        f"{row.p50_ms:.2f}",
        f"{row.p99_ms:.2f}",
        "" if row.gmac is None else f"{row.gmac:.2f}",
        f"{row.megabytes:.1f}",
        "" if share is None else f"{share:.2f}",
        f"1/{anchor.cpu_ms / row.cpu_ms:.1f}",
        f"{row.memory_mib:.0f}",
    )


def _notes(figures: list[Figures]) -> Iterator[str]:
    """What a reader should know."""
    yield "MiB: peak resident memory of the process; on CUDA the memory that torch allocated."
    random = {row.method for row in figures if row.weights == "random"} - {ANCHOR}
    if random:
        yield (
            f"Random weights: {', '.join(sorted(random))} (the package has none that fit); trained "
            "ones take the same time."
        )
    slow = {
        f"{row.method} {row.precision}": None
        for row in figures
        if row.device != "cpu" and row.backend == "torch" and not row.cuda_graph
    }
    if slow:
        yield f"Without CUDA graph: {', '.join(slow)}."


def _run_live(options: argparse.Namespace, table: Any) -> int:
    """Measure the node between simulated cameras and a listener, all on this machine."""
    from dreamif_ros.cli.demo import summarize
    from dreamif_ros.simulation.demo_run import (
        DemoSettings,  # here, so that the other rows need no ROS
        run_demo,
    )

    variant = (options.variant or ["nano"])[0]
    rows, summaries = [], []
    for rate_hz in LIVE_RATES_HZ:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "nodes.log"
            settings = DemoSettings(variant, options.device, rate_hz=rate_hz)
            recording = run_demo(LIVE_S, settings, log)
        summary = summarize(recording, LIVE_S)
        latency = summary["stamp_to_publish_ms"]
        summaries.append({"cameras_hz": rate_hz} | summary)
        rows.append(
            (
                str(rate_hz),
                f"{summary['published_hz']:.1f}",
                f"{latency['p50']:.1f}",
                f"{latency['p99']:.1f}",
                str(summary["pairs"]),
                str(sum(summary["dropped_pairs"].values())),
            )
        )
    model = f"{summaries[0]['variant']} by {summaries[0]['backend']} {summaries[0]['precision']}"
    print(f"{model}, {LIVE_S:g} s at each rate; ms from stamp to publish\n")
    print(table(LIVE_HEADER, rows), end="")
    if options.json:
        write_json(options.json, {"live": summaries})
    return 0
