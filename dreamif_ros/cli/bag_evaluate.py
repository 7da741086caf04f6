"""``dreamif bag evaluate``: how good recordings are, and what fusion makes of them."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamif_model import ConfigError
from dreamif_model.device import usable_cores
from dreamif_model.output_files import unfinished_folder, write_whole
from dreamif_ros.bag.remote import find_bags
from dreamif_ros.bag.storage import BagError
from dreamif_ros.cli.bag_evaluate_many import add_many_options, run_many
from dreamif_ros.cli.camera_options import (
    add_pairing_options,
    add_thermal_options,
    pairing_options,
    thermal_config,
)
from dreamif_ros.cli.fuse import add_model_options, add_temporal_options, temporal_config
from dreamif_ros.cli.options import add_topic_options, check_outputs, make_folder
from dreamif_ros.cli.progress import progress
from dreamif_ros.evaluation.evaluate_bag import EvaluationSettings
from dreamif_ros.evaluation.evaluation_job import EvaluationJob, ModelOptions, evaluate_into
from dreamif_ros.evaluation.evaluation_results import Evaluation
from dreamif_ros.evaluation.rerun_file import SUFFIX
from dreamif_ros.evaluation.result_files import (
    FRAMES,
    INDEX,
    METRICS,
    REPORT,
    SUMMARY,
    TABLE,
    TIMINGS,
)

EXAMPLES = """examples:
  dreamif bag evaluate drive_bag --out evaluation
  dreamif bag evaluate drive.mcap --ir /thermal/image_raw --vi /camera/image_raw \\
      --calibration calibration.yaml --out evaluation --write-bag
  dreamif bag evaluate drive.mcap --out quick --stop 20 --every 5 --no-check --no-video
  dreamif bag evaluate drive.mcap --out evaluation --rerun drive.rrd
  dreamif bag evaluate bags/*.mcap --out fleet --jobs 8
  dreamif bag evaluate bags/*.mcap --out fleet --resume
  dreamif bag evaluate /shared/bags/*.mcap --out /shared/fleet --ray 10.0.0.1:6379
  dreamif bag evaluate 's3://drives/2026-11/*.mcap' --out fleet --jobs 8"""
# Options that change no number of the result.
_NOT_SETTINGS = ("out", "json", "rerun", "force", "bag", "run", "jobs", "ray", "resume")


def add_evaluate(actions: Any) -> None:
    """Add this action to ``dreamif bag``."""
    parser = actions.add_parser(
        "evaluate",
        help="fuse bags offline and report what is in them and what comes out",
        description="Fuse every pair of a bag as the fusion node would, without a running ROS, and "
        f"write {REPORT}, {METRICS}, {FRAMES}, {TIMINGS} and a video. The bag may be cut off, "
        "damaged or without an index: what can be read is used, and the faults are named. The same "
        "bag and settings give the same numbers. Several bags get a folder each, named after them, "
        f"beside {INDEX}, {SUMMARY} and {TABLE}.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "bag",
        nargs="+",
        metavar="BAG",
        help="rosbag2 folder, .mcap or .db3 file, or the URL of an MCAP bag (s3://…, https://…); "
        "* in its last part stands for all that fit",
    )
    add_topic_options(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="folder to write, which must be new"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace DIR where it holds an evaluation, and an existing FILE",
    )
    add_many_options(parser)
    add_model_options(parser)
    parser.add_argument(
        "--cpu-threads",
        type=int,
        default=1,
        metavar="N",
        help="threads of the network for each bag: more are faster where there are fewer bags than "
        "cores; another number changes the last digits of the results (default: %(default)s)",
    )
    add_pairing_options(parser)
    add_thermal_options(parser)
    add_temporal_options(parser)
    _add_extent_options(parser)
    _add_output_options(parser)
    parser.set_defaults(run=run)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--write-bag",
        action="store_true",
        help="also write a bag of /fused/image_raw, /fused/camera_info, /dominance/infrared, "
        "/dominance/visible and, with --detector, /fused/detection_image and /detections",
    )
    parser.add_argument("--no-video", action="store_true", help="write no fused.mkv")
    parser.add_argument(
        "--rerun",
        type=Path,
        metavar=f"FILE{SUFFIX}",
        help="also write a recording for the Rerun viewer, of a single bag: pictures, metrics, "
        "latencies and, with --detector, boxes",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"also write {METRICS} here, of several bags {SUMMARY}",
    )


def _add_extent_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--start",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="leave out what was recorded earlier, counted from the bag's first message",
    )
    parser.add_argument(
        "--stop", type=float, metavar="SECONDS", help="leave out what was recorded then or later"
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="fuse only every Nth pair"
    )
    parser.add_argument(
        "--metric-frames",
        type=int,
        default=20,
        metavar="N",
        help="frames, spread evenly, whose metrics are computed (default: %(default)s)",
    )
    parser.add_argument(
        "--no-check",
        action="store_true",
        help="do not estimate the clocks' offset and the cameras' alignment",
    )
    parser.add_argument(
        "--detector",
        metavar="MODEL",
        help="look for objects in the visible, infrared, fused and detection images with this "
        "YOLO model",
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate, write everything into a new folder, and print what should be done."""
    options.bag = [bag for given in options.bag for bag in find_bags(given)]
    inputs = [*options.bag, options.calibration, options.weights]
    outputs = {"--json": options.json, "--rerun": options.rerun}
    check_outputs(outputs, inputs, force=options.force)
    is_fleet = len(options.bag) > 1 or options.resume or options.ray is not None
    _check_rerun(options.rerun, is_fleet)
    if is_fleet:
        return run_many(options, _job(options), lambda bag: _command(options, bag))
    return _run_one(options)


def _run_one(options: argparse.Namespace) -> int:
    _check_out(options.out, options.force)
    if options.jobs is not None and options.jobs < 1:
        raise ConfigError(f"--jobs is {options.jobs}, expected 1 or more")
    workers = options.jobs or usable_cores()
    job = replace(_job(options), workers=workers)
    make_folder("--out", options.out.parent)
    with unfinished_folder(options.out) as unfinished:
        folder = unfinished / options.out.name
        folder.mkdir()
        evaluation = evaluate_into(job, folder, progress)
        _move(folder, options.out, unfinished / "replaced")
    if options.json:
        write_whole(options.json, (options.out / METRICS).read_bytes())
    _print(evaluation, options.out, options.rerun)
    if not evaluation.fused:
        print(f"dreamif: nothing could be fused, see {options.out / METRICS}", file=sys.stderr)
        return 1
    return 0


def _check_rerun(path: Path | None, is_fleet: bool) -> None:
    """ConfigError for a file that the Rerun viewer would not open, or that bags would share."""
    if path is None:
        return
    if path.suffix != SUFFIX:
        raise ConfigError(f"--rerun {path}: the viewer opens files whose names end with {SUFFIX}")
    if is_fleet:
        raise ConfigError("--rerun is for a single bag, without --resume and --ray: leave it out")


def _check_out(out: Path, force: bool) -> None:
    """BagError for a folder that would be overwritten."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / METRICS).is_file():
        raise BagError(f"{out} exists already and is no evaluation: write somewhere else")
    if not force:
        raise BagError(f"{out} exists already: write somewhere else, or --force replaces it")


def _job(options: argparse.Namespace) -> EvaluationJob:
    """The job for the first bag."""
    model = ModelOptions(
        options.variant,
        options.device,
        options.weights,
        options.precision,
        options.backend,
        thermal_config(options),
    )
    return EvaluationJob(
        options.bag[0],
        model,
        _settings(options),
        write_bag=options.write_bag,
        write_video=not options.no_video,
        rerun=options.rerun,
        cpu_threads=options.cpu_threads,
    )


def _settings(options: argparse.Namespace) -> EvaluationSettings:
    told = {
        "command": _command(options, options.bag[0]),
        "backend": options.backend,
        "weights": options.weights.name if options.weights else None,
    }
    return EvaluationSettings(
        infrared=options.ir,
        visible=options.vi,
        pairing=pairing_options(options),
        calibration=options.calibration,
        temporal=temporal_config(options),
        every=options.every,
        start_s=options.start,
        stop_s=options.stop,
        metric_frames=options.metric_frames,
        check=not options.no_check,
        detector=options.detector,
        told=told,
    )


def _command(options: argparse.Namespace, bag: Path) -> str:
    """The command line that gives the same report, with all numbers."""
    words = ["dreamif", "bag", "evaluate", str(bag), "--out", "DIR"]
    for name, value in vars(options).items():
        if name in _NOT_SETTINGS or value is None or value is False:
            continue
        option = f"--{name.replace('_', '-')}"
        words += [option] if value is True else [option, str(value)]
    return shlex.join(words)


def _move(folder: Path, out: Path, replaced: Path) -> None:
    """Put the finished folder in its place; the temporary folder takes what was there."""
    if out.exists():
        out.rename(replaced)
    folder.rename(out)


def _print(evaluation: Evaluation, out: Path, rerun: Path | None) -> None:
    messages = ", ".join(f"{camera.messages} on {camera.topic}" for camera in evaluation.cameras)
    print(f"{evaluation.duration_s:.1f} s: {messages}; {evaluation.fused} pairs fused")
    for fault in evaluation.faults:
        print(f"fault: {fault}")
    for warning in evaluation.warnings:
        print(f"warning: {warning}")
    print(f"report in {out / REPORT}, numbers in {out / METRICS} and {out / FRAMES}")
    if rerun:
        print(f"recording in {rerun}: rerun {shlex.quote(str(rerun))}")
