"""Trials in other processes: what crashes or hangs ends only those."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

RCLPY = "import rclpy; print(rclpy.get_rmw_implementation_identifier())"
RCLPY_S = 60.0


class Trial(NamedTuple):
    """What a command printed on its last line, and why it failed; one of both is empty."""

    answer: str = ""
    fault: str = ""


def run_trial(command: Sequence[str], timeout_s: float) -> Trial:
    """Run a command to its end."""
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except OSError as error:
        return Trial(fault=str(error))
    except subprocess.TimeoutExpired:
        return Trial(fault=f"no answer within {timeout_s:g} s")
    if ended.returncode:
        return Trial(fault=_last_line(ended.stderr) or f"it ended with status {ended.returncode}")
    return Trial(answer=_last_line(ended.stdout))


@cache
def try_rclpy() -> Trial:
    """Load rclpy, which names its middleware. A missing middleware would end this process."""
    return run_trial((sys.executable, "-c", RCLPY), RCLPY_S)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
