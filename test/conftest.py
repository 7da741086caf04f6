"""What several tests share."""

import os
import runpy
import signal
from pathlib import Path
from unittest import mock

from helpers import ROOT
from helpers.colcon import colcon_build

# Before anything imports torch: tiny inputs gain nothing from threads, and CI has few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

from dreamif_model.model_files.checkpoints import save_weights
from dreamif_model.network import make_network
from dreamif_model.variants import network_config

# A shell that runs us in the background has interrupts ignored, by us and by all that we start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples each time, however slow the machine: a failure is the change's, not luck.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def pairs_root():
    """The folder of public image pairs, which is not part of the project."""
    folder = ROOT.parent / "shared" / "data" / "pairs"
    if not folder.is_dir():
        pytest.skip(f"needs image pairs in {folder}")
    return folder


@pytest.fixture(scope="session")
def description():
    """The arguments with which setup.py calls setup()."""
    with mock.patch("setuptools.setup") as setup, pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        runpy.run_path("setup.py")
    return setup.call_args.kwargs


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    """A folder into which colcon has installed a copy of the sources."""
    return colcon_build(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="session", autouse=True)
def ros_environment(tmp_path_factory):
    """A DDS domain of this test run's own, its logs in a temporary folder."""
    # Up to 101 no port of it is one that the system lends to anybody.
    os.environ["ROS_DOMAIN_ID"] = str(1 + run_number() % 101)
    os.environ["ROS_LOG_DIR"] = str(tmp_path_factory.mktemp("ros_log"))
    before = shared_memory()
    yield
    left = shared_memory() - before  # listed before the look at what is in use
    mapped = "".join(map(text_of, Path("/proc").glob("[0-9]*/maps")))
    for path in left:
        if path.name.removesuffix("_el").removesuffix("_sl") not in mapped:  # locks: never mapped
            path.unlink(missing_ok=True)


def run_number():
    """A number that no other process of this run has, and hardly any other run."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")  # gw0, gw1 …
    return os.getppid() + int(worker.removeprefix("gw")) if worker else os.getpid()


def shared_memory():
    """Fast DDS's segments: 70 MB stay of each process that was killed."""
    return {path for kind in ("fastdds", "fastrtps") for path in Path("/dev/shm").glob(f"{kind}_*")}


def text_of(path):
    try:
        return path.read_text()
    except OSError:  # the process is gone, or somebody else's
        return ""


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def nano():
    """A nano network, randomly initialised, always the same."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return make_network(network_config("nano")).eval()


@pytest.fixture
def nano_weights(nano, tmp_path):
    """Its weights as a file: tests of the code do not depend on the packaged ones."""
    path = tmp_path / "weights" / "nano.safetensors"
    path.parent.mkdir()
    save_weights(nano, "nano", path)
    return path


@pytest.fixture(scope="module")
def module_rig(tmp_path_factory):
    """A fusion node and two cameras as processes, for all tests of one module."""
    from helpers.camera_rig import camera_rig  # needs ROS, which most tests do without

    with camera_rig(tmp_path_factory.mktemp("faults") / "log") as rig:
        yield rig


@pytest.fixture
def rig(module_rig):
    """The module's cameras and node, everything well."""
    module_rig.recover()
    return module_rig
