"""``dreamif bag``: make recordings of the two cameras, inspect, evaluate and publish them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamif_model.cameras import Both
from dreamif_model.errors import ConfigError
from dreamif_ros.bag.image_sources import SPLITS, ImageSource, open_data_set, open_images
from dreamif_ros.bag.make import make_bag
from dreamif_ros.cli.bag_evaluate import add_evaluate
from dreamif_ros.cli.bag_info import add_info
from dreamif_ros.cli.progress import progress
from dreamif_ros.stamps import to_seconds

MAKE_EXAMPLES = """examples:
  dreamif bag make --ir recording/ir --vi recording/vi --rate 25 --out pairs_bag
  dreamif bag make LLVIP --split test --rate 25 --out llvip_bag
  dreamif bag make --ir thermal.mkv --vi color.mp4 --out drive_bag
  dreamif bag make --ir thermal.mkv --vi color.mp4 --infrared-offset 0.15 --out late_bag
  dreamif bag make --ir thermal.png --vi color.png --rate 1 --out one_pair_bag"""
REPLAY_EXAMPLES = """examples:
  dreamif bag replay pairs_bag
  dreamif bag replay pairs_bag --rate 0.5 --loop
  dreamif bag replay drive.mcap --clock --wait 30 --max-gap 60"""


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "bag",
        help="make bags from files, tell what is in them, evaluate them, publish them live",
        description="Recordings (rosbag2) of an infrared and a visible camera.",
        epilog="`dreamif bag ACTION --help` has each action's units, defaults and examples.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_make(actions)
    add_info(actions)
    add_evaluate(actions)
    _add_replay(actions)


def _add_make(actions: Any) -> None:
    parser = actions.add_parser(
        "make",
        help="write image files, videos or a data set as a bag",
        description="Write images of both cameras as a rosbag2 folder (MCAP) with "
        "/infrared/image_raw (mono8, mono16 where they have 16 bit, 32FC1 of °C in TIFF), "
        "/visible/image_raw (rgb8) and /visible/camera_info (uncalibrated). With --rate, pair i is "
        "stamped 1 s + i / rate: files in the order of their names, frame i of both videos. "
        "Without, the frames of videos have their own times, and both videos begin at 1 s.",
        epilog=MAKE_EXAMPLES,
    )
    _add_sources(parser)
    _add_writing_options(parser)
    parser.set_defaults(run=run_make)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    """The images that are written."""
    parser.add_argument(
        "data_set",
        type=Path,
        nargs="?",
        metavar="DATASET",
        help="folder of LLVIP, MSRS, M3FD or RoadScene as it unpacks, or one with ir/ and vi/, "
        "instead of --ir and --vi",
    )
    parser.add_argument(
        "--ir", type=Path, metavar="PATH", help="infrared image, folder or video, 8 or 16 bit"
    )
    parser.add_argument(
        "--vi",
        type=Path,
        metavar="PATH",
        help="visible image, folder (8 bit, names as in --ir) or video",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        help="part of DATASET, as `dreamif train` divides it (default: all)",
    )


def _add_writing_options(parser: argparse.ArgumentParser) -> None:
    """Their stamps, their messages and the bag."""
    parser.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="pairs per second, up to 1000; videos have their own where it is left out",
    )
    parser.add_argument(
        "--infrared-offset",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="added to the stamps of infrared, for videos that begin apart or to try an offset, "
        "-3600 to 3600 s (default: %(default)g s)",
    )
    parser.add_argument(
        "--compressed",
        choices=("jpeg", "png"),
        help="write CompressedImage on <topic>/compressed instead: JPEG of quality 95, or PNG, "
        "which 16-bit infrared is in either case",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write, which must not exist"
    )


def _add_replay(actions: Any) -> None:
    parser = actions.add_parser(
        "replay",
        help="publish a bag live, at the recorded intervals",
        description="Publish the messages of a rosbag2 folder, or of one .mcap or .db3 file, "
        "at the recorded intervals, with reliable QoS, until its end or Ctrl-C. The bag may be cut "
        "off or damaged, or have no index: what can be read is published, and the faults are "
        "named.",
        epilog=REPLAY_EXAMPLES,
    )
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, .mcap or .db3 file")
    parser.add_argument(
        "--rate",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="speed: 2 is twice as fast as recorded (default: %(default)g)",
    )
    parser.add_argument(
        "--loop", action="store_true", help="start over at the end, with the stamps as recorded"
    )
    parser.add_argument(
        "--clock",
        action="store_true",
        help="publish the bag's time on /clock, at 100 Hz and before each message, for nodes "
        "with use_sim_time",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="longest wait at the start until each image topic has a subscriber; then it begins "
        "anyway (default: %(default)g s)",
    )
    parser.add_argument(
        "--max-gap",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="skip the time without any message where it is longer than that, as where a clock was "
        "set while recording (default: %(default)g s; inf: wait always)",
    )
    parser.set_defaults(run=run_replay)


def run_make(options: argparse.Namespace) -> int:
    """Write the images, with a progress bar."""
    source = _source(options)
    shown = progress(source.shots.visible, "image", source.expected)
    written = make_bag(
        replace(source, shots=Both(source.shots.infrared, shown)),
        options.out,
        infrared_offset_s=options.infrared_offset,
        codec=options.compressed,
    )
    for note in source.notes:
        print(note)
    visible = written.visible
    if source.by_index:
        plural = "s" if visible.count > 1 else ""
        print(
            f"{visible.count} pair{plural}, {visible.count / options.rate:.2f} s, in {options.out}"
        )
        return 0
    for camera, images in written.items():
        seconds = to_seconds(images.last_ns)
        print(f"{camera}: {images.count} images in {seconds:.2f} s, {images.rate_hz:.2f} Hz")
    print(f"in {options.out}")
    return 0


def _source(options: argparse.Namespace) -> ImageSource:
    from_files = options.ir is not None and options.vi is not None
    from_data_set = options.data_set is not None
    if from_files == from_data_set or (options.ir is None) != (options.vi is None):
        raise ConfigError("give either DATASET, or both --ir and --vi")
    if from_data_set:
        return open_data_set(options.data_set, options.split or "all", options.rate)
    if options.split:
        raise ConfigError("--split is a part of DATASET: leave it out with --ir and --vi")
    return open_images(options.ir, options.vi, options.rate)


def run_replay(options: argparse.Namespace) -> int:
    """Publish the bag, and print how many messages were published."""
    from dreamif_ros.bag.replay import replay  # the only action that needs ROS

    published = replay(
        options.bag,
        rate=options.rate,
        loop=options.loop,
        clock=options.clock,
        wait_s=options.wait,
        max_gap_s=options.max_gap,
    )
    for topic, count in published.items():
        print(f"{topic}: {count} message{'' if count == 1 else 's'} published")
    return 0
