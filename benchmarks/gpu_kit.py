"""Test, measure and train on a GPU machine that is available for minutes only.

    make gpu-kit                                          # here: packs out/gpu_kit
    python3 benchmarks/gpu_kit.py run --kit out/gpu_kit   # there, in a copy of this tree

`run` runs the CUDA tests, times every variant and precision, and tries torch.compile and the
providers of ONNX Runtime. It trains `small`, `tiny` and `nano` at the same time for the rest of the
time, from the weights in the kit. It needs torch with CUDA, numpy, OpenCV, PyYAML, safetensors and
tqdm, but no ROS. It writes to --out only, and each file is below 16 MB. A failed part is recorded;
the others run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRAINED = ("small", "tiny", "nano")
TESTS = ("test/model/test_pipeline.py", "test/model/backends", "test/model/benchmark")
SIZES, PRECISIONS = ("640x512", "1280x1024"), ("fp32", "fp16", "bf16")
VARIANTS = ("nano", "tiny", "small", "base")
MAX_DATA_MB, MAX_FILE_MB = 50, 16
# Maximum shares of the whole time for two parts; training takes the rest.
TEST_SHARE, TIMING_SHARE, RESERVE_S = 0.2, 0.3, 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    packing = verbs.add_parser("pack", help="gather data and weights")
    packing.add_argument("--kit", type=Path, default=Path("out/gpu_kit"))
    packing.add_argument("--data-root", type=Path, default=Path("../shared/data/pairs"))
    packing.add_argument(
        "--runs", type=Path, default=Path("out/train"), help="folder with newer weights"
    )
    packing.set_defaults(act=pack)
    running = verbs.add_parser("run", help="use the GPU")
    running.add_argument("--kit", type=Path, default=Path("out/gpu_kit"))
    running.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "out/gpu")))
    running.add_argument("--minutes", type=float, default=9.0, help="maximum duration (default: 9)")
    running.add_argument("--rehearse", action="store_true", help="on the CPU, a few frames only")
    running.set_defaults(act=run)
    options = parser.parse_args()
    status: int = options.act(options)
    return status


def pack(options: argparse.Namespace) -> int:
    """Copy the pairs, and the weights of every trained variant."""
    if not options.data_root.is_dir():
        print(f"gpu_kit.py: there is no folder {options.data_root}: --data-root", file=sys.stderr)
        return 1
    shutil.rmtree(options.kit, ignore_errors=True)
    for name in ("ir", "vi"):
        for folder in sorted(options.data_root.glob(f"*/{name}")):
            target = options.kit / "pairs" / folder.relative_to(options.data_root)
            shutil.copytree(folder, target, copy_function=shutil.copyfile)
    (options.kit / "weights").mkdir(parents=True, exist_ok=True)
    for variant in TRAINED:
        for folder in (options.runs / variant, ROOT / "dreamif_model" / "weights"):
            path = folder / f"{variant}.safetensors"
            if path.is_file():
                shutil.copyfile(path, options.kit / "weights" / path.name)
                break
    pairs_mb, whole_mb = megabytes(options.kit / "pairs"), megabytes(options.kit)
    print(f"{options.kit}: {whole_mb:.1f} MB, of them {pairs_mb:.1f} MB pairs")
    if pairs_mb > MAX_DATA_MB:
        print(f"gpu_kit.py: more than {MAX_DATA_MB} MB of pairs: leave out some", file=sys.stderr)
        return 1
    return 0


def megabytes(folder: Path) -> float:
    """Size of all files in a folder, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def run(options: argparse.Namespace) -> int:
    """Run all parts in turn; 1 if one failed."""
    started, whole_s = time.monotonic(), options.minutes * 60
    options.out.mkdir(parents=True, exist_ok=True)
    device = "cpu" if options.rehearse else "cuda"
    results: dict[str, object] = {"machine": machine()}

    def left_s() -> float:
        return whole_s - (time.monotonic() - started)

    parts = {
        "tests": (TEST_SHARE, test_command(options.rehearse)),
        "timing": (TIMING_SHARE, timing_command(options, device)),
    }
    for name, (share, command) in parts.items():
        results[name] = call(command, min(share * whole_s, left_s()), options.out / f"{name}.log")
    at = time.monotonic()
    try:
        results["others"] = try_others(device, options.rehearse)
    except Exception as error:  # any error of these new features is a result
        results["others"] = {"failed": repr(error)[:500]}
    results["others_s"] = round(time.monotonic() - at, 1)
    results["training"] = train_all(options, left_s() - RESERVE_S)
    (options.out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))
    failed = [name for name in parts if results[name] != 0]
    return int(bool(failed) or any(results["training"].values()))  # type: ignore[attr-defined]


