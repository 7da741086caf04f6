"""The ``dreamif`` command: one module per verb, each with ``add_parser`` and ``run``."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from dreamif_model import ConfigError, DreamIFError
from dreamif_model.device import is_out_of_memory
from dreamif_model.errors import MAX_SHOWN
from dreamif_ros.executables import ignore_signals

VERBS = (  # each a module of this package; only the one that is called is imported
    "demo",
    "fuse",
    "calibrate",
    "bag",
    "evaluate",
    "evaluate_detection",
    "metrics",
    "train",
    "adapt",
    "import_checkpoint",
    "export",
    "summary",
    "benchmark",
    "view",
    "doctor",
)
ROS_MODULES = ("rclpy", "sensor_msgs", "std_msgs", "diagnostic_msgs")  # only some verbs need them


MAX_LINE = 1500  # characters of an error


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps a description, and leaves examples, which have several lines, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class _ShowVersion(argparse.Action):
    """Looks the version up only where it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, *_: object) -> NoReturn:
        try:
            print(f"dreamif {metadata.version('dreamif_ros')}")
        except metadata.PackageNotFoundError:
            raise ConfigError(
                "dreamif_ros is not installed: its version is in package.xml"
            ) from None
        raise SystemExit(0)


class _Parser(argparse.ArgumentParser):
    """A parser that refuses in one line, and knows what no path and no number is."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.formatter_class = _HelpFormatter
        self.register("type", Path, _path)
        self.register("type", int, _whole)

    def error(self, message: str) -> NoReturn:
        complain(f"{message}; `{self.prog} --help` tells what is expected")
        raise SystemExit(2)


def complain(text: object) -> None:
    """Print an error as one line, in which nothing can steer the terminal."""
    line = " ".join(str(text).splitlines())
    if len(line) > MAX_LINE:
        line = f"{line[:MAX_LINE]} …"
    print(f"dreamif: {printable(line)}", file=sys.stderr)


def printable(text: str) -> str:
    """The text with control characters, and others that no terminal shows, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is empty: name a file or folder")
    return Path(text)


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 1 << 64
    if not -(1 << 63) <= number < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text[:MAX_SHOWN]!r} is no whole number of 64 bits")
    return number


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of one verb, or of the whole command where it is none of VERBS."""
    parser = _Parser(
        prog="dreamif",
        description="Fuse infrared and visible images with Dream-IF.",
        epilog="`dreamif VERB --help` has each verb's units, defaults and examples.",
    )
    parser.add_argument("--version", action=_ShowVersion, help="print the version and exit")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    module = (verb or "").replace("-", "_")
    for name in [module] if module in VERBS else VERBS:
        importlib.import_module(f"dreamif_ros.cli.{name}").add_parser(verbs)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; 0 on success, 1 on a failure named in one line, 2 for a wrong call."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal of ASCII shows … and ≥ as ?
    given = sys.argv[1:] if arguments is None else arguments
    try:
        options = build_parser(given[0] if given else None).parse_args(given)
        status: int = options.run(options)
    except BrokenPipeError:  # `dreamif … | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does the exit complain
        return 1
    except (DreamIFError, OSError) as error:
        complain(_described(error))
        return 2 if isinstance(error, ConfigError) else 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        complain("not enough memory: give smaller images or a smaller size")
        return 1
    except ModuleNotFoundError as error:
        if error.name not in ROS_MODULES:
            raise
        complain(
            f"this verb needs ROS 2 and there is no {error.name}: source an installation, "
            "or pip install 'dreamif_ros[ros]'"
        )
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if arguments is None:  # the process ends: Python would end by a second signal meanwhile
            ignore_signals()
    return status


def _described(error: Exception) -> str:
    """What went wrong; of the system's errors the file and the cause."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)
