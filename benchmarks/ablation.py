"""The paper's Table 4 for nano: train without each part, with several seeds.

    make ablation DATA=../shared/data/pairs
    .venv/bin/python benchmarks/ablation.py --data-root DATA --out out/ablation --steps 1500

Trains all networks that are missing (an interrupted run is resumed). Then prints the tables of
`dreamif evaluate` for the validation pairs: mean and standard deviation over the seeds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
FRESH: dict[str, Any] = {  # changes to config/train/nano.yaml, which goes on from packaged weights
    "teacher": None,  # a teacher has the parts that an ablation is without
    "learning_rate": 2.5e-3,
    "degrade_probability": 0.55,
    "stream_probability": 0.0,
}
RD, CE, SE = "relative_dominance", "cross_enhancement", "self_enhancement"
CASES: dict[str, dict[str, Any]] = {  # label: further changes
    "none": {"without": [RD, CE, SE]},
    "RD": {"without": [CE, SE]},
    "RD, CE": {"without": [SE]},
    "RD, SE": {"without": [CE]},
    "CE, SE": {"without": [RD]},
    "RD, CE, SE": {},
    "RD, CE, SE, clean data only": {"degrade_probability": 0.0},
}
DREAMIF = (sys.executable, "-m", "dreamif_ros.cli")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/ablation"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--jobs", type=int, default=2, help="trainings at a time, with one thread each"
    )
    parser.add_argument("--sets", nargs="+", default=["roadscene", "tno"])
    options = parser.parse_args()
    runs = [(label, seed) for seed in range(options.seeds) for label in CASES]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda run: _train(*run, options), runs))
    for name in options.sets:
        pairs = options.data_root / name
        weights = [f"{label}={_weights(label, seed, options)}" for label, seed in runs]
        print(f"\n## {name}\n", flush=True)
        command = [*DREAMIF, "evaluate", "--ir", pairs / "ir", "--vi", pairs / "vi", "--every", "8"]
        command += [part for item in weights for part in ("--weights", item)]
        subprocess.run([*command, "--degrade", "gaussian:35"], check=True)
    return 0


def _folder(label: str, seed: int, options: argparse.Namespace) -> Path:
    path: Path = options.out / f"{label.replace(', ', '-').replace(' ', '_')}-{seed}"
    return path


def _weights(label: str, seed: int, options: argparse.Namespace) -> Path:
    return _folder(label, seed, options) / "nano.safetensors"


def _train(label: str, seed: int, options: argparse.Namespace) -> None:
    if _weights(label, seed, options).exists():
        return
    folder = _folder(label, seed, options)
    folder.mkdir(parents=True, exist_ok=True)
    settings = yaml.safe_load((ROOT / "config/train/nano.yaml").read_text())
    config = folder / "train.yaml"
    config.write_text(yaml.safe_dump(settings | FRESH | CASES[label] | {"seed": seed}))
    command = [*DREAMIF, "train", "--config", config, "--data-root", options.data_root]
    command += ["--out", folder, "--steps", str(options.steps), "--threads", "1"]
    with (folder / "output.txt").open("w") as output:
        subprocess.run(command, check=True, stdout=output, stderr=output)


if __name__ == "__main__":
    sys.exit(main())
