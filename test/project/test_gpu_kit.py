"""The kit for a GPU machine, packed and rehearsed on the CPU: a few steps, a few frames."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml
from helpers import ROOT

KIT = ROOT / "benchmarks" / "gpu_kit.py"
CONFIG = yaml.safe_load((ROOT / "config" / "train" / "nano.yaml").read_text())


@pytest.fixture
def pairs(tmp_path, rng):
    """Two training pairs in every data set of the configs, and those that they hold out."""
    for entry in CONFIG["data"]:
        stems = ["first", "second", *(entry.get("validation") or [])]
        for name in ("ir", "vi"):
            folder = tmp_path / "pairs" / entry["path"] / name
            folder.mkdir(parents=True)
            for stem in stems:
                image = rng.integers(0, 256, (100, 120), dtype=np.uint8)
                cv2.imwrite(str(folder / f"{stem}.png"), cv2.blur(image, (5, 5)))
    return tmp_path / "pairs"


def call(*words):
    command = [sys.executable, str(KIT), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)


def test_the_kit_is_packed_and_rehearsed(pairs, tmp_path):
    kit, out = tmp_path / "kit", tmp_path / "out"
    packed = call("pack", "--kit", kit, "--data-root", pairs, "--runs", tmp_path / "no_runs")
    assert packed.returncode == 0, packed.stderr
    assert (kit / "pairs" / "msrs" / "ir" / "first.png").read_bytes()
    assert {path.stem for path in (kit / "weights").iterdir()} >= {"nano", "tiny"}

    done = call("run", "--kit", kit, "--out", out, "--minutes", "15", "--rehearse")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((out / "results.json").read_text())
    assert results["tests"] == 0
    assert " tests collected" in (out / "tests.log").read_text()
    rows = json.loads((out / "timing.json").read_text())["rows"]
    assert {row["method"] for row in rows} == {"nano"}
    assert results["training"] == {"small": 0, "tiny": 0, "nano": 0}
    for variant in results["training"]:
        record = json.loads((out / f"{variant}.json").read_text())
        assert record["config"]["variant"] == variant
        assert (out / f"{variant}.safetensors").stat().st_size < 16e6
    assert any(name.startswith("nano openvino") for name in results["others"])


def test_pairs_that_are_not_there_are_named(tmp_path):
    packed = call("pack", "--kit", tmp_path / "kit", "--data-root", tmp_path / "nowhere")
    assert packed.returncode == 1
    assert f"there is no folder {tmp_path / 'nowhere'}" in packed.stderr