def machine() -> dict[str, str]:
    """The card and the versions that the figures depend on."""
    import torch

    found = {"torch": torch.__version__, "python": sys.version.split()[0]}
    if torch.cuda.is_available():
        found["card"] = torch.cuda.get_device_name(0)
    return found


def call(command: Sequence[str], limit_s: float, log: Path) -> int | str:
    """Run a command of this tree; its exit status, or why it was stopped."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with log.open("w") as output:
        try:
            return subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=max(limit_s, 1),
            ).returncode
        except subprocess.TimeoutExpired:
            return f"stopped after {limit_s:.0f} s"


def test_command(rehearse: bool) -> list[str]:
    """The tests that need CUDA; a rehearsal only collects them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cuda", *TESTS]
    return [*command, "--collect-only"] if rehearse else command


def timing_command(options: argparse.Namespace, device: str) -> list[str]:
    """`dreamif benchmark` of every variant, size and precision."""
    command = [sys.executable, "-m", "dreamif_ros.cli", "benchmark", "--device", device]
    command += ["--only-networks", "--json", str((options.out / "timing.json").resolve())]
    if options.rehearse:
        return [*command, "--variant", "nano", "--size", "64x64", "--frames", "1", "--warmup", "0"]
    for name, values in (("variant", VARIANTS), ("size", SIZES), ("precision", PRECISIONS)):
        command += [word for value in values for word in (f"--{name}", value)]
    return [*command, "--backend", "torch", "--frames", "50", "--warmup", "10"]


def try_others(device: str, rehearse: bool) -> dict[str, object]:
    """Time all backends, and torch.compile, for nano's network."""
    import numpy as np
    import torch

    sys.path.insert(0, str(ROOT))
    from dreamif_model.backends import available
    from dreamif_model.engine import FusionEngine
    from dreamif_model.model_files.checkpoints import load_network
    from dreamif_model.network.frame import FrameNetwork

    size = (64, 64) if rehearse else (512, 640)
    visible = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found: dict[str, object] = {"available": available(device)}
    for backend, precision in available(device):
        engine = FusionEngine("nano", device, backend=backend, precision=precision)
        times = [engine.fuse(visible, visible[..., 0]).seconds["network"] for _ in range(20)]
        found[f"nano {backend} {precision} network ms"] = round(float(np.median(times)) * 1e3, 3)
    if not rehearse:
        network = FrameNetwork(load_network("nano")).to(device)
        compiled = torch.compile(network, mode="max-autotune-no-cudagraphs")
        phases = torch.zeros(1, 32, size[0] // 4, size[1] // 4, dtype=torch.uint8, device=device)
        with torch.inference_mode(), torch.autocast(device, torch.float16):
            for _ in range(5):
                compiled(phases)
            torch.cuda.synchronize()
            at = time.perf_counter()
            for _ in range(50):
                compiled(phases)
            torch.cuda.synchronize()
        found["nano torch.compile fp16 network ms"] = round((time.perf_counter() - at) * 20, 3)
    return found


def train_all(options: argparse.Namespace, limit_s: float) -> dict[str, int | str]:
    """Train all variants at the same time, and copy the weights to --out; exit status of each."""
    minutes = max(limit_s, 10) / 60
    work = options.kit / "runs"
    processes = {}
    for variant in TRAINED:
        command = [sys.executable, "-m", "dreamif_ros.cli", "train"]
        command += ["--config", f"config/train/{variant}.yaml"]
        command += ["--out", str((work / variant).resolve())]
        command += ["--data-root", str((options.kit / "pairs").resolve())]
        command += ["--steps", "2"] if options.rehearse else ["--steps", "1000000"]
        command += ["--minutes", f"{minutes:.3f}", "--threads", "1" if options.rehearse else "4"]
        weights = options.kit / "weights" / f"{variant}.safetensors"
        if weights.is_file():
            command += ["--initial-weights", str(weights.resolve())]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with (options.out / f"train_{variant}.log").open("w") as log:
            processes[variant] = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
    ended: dict[str, int | str] = {}
    for variant, process in processes.items():
        try:
            grace_s = 600 if options.rehearse else RESERVE_S / 2
            ended[variant] = process.wait(max(limit_s, 10) + grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            ended[variant] = "had to be killed"
        for path in (work / variant).glob(f"{variant}.*"):
            bring_back(path, options.out / path.name)
    return ended


def bring_back(path: Path, target: Path) -> None:
    """Copy a result; weights that are too large are copied in half precision."""
    if path.stat().st_size < MAX_FILE_MB * 1e6:
        shutil.copyfile(path, target)
        return
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        halves = {name: file.get_tensor(name).half() for name in file.keys()}  # noqa: SIM118
        save_file(halves, target, metadata=file.metadata())


if __name__ == "__main__":
    sys.exit(main())
