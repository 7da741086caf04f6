"""``dreamif bag``: recordings of the two cameras, made from files and published again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dreamif_model.data import find_pairs
from dreamif_ros.bag.storage import write_pairs

MAKE_EXAMPLES = """examples:
  dreamif bag make --ir recording/ir --vi recording/vi --rate 25 --out pairs_bag
  dreamif bag make --ir thermal.png --vi color.png --rate 1 --out one_pair_bag"""
REPLAY_EXAMPLES = """examples:
  dreamif bag replay pairs_bag
  dreamif bag replay pairs_bag --rate 0.5 --loop
  dreamif bag replay drive.mcap --clock --wait 30"""


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "bag",
        help="make a bag from image files, publish a bag live",
        description="Recordings (rosbag2) of an infrared and a visible camera.",
        epilog="`dreamif bag ACTION --help` has each action's units, defaults and examples.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_make(actions)
    _add_replay(actions)


def _add_make(actions: Any) -> None:
    parser = actions.add_parser(
        "make",
        help="write two folders of images as a bag",
        description="Write two folders of images with equal names as a rosbag2 folder (MCAP) with "
        "/infrared/image_raw (mono8, or mono16 for 16-bit files), /visible/image_raw (rgb8) and "
        "/visible/camera_info (uncalibrated). Pair i, in the order of the names, is stamped "
        "1 s + i / rate.",
        epilog=MAKE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--ir", type=Path, required=True, help="infrared image or folder, 8 or 16 bit"
    )
    parser.add_argument("--vi", type=Path, required=True, help="visible image or folder, 8 bit")
    parser.add_argument(
        "--rate", type=float, required=True, metavar="HZ", help="pairs per second, up to 1000"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write, which must not exist"
    )
    parser.set_defaults(run=run_make)


def _add_replay(actions: Any) -> None:
    parser = actions.add_parser(
        "replay",
        help="publish a bag live, as it was recorded",
        description="Publish the messages of a rosbag2 folder, or of one .mcap or .db3 file, in "
        "the recorded rhythm, reliable, until its end or Ctrl-C.",
        epilog=REPLAY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    parser.set_defaults(run=run_replay)


def run_make(options: argparse.Namespace) -> int:
    """Write the pairs, with a progress bar."""
    pairs = find_pairs(options.ir, options.vi)
    count = write_pairs(tqdm(pairs, unit="pair", disable=None), options.rate, options.out)
    plural = "s" if count > 1 else ""
    print(f"{count} pair{plural}, {count / options.rate:.2f} s, in {options.out}")
    return 0


def run_replay(options: argparse.Namespace) -> int:
    """Publish the bag and tell what was published."""
    from dreamif_ros.bag.replay import replay  # the one action here that needs ROS

    published = replay(
        options.bag,
        rate=options.rate,
        loop=options.loop,
        clock=options.clock,
        wait_s=options.wait,
    )
    for topic, count in published.items():
        print(f"{topic}: {count} message{'' if count == 1 else 's'} published")
    return 0
