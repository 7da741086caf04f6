"""The ``dreamif`` command: one module per verb, each with ``add_parser`` and ``run``."""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys

from dreamif_model import ConfigError, DreamIFError
from dreamif_model.device import is_out_of_memory
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
    "import_checkpoint",
    "export",
    "summary",
    "benchmark",
    "view",
)
ROS_MODULES = ("rclpy", "sensor_msgs", "std_msgs", "diagnostic_msgs")  # only some verbs need them


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser of one verb, or of the whole command where it is none of VERBS."""
    parser = argparse.ArgumentParser(
        prog="dreamif",
        description="Fuse infrared and visible images with Dream-IF.",
        epilog="`dreamif VERB --help` has each verb's units, defaults and examples.",
    )
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
        print(f"dreamif: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print("dreamif: not enough memory: give smaller images or a smaller size", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in ROS_MODULES:
            raise
        print(
            f"dreamif: this verb needs ROS 2 and there is no {error.name}: source an installation, "
            "or pip install 'dreamif_ros[ros]'",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if arguments is None:  # the process ends: Python would end by a second signal meanwhile
            ignore_signals()
    return status
