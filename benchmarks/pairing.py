"""Compare our pairing with message_filters on artificial traces: pairs, skew and latency.

For each trace of 7 s it prints means over the seeds: number of pairs, stamp distance, and time from
the arrival of a pair's later message to its output. message_filters comes with ROS installations;
without it, only our pairing is shown.

    .venv/bin/python benchmarks/pairing.py --slop 0.05 --seeds 10
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from helpers.pairing_traces import PERIOD_MS, mean_latency_ms, mean_skew_ms, play, trace  # noqa: E402

from dreamif_model import ConfigError  # noqa: E402
from dreamif_ros.fusion.synchronizers import make_synchronizer  # noqa: E402

OFFSET_MS = 5
TRACES: dict[str, dict[str, Any]] = {  # both at 30 Hz unless the name says otherwise
    "same stamps": {},
    "offset 5 ms": {"offset_ms": OFFSET_MS},
    "offset 5 ms, jitter ±2 ms": {"offset_ms": OFFSET_MS, "jitter_ms": 2},
    "offset 30 ms (3 ms to the next)": {"offset_ms": 30, "jitter_ms": 1},
    "half a period apart": {"offset_ms": PERIOD_MS / 2},
    "half a period apart, jitter ±1 ms": {"offset_ms": PERIOD_MS / 2, "jitter_ms": 1},
    "half a period apart, jitter ±3 ms": {"offset_ms": PERIOD_MS / 2, "jitter_ms": 3},
    "9 and 30 Hz": {"infrared_ms": 1000 / 9, "offset_ms": OFFSET_MS, "jitter_ms": 1},
    "25 and 30 Hz": {"infrared_ms": 40.0, "jitter_ms": 1},
    "29.9 and 30 Hz": {"infrared_ms": 1000 / 29.9, "jitter_ms": 1},
    "a fifth missing of each": {"offset_ms": OFFSET_MS, "jitter_ms": 1, "drops": 0.2},
    "infrared 80 ms late": {"offset_ms": OFFSET_MS, "jitter_ms": 1, "infrared_delay_ms": 80},
    "out of order (transport 0 to 60 ms)": {"offset_ms": OFFSET_MS, "transport_ms": 60},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--slop", type=float, default=0.05, help="in seconds (default: 0.05)")
    parser.add_argument("--seeds", type=int, default=10, help="traces of a kind (default: 10)")
    options = parser.parse_args()
    policies = ["nearest", "approximate"]
    try:
        make_synchronizer("approximate")
    except ConfigError as error:
        print(f"benchmarks/pairing.py: ours only: {error}", file=sys.stderr)
        policies.remove("approximate")
    heads = [
        f"{policy}: {head}" for policy in policies for head in ("pairs", "skew ms", "latency ms")
    ]
    print(f"| slop {options.slop:g} s | " + " | ".join(heads) + " |")
    print("| --- " * (len(heads) + 1) + "|")
    for name, settings in TRACES.items():
        cells = [c for policy in policies for c in _figures(policy, settings, options)]
        print(f"| {name} | " + " | ".join(cells) + " |")
    return 0


def _figures(policy: str, settings: dict[str, Any], options: argparse.Namespace) -> list[str]:
    """Pairs, mean skew and mean latency over the seeds; a dash if there is no pair."""
    pairs, skews, latencies = [], [], []
    for seed in range(options.seeds):
        arrivals = trace(seed, **settings)
        emissions = play(make_synchronizer(policy, options.slop), arrivals)
        pairs.append(len(emissions))
        if emissions:
            skews.append(mean_skew_ms(emissions))
            latencies.append(mean_latency_ms(emissions, arrivals))
    values = [f"{mean(v):.2f}" if v else "–" for v in (skews, latencies)]
    return [f"{mean(pairs):.1f}", *values]


if __name__ == "__main__":
    sys.exit(main())
