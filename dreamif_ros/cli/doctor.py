"""``dreamif doctor``: one page on whether this machine is ready."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dreamif_model import ConfigError
from dreamif_model.cameras import Both
from dreamif_ros.cli import printable
from dreamif_ros.cli.options import add_force_option, check_outputs
from dreamif_ros.doctor.findings import Finding, run_check
from dreamif_ros.json_file import write_json

EXAMPLES = """examples:
  dreamif doctor
  dreamif doctor --infrared /thermal/image_raw --visible /camera/image_raw
  dreamif doctor --json doctor.json

The exit status is 0 if all is ok or a warning, 1 if there is an error. The speed is the median of
two seconds: end other programs first."""
MAX_SECONDS = 60.0


def add_parser(verbs: Any) -> None:
    """Add this verb to the command."""
    parser = verbs.add_parser(
        "doctor",
        help="tell whether this machine is ready, and what to do if it is not",
        description="Look at Python, ROS, the middleware, shared memory, socket buffers, the "
        "publishers of both cameras, GPU and engines with their speed, NumPy and OpenCV, the disk "
        "and the clock. Each line is ok, a warning or an error, with what to do.",
        epilog=EXAMPLES,
    )
    for camera in ("infrared", "visible"):
        parser.add_argument(
            f"--{camera}",
            metavar="TOPIC",
            default=f"/{camera}/image_raw",
            help="its raw images, without /compressed (default: %(default)s)",
        )
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        help="longest search for the cameras' publishers (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the findings here")
    add_force_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the page while it is made; 1 if anything is an error."""
    check_outputs({"--json": options.json}, (), force=options.force)
    if not 0 <= options.seconds <= MAX_SECONDS:
        raise ConfigError(f"--seconds is {options.seconds:g}, expected 0 to {MAX_SECONDS:g}")
    findings = []
    for finding in examine(Both(options.infrared, options.visible), options.seconds):
        print("\n".join(_lines(finding)), flush=True)
        findings.append(finding)
    if options.json:
        write_json(options.json, {"findings": findings})
    return int(any(finding.state == "error" for finding in findings))


def examine(topics: Both[str], seconds: float) -> Iterator[Finding]:
    """Run all checks, one after the other."""
    for name, check in _checks(topics, seconds).items():
        yield from run_check(name, check)


def _checks(topics: Both[str], seconds: float) -> dict[str, Callable[[], Iterable[Finding]]]:
    """The checks by the name of what they look at, in the order of the page."""
    from dreamif_ros.doctor import cameras, engines, system, transport

    return {
        "Python": system.check_python,
        "ROS": system.check_ros,
        "middleware": system.check_middleware,
        "shared memory": transport.check_shared_memory,
        "leftover segments": transport.check_leftover_segments,
        "socket buffers": transport.check_socket_buffers,
        "cameras": partial(cameras.check_cameras, topics, seconds),
        "GPU": engines.check_gpu,
        "engines": engines.check_engines,
        "NumPy and OpenCV": system.check_numpy,
        "disk": system.check_disk,
        "clock": system.check_clock,
    }


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.state:<8} {finding.name}: {printable(finding.text)}"
    if finding.advice:
        yield f"{'':<8} → {printable(finding.advice)}"
