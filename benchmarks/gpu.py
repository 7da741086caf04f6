"""All that needs a GPU: its tests, then the table of docs/performance.md. Needs no ROS.

    make benchmark-gpu
    python3 benchmarks/gpu.py --no-tests --variant base --precision fp16

Options other than --no-tests and --out are those of `dreamif benchmark`. Exits with 1 when a test
fails; the table is made then too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
import types
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
TESTS = ("test/test_engine.py", "test/test_pipeline.py")
DEFAULTS = {
    "--variant": ("nano", "tiny", "small", "base"),
    "--size": ("640x512", "1280x1024"),
    "--precision": ("fp32", "fp16", "bf16"),
}


def main() -> int:
    """Run the tests, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-tests", action="store_true", help="only the table")
    parser.add_argument(
        "--out", type=Path, default=Path("out/gpu.md"), help="(default: out/gpu.md)"
    )
    options, others = parser.parse_known_args()
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py: torch sees no GPU here", file=sys.stderr)
        return 1
    failed = not options.no_tests and not tests_pass()
    table = benchmark(others)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(table)
    print(table, end="")
    return int(failed)


def tests_pass() -> bool:
    """In a process of their own: they set the number of threads."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", *TESTS]
    return subprocess.run(command, cwd=ROOT).returncode == 0


def benchmark(arguments: list[str]) -> str:
    """What `dreamif benchmark --device cuda --markdown` prints."""
    sys.path.insert(0, str(ROOT))
    # The package of the verbs imports all of them, and with them ROS; here it is only a folder.
    package = types.ModuleType("dreamif_ros.cli")
    package.__path__ = [str(ROOT / "dreamif_ros" / "cli")]
    sys.modules["dreamif_ros.cli"] = package
    from dreamif_ros.cli import benchmark as verb

    parser = argparse.ArgumentParser()
    verb.add_parser(parser.add_subparsers())
    for option, values in DEFAULTS.items():
        if option not in arguments:
            arguments += [word for value in values for word in (option, value)]
    options = parser.parse_args(["benchmark", "--device", "cuda", "--markdown", *arguments])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        options.run(options)
    return printed.getvalue()


if __name__ == "__main__":
    sys.exit(main())
