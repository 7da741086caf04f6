"""``dreamif bag info``: what is in a bag, and what the fusion node would do with it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from dreamif_ros.bag.remote import bag_path
from dreamif_ros.cli.options import add_force_option, add_topic_options, check_outputs
from dreamif_ros.cli.progress import progress
from dreamif_ros.cli.table import text_table
from dreamif_ros.evaluation.bag_info import BagInfo, CamerasInfo, TopicInfo, inspect_bag
from dreamif_ros.evaluation.node_advice import advise, commands
from dreamif_ros.json_file import write_json
from dreamif_ros.stamps import to_seconds

EXAMPLES = """examples:
  dreamif bag info pairs_bag
  dreamif bag info drive.mcap --ir /thermal/image_raw --vi /camera/image_raw
  dreamif bag info drive_bag --json drive.json

Pairs are those that the node makes with its defaults (sync.slop_s 0.05 s, sync.queue_size 10) of
the stamps in the headers. Skew is the infrared minus the visible stamp; p95 and max are of its
absolute value. The rate is 1 / median distance of two stamps."""


def add_info(actions: Any) -> None:
    """Add this action to ``dreamif bag``."""
    parser = actions.add_parser(
        "info",
        help="tell what is in a bag and what the fusion node would do with it",
        description="Read a rosbag2 folder, or one .mcap or .db3 file: topics, rates, encodings, "
        "stamps; the pairs that fusion_node would make and their skew; what it would do with the "
        "images, and the commands that replay the bag into it.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "bag",
        metavar="BAG",
        help="rosbag2 folder, .mcap or .db3 file, or the URL of an MCAP bag (s3://…, https://…)",
    )
    add_topic_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all values here")
    add_force_option(parser)
    parser.set_defaults(run=run_info)


def run_info(options: argparse.Namespace) -> int:
    """Read the bag, print what is in it, and write the JSON file."""
    bag = bag_path(options.bag)
    check_outputs({"--json": options.json}, [bag], force=options.force)
    info = inspect_bag(bag, options.ir, options.vi, progress=partial(progress, unit="message"))
    print("\n".join(_lines(info, advise(info), commands(info))))
    if options.json:
        report = info.content() | {"advice": advise(info), "commands": commands(info)}
        write_json(options.json, report)
    return 0


def _lines(info: BagInfo, advice: list[str], commands: list[str]) -> Iterator[str]:
    start = datetime.fromtimestamp(to_seconds(info.start_ns), timezone.utc)
    yield (
        f"{info.bag}: {info.storage}, compressed: {info.compression}, {info.megabytes:.1f} MB, "
        f"{info.messages} messages in {info.duration_s:.2f} s from {start:%Y-%m-%d %H:%M:%S} UTC"
    )
    yield from (f"fault: {fault}" for fault in info.faults)
    header = ("topic", "type", "messages", "Hz", "longest gap (s)", "images")
    yield "\n" + text_table(header, [_row(topic) for topic in info.topics])
    if info.cameras:
        yield from _pairing(info.cameras)
    yield "fusion_node:"
    yield from (f"- {sentence}" for sentence in advice)
    if commands:
        yield "\nTo see it fused, in two terminals:"
        yield from (f"    {command}" for command in commands)


def _row(topic: TopicInfo) -> tuple[str, ...]:
    return (
        topic.name,
        topic.type_name,
        str(topic.messages),
        f"{topic.rate_hz:.2f}" if topic.rate_hz else "-",
        f"{topic.longest_gap_s:.3f}" if topic.messages > 1 else "-",
        _images(topic),
    )


def _images(topic: TopicInfo) -> str:
    if topic.images is None:
        return "-"
    sizes = ", ".join(f"{width}x{height}" for width, height in topic.images.sizes)
    encodings = ", ".join(encoding.strip() for encoding in topic.images.encodings)
    return f"{encodings} {sizes}".strip() or "none"


def _pairing(cameras: CamerasInfo) -> Iterator[str]:
    pairing = cameras.pairing
    yield f"infrared: {cameras.infrared.name}; visible: {cameras.visible.name}"
    skew = (
        f"; skew median {pairing.skew_median_ms:+.1f} ms, p95 {pairing.distance_p95_ms:.1f} ms, "
        f"max {pairing.distance_greatest_ms:.1f} ms"
    )
    yield (
        f"pairs: {pairing.pairs} of {cameras.infrared.messages} infrared and "
        f"{cameras.visible.messages} visible images{skew if pairing.pairs else ''}"
    )
    reasons = ", ".join(f"{count} {reason}" for reason, count in pairing.unpaired.items())
    yield f"unpaired messages: {reasons or 'none'}\n"
