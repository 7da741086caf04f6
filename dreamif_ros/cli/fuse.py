"""``dreamif fuse``: image files or videos in, fused image files or a video out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dreamif_model import ConfigError, FusionPipeline
from dreamif_model.backends import BACKENDS
from dreamif_model.cameras import Camera
from dreamif_model.degradations.kinds import DEGRADATIONS
from dreamif_model.degradations.spec import DegradationSpec
from dreamif_model.device import PRECISIONS
from dreamif_model.output_files import sole_writer
from dreamif_model.registration.calibration_file import read_calibration
from dreamif_model.registration.warp import Calibration
from dreamif_model.stream import StreamFuser
from dreamif_model.temporal.settings import TEMPORAL_MODES, TemporalConfig
from dreamif_model.thermal import ThermalConfig, ThermalNormalizer
from dreamif_ros.cli.fuse_files import (
    FuseInputs,
    Keep,
    folder_of,
    open_inputs,
    output_files,
    refuse_input_folder,
    written_to,
)
from dreamif_ros.cli.model_options import (
    add_device_option,
    add_variant_option,
    add_weights_option,
)
from dreamif_ros.cli.options import add_force_option, check_files, make_folder
from dreamif_ros.cli.progress import progress

EXAMPLES = """examples:
  dreamif fuse --ir thermal.png --vi color.png --out fused
  dreamif fuse --ir recording/ir --vi recording/vi --out fused --sequence --dominance
  dreamif fuse --ir thermal.mp4 --vi color.mp4 --out fused.mp4 --temporal-mode auto
  dreamif fuse --ir thermal.png --vi color.png --out fused --backend openvino --precision bf16
  dreamif fuse --ir thermal.png --vi color.png --out fused \\
      --degrade infrared=stripes:8,gaussian:15 --degrade visible=rain:0.5"""


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "fuse",
        help="fuse two images, two folders of images or two videos",
        description="Fuse two images, two folders of images with equal names, or two videos with "
        "equally many frames. Writes <stem>.png per pair, of the visible image's size; the stems "
        "of frames are numbered from 000000. With --degrade, 16-bit infrared is scaled to 8 bits "
        "before it is degraded.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--ir",
        type=Path,
        metavar="PATH",
        required=True,
        help="infrared image, folder or video, 8 or 16 bit",
    )
    parser.add_argument(
        "--vi",
        type=Path,
        metavar="PATH",
        required=True,
        help="visible image, folder or video, 8 bit",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        required=True,
        help="folder to write to, or a video (.mp4, .mkv, .avi), which has the rate of a visible "
        "video, or 30 Hz",
    )
    add_model_options(parser)
    add_calibration_option(parser)
    add_sequence_option(parser)
    add_temporal_options(parser)
    parser.add_argument(
        "--dominance",
        action="store_true",
        help="also write <stem>_infrared.png and <stem>_visible.png, the dominance maps "
        "(0 to 255 for 0 to 1)",
    )
    add_degrade_options(parser)
    add_force_option(parser)
    parser.set_defaults(run=run)


def add_calibration_option(parser: argparse.ArgumentParser) -> None:
    """How infrared lies on the visible image."""
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="YAML of `dreamif calibrate`: how infrared lies on the visible image; without, it is "
        "resized to it",
    )


def add_sequence_option(parser: argparse.ArgumentParser) -> None:
    """Whether the images of a folder follow each other in time."""
    parser.add_argument(
        "--sequence",
        action="store_true",
        help="the files, sorted by name, are frames of one video: the range of 16-bit infrared "
        "follows them slowly, as in the node (default: each image has its own; always so for "
        "videos)",
    )


def add_temporal_options(parser: argparse.ArgumentParser) -> None:
    """What the memory of earlier frames is used for."""
    parser.add_argument(
        "--temporal-mode",
        choices=TEMPORAL_MODES,
        default=TemporalConfig.mode,
        help="temporal.mode: auto removes noise and stripes with the help of earlier frames "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--temporal-strength",
        type=float,
        default=TemporalConfig.strength,
        metavar="SHARE",
        help="temporal.strength: how many frames are averaged where nothing moves, 0 for one, 0.5 "
        "for 8, 1 for 15 (default: %(default)s)",
    )


def thermal_config(options: argparse.Namespace) -> ThermalConfig:
    """What :func:`add_sequence_option` asks for."""
    return ThermalConfig() if options.sequence else ThermalConfig(smoothing=1.0)


def temporal_config(options: argparse.Namespace) -> TemporalConfig:
    """What :func:`add_temporal_options` asks for; ConfigError for a strength without a memory."""
    config = TemporalConfig(options.temporal_mode, options.temporal_strength)
    if config.mode == "off" and config.strength != TemporalConfig.strength:
        raise ConfigError("--temporal-strength goes with --temporal-mode auto: give both")
    return config


def _temporal_config(options: argparse.Namespace) -> TemporalConfig:
    """The same, and ConfigError for a memory without a sequence."""
    config = temporal_config(options)
    if config.mode != "off" and not options.sequence:
        raise ConfigError(
            f"--temporal-mode {config.mode} needs frames of one video: add --sequence"
        )
    return config


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options of every verb that fuses."""
    add_variant_option(parser)
    add_device_option(parser)
    add_weights_option(parser)
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="what runs the network (default: auto, the fastest here: torch on CUDA, openvino on "
        "a CPU)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="numeric precision of the network (default: auto: fp16 on CUDA; on a CPU bf16 where "
        "it is faster than fp32, else fp32)",
    )


