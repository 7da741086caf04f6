"""A build of this package with colcon, as people make it."""

import shutil
import subprocess
import sys

import pytest

from helpers import ROOT

SOURCES = (
    *("setup.py", "setup.cfg", "package.xml", "pyproject.toml", "resource", "config", "launch"),
    *("dreamif_model", "dreamif_ros"),
)


def colcon_build(workspace, *options):
    """Copy the sources into a workspace and build them; returns where they are installed."""
    pytest.importorskip("colcon_core", reason="needs colcon: pip install colcon-common-extensions")
    source = workspace / "src"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "colcon", "build", *options]
    build = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    assert build.returncode == 0, build.stdout + build.stderr
    return workspace / "install" / "dreamif_ros"
