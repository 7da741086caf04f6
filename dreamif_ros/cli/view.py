"""``dreamif view``: show the live streams in a browser, on a machine without RViz."""

from __future__ import annotations

import argparse
import sys
from typing import Any
from urllib.parse import urlsplit

from dreamif_model import ConfigError, DreamIFError

TOPICS = (
    "infrared/image_raw",
    "visible/image_raw",
    "fused/image_raw",
    "dominance/overlay",
    "detections/image",
)
MAX_TOPICS = 16
RATES_HZ = (0.1, 60.0)
WIDTHS = (16, 4096)
EXAMPLES = """examples:
  dreamif view
  dreamif view --topic fused/image_raw dominance/infrared --port 9000
  dreamif view --compressed --topic fused/image_raw dominance/overlay
  dreamif view --ros-args -r infrared/image_raw:=/thermal/image_raw

On another machine: ssh -L 8787:127.0.0.1:8787 ROBOT, then open http://127.0.0.1:8787/ here."""


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "view",
        help="show the live streams in a browser",
        description="Serve a page with the live streams side by side, their rates, the fusion "
        "mode and the cameras' health, until Ctrl-C. It subscribes to a topic only while a "
        "browser shows it.",
        epilog=EXAMPLES,
    )
    _add_topic_options(parser)
    _add_page_options(parser)
    parser.add_argument(
        "--ros-args",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="ARGUMENT",
        help="all arguments after this go to ROS, such as -r name:=other",
    )
    parser.set_defaults(run=run)


def _add_topic_options(parser: argparse.ArgumentParser) -> None:
    """Which streams the page shows."""
    parser.add_argument(
        "--topic",
        nargs="+",
        default=TOPICS,
        metavar="NAME",
        help=f"image topics, up to {MAX_TOPICS} (default: {' '.join(TOPICS)})",
    )
    parser.add_argument(
        "--compressed", action="store_true", help="subscribe to <topic>/compressed of each topic"
    )
    parser.add_argument(
        "--namespace", default="", metavar="NAME", help="namespace of the topics (default: none)"
    )


def _add_page_options(parser: argparse.ArgumentParser) -> None:
    """Where the page is served, and how many and how large its pictures are."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; 0.0.0.0 lets the whole network watch (default: %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8787,
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=15.0,
        metavar="HZ",
        help="maximum pictures per second of each stream (default: %(default)g)",
    )
    parser.add_argument(
        "--width",
        type=int,
        default=640,
        metavar="PX",
        help="wider pictures are scaled down (default: %(default)s px)",
    )
    parser.add_argument(
        "--open", action="store_true", help="open the page in a browser on this machine"
    )


def run(options: argparse.Namespace) -> int:
    """Serve the page until a signal."""
    _check(options)
    try:
        import aiohttp  # noqa: F401
    except ModuleNotFoundError:
        raise DreamIFError("dreamif view needs aiohttp: pip install 'dreamif_ros[view]'") from None
    from dreamif_ros.view.server import ViewConfig, serve  # here: --help needs no ROS

    config = ViewConfig(
        names=tuple(options.topic),
        transport="compressed" if options.compressed else "raw",
        namespace=options.namespace,
        ros_args=options.ros_args,
        host=options.host,
        port=options.port,
        rate_hz=options.rate,
        width=options.width,
    )
    serve(config, lambda address, local: _announce(options, address, local))
    return 0


def _announce(options: argparse.Namespace, address: str, local: bool) -> None:
    print(f"look at {address} (Ctrl-C ends it)", flush=True)
    if not local:
        warning = f"anyone who can reach {options.host} port {urlsplit(address).port} can watch"
        print(f"dreamif: {warning}", file=sys.stderr, flush=True)
    if options.open:
        import webbrowser

        webbrowser.open(address)


def _check(options: argparse.Namespace) -> None:
    if len(options.topic) > MAX_TOPICS:
        raise ConfigError(f"--topic has {len(options.topic)} names, expected at most {MAX_TOPICS}")
    for name, value, (low, high), unit in (
        ("port", options.port, (0, 65535), ""),
        ("rate", options.rate, RATES_HZ, " Hz"),
        ("width", options.width, WIDTHS, " px"),
    ):
        if not low <= value <= high:
            raise ConfigError(f"--{name} is {value:g}, expected {low:g} to {high:g}{unit}")
