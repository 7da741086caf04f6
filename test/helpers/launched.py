"""``ros2 launch`` and ``ros2 run`` on an installed package, where they can be imported."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROS2 = "from ros2cli.cli import main; raise SystemExit(main())"
MISSING = [name for name in ("launch_ros", "ros2launch", "ros2run") if not find_spec(name)]
needs_ros2_launch = pytest.mark.skipif(
    bool(MISSING), reason=f"{', '.join(MISSING)} cannot be imported, see CONTRIBUTING.md"
)


class Launch:
    """A command of ``ros2`` in a process group of its own, as a shell starts it."""

    def __init__(self, prefix, log, *arguments):
        self.log = log
        with log.open("w") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", ROS2, *arguments],
                stdout=output,
                stderr=output,
                env=environment(prefix, log.parent / "ros_log"),
                start_new_session=True,
            )

    def output(self):
        return self.log.read_text()

    def wait_for_output(self, text, count=1, timeout_s=60.0):
        end = time.monotonic() + timeout_s
        while self.output().count(text) < count:
            assert time.monotonic() < end, f"no {text!r} in: {self.output()}"
            time.sleep(0.05)

    def ctrl_c(self):
        """What a terminal does: an interrupt to all processes; returns the status of ``ros2``."""
        os.killpg(self.popen.pid, signal.SIGINT)
        return self.status()

    def status(self, timeout_s=60.0):
        """Wait for the end; returns the exit status."""
        return self.popen.wait(timeout_s)

    def processes(self):
        """The command lines of the processes that it started and that still run, by id."""
        return {
            pid: line
            for pid, line in command_lines()
            if line and pid != self.popen.pid and self._owns(pid)
        }

    def kill(self, name):
        """Kill the process whose command line has this name."""
        (found,) = (pid for pid, line in self.processes().items() if name in line)
        os.kill(found, signal.SIGKILL)

    def _owns(self, pid):
        try:
            return os.getsid(pid) == self.popen.pid
        except ProcessLookupError:
            return False


def command_lines():
    """(process id, command line) of everything that runs."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        yield int(folder.name), " ".join(word.decode(errors="replace") for word in words)


def environment(prefix, ros_log):
    """What ``source install/setup.bash`` sets, and the Python of the tests for the nodes."""
    site = next(prefix.rglob("dreamif_model/__init__.py")).parent.parent
    before = {
        "PYTHONPATH": site,
        "AMENT_PREFIX_PATH": prefix,
        "PATH": Path(sys.executable).parent,
    }
    paths = {
        name: os.pathsep.join(filter(None, [str(path), os.environ.get(name)]))
        for name, path in before.items()
    }
    return {**os.environ, **paths, "ROS_LOG_DIR": str(ros_log)}


@contextmanager
def launched(prefix, log, *arguments):
    """``ros2 ARGUMENTS``; nothing of it is left afterwards."""
    launch = Launch(prefix, log, *arguments)
    try:
        yield launch
    finally:
        if launch.popen.poll() is None or launch.processes():
            os.killpg(launch.popen.pid, signal.SIGKILL)
            launch.popen.wait()