def make_pipeline(
    options: argparse.Namespace, thermal: ThermalConfig, registration: Calibration | None = None
) -> FusionPipeline:
    """The pipeline that :func:`add_model_options` asks for."""
    return FusionPipeline(
        options.variant,
        options.device,
        options.weights,
        thermal,
        precision=options.precision,
        registration=registration,
        backend=options.backend,
    )


def add_degrade_options(parser: argparse.ArgumentParser) -> None:
    """The options of every verb that can spoil its inputs first."""
    kinds = ", ".join(
        f"{name} ({kind.unit}, {kind.valid[0]:g} to {kind.valid[1]:g})"
        for name, kind in DEGRADATIONS.items()
    )
    parser.add_argument(
        "--degrade",
        action="append",
        default=[],
        metavar="SPEC",
        help="degrade the inputs first: NAME:STRENGTH[,NAME:STRENGTH...], in that order, for both "
        "cameras, or for one with infrared= or visible= before it; may be given several times. "
        f"{kinds}",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of --degrade (default: %(default)s)"
    )


def parse_degrade_options(options: argparse.Namespace) -> tuple[DegradationSpec, int]:
    """What --degrade asks for, and the seed."""
    if not 0 <= options.seed < 2**63:
        raise ConfigError(f"--seed is {options.seed}, expected 0 to 2^63 - 1")
    return DegradationSpec.parse(options.degrade), options.seed


def run(options: argparse.Namespace) -> int:
    """Fuse every pair."""
    inputs = open_inputs(options.ir, options.vi)
    options.sequence |= inputs.of_video
    spec, seed = parse_degrade_options(options)
    temporal = _temporal_config(options)
    outputs = output_files(options.out, inputs.names, options.dominance, options.force)
    read = [options.ir, options.vi, options.calibration, options.weights]
    check_files(outputs, read, force=options.force)
    refuse_input_folder(options.out, options.ir, options.vi)
    registration = read_calibration(options.calibration) if options.calibration else None
    pipeline = make_pipeline(options, thermal_config(options), registration)
    folder = folder_of(options.out)
    make_folder("--out", folder)
    with (
        sole_writer(folder),
        written_to(options.out, inputs.rate_hz, options.dominance) as keep,
    ):
        _fuse_all(options, inputs, keep, pipeline.stream(temporal), spec, seed)
    count = len(inputs.names)
    print(f"{count} fused image{'s' if count > 1 else ''} in {options.out}")
    if options.degrade:
        print(f"inputs were degraded: {' '.join(options.degrade)}, seed {seed}")
    return 0


def _fuse_all(
    options: argparse.Namespace,
    inputs: FuseInputs,
    keep: Keep,
    stream: StreamFuser,
    spec: DegradationSpec,
    seed: int,
) -> None:
    generator = spec.generator(seed)
    counts_to_gray = ThermalNormalizer(thermal_config(options))
    pairs = zip(inputs.names, inputs.pairs, strict=True)
    for name, (infrared, visible) in progress(pairs, "pair", len(inputs.names)):
        if spec.infrared:  # strengths are in gray levels: counts become gray first
            infrared = spec.apply(counts_to_gray.normalize(infrared), Camera.INFRARED, generator)
        visible = spec.apply(visible, Camera.VISIBLE, generator)
        keep(name, stream.fuse(visible=visible, infrared=infrared))
