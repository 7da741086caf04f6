"""Build vision_msgs into the virtual environment of the Python that runs this.

    .venv/bin/python interfaces/build.py

ROS from PyPI has no vision_msgs: its messages for 2D detections are generated here, on the wire the
same as those of the real package. Where that is installed, or nothing has changed since the last
time, nothing is done. Exits with 77 when this machine lacks something that a build needs, which
the one line printed names, and with 1 when a build fails.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "vision_msgs"
WHEELS_HOOK = HERE / "ros_wheels.cmake"
BUILD = HERE.parent / "build" / "vision_msgs"
LOG = BUILD / "build.log"
PREFIX = Path(sys.prefix)
STAMP = PREFIX / "share" / "vision_msgs" / "built_from"  # marks a vision_msgs as made here

BUILT, FAILED, CANNOT_BUILD = 0, 1, 77  # 77: skipped, as for automake
CMAKE_AT_LEAST = (3, 21)  # knows IMPORTED_TARGETS
COMPILERS = {
    "a C compiler": ("CC", ("cc", "gcc", "clang")),
    "a C++ compiler": ("CXX", ("c++", "g++", "clang++")),
}


def main() -> int:
    """Build if that is needed and possible; returns the exit status."""
    try:
        return build_if_needed()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        return fail(f"vision_msgs does not build: {error}")


def build_if_needed() -> int:
    """Look at what is there, then build; returns the exit status."""
    present, inputs = present_package(), digest_of_inputs()
    if present and not made_here(present):
        print(f"{present} is used: no vision_msgs is built")
        return BUILT
    if present and STAMP.read_bytes() == inputs:
        return BUILT
    if missing := missing_tools():
        return fail(
            "vision_msgs is not built, so the topic detections is not published; "
            f"detections/image is. Missing: {', '.join(missing)}",
            CANNOT_BUILD,
        )
    if not build():
        return fail(f"vision_msgs does not build: {reason_in_log()} (all of it: {LOG})")
    STAMP.write_bytes(inputs)
    return BUILT


def fail(message: str, status: int = FAILED) -> int:
    """Print the message as an error; returns the exit status."""
    print(message, file=sys.stderr)
    return status


def present_package() -> Path | None:
    """The folder of the vision_msgs that Python imports, if there is one."""
    spec = importlib.util.find_spec("vision_msgs")
    # Without an origin it is only the folder of that name beside this file.
    return Path(spec.origin).parent if spec and spec.origin else None


def made_here(package: Path) -> bool:
    """Whether it was not installed by somebody else."""
    return package.is_relative_to(PREFIX) and STAMP.is_file()


def digest_of_inputs() -> bytes:
    """Differs when the messages, this recipe, Python or ROS's wheels do."""
    digest = hashlib.sha256(sys.version.encode())
    sources = (path for path in SOURCE.rglob("*") if path.is_file())
    for path in sorted((Path(__file__).resolve(), WHEELS_HOOK, *sources)):
        digest.update(f"{path.relative_to(HERE)}\n".encode() + path.read_bytes())
    site = Path(sysconfig.get_path("purelib"))
    digest.update(" ".join(sorted(path.name for path in site.glob("ros*.dist-info"))).encode())
    return f"{digest.hexdigest()}\n".encode()


def missing_tools() -> list[str]:
    """What a build needs and this machine lacks, in words."""
    missing = []
    for what, (variable, usual) in COMPILERS.items():
        chosen = os.environ.get(variable, "").split()[:1]  # its options follow
        if not any(map(shutil.which, chosen or usual)):
            missing.append(what)
    if not shutil.which("make"):
        missing.append("make")
    if cmake_version() < CMAKE_AT_LEAST:
        missing.append(f"CMake {'.'.join(map(str, CMAKE_AT_LEAST))} or newer")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append("Python's headers (python3-dev)")
    if sys.prefix == sys.base_prefix:
        missing.append("a virtual environment")
    elif not (PREFIX / "share" / "rosidl_default_generators").is_dir():
        missing.append("ROS's generators (pip install '.[ros,messages]')")
    return missing


def cmake_version() -> tuple[int, ...]:
    """Major and minor; empty without CMake."""
    if not shutil.which("cmake"):
        return ()
    told = subprocess.run(["cmake", "--version"], env=build_environment(), capture_output=True)
    numbers = re.search(rb"version (\d+)\.(\d+)", told.stdout)
    return tuple(map(int, numbers.groups())) if numbers else ()


def build() -> bool:
    """Configure, compile and install, with all output in LOG; returns whether it went well."""
    shutil.rmtree(BUILD, ignore_errors=True)  # a cache of another Python would be believed
    BUILD.mkdir(parents=True)
    configure: list[str | Path] = [
        *("cmake", "-S", SOURCE, "-B", BUILD, "-G", "Unix Makefiles"),
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_INSTALL_PREFIX={PREFIX}",
        f"-DCMAKE_PROJECT_INCLUDE={WHEELS_HOOK}",
        f"-DPython3_EXECUTABLE={sys.executable}",
        "-DBUILD_TESTING=OFF",
    ]
    compile_: list[str | Path] = ["cmake", "--build", BUILD, "--parallel", str(os.cpu_count() or 1)]
    return run(configure) and run(compile_) and install()


def install() -> bool:
    """Put the result into PREFIX; returns whether it went well."""
    STAMP.parent.mkdir(parents=True, exist_ok=True)
    STAMP.write_bytes(b"")  # what an interruption leaves is then known as made here
    return run(["cmake", "--install", BUILD])


def run(command: list[str | Path]) -> bool:
    """Run a command, its output appended to LOG; returns whether it succeeded."""
    with LOG.open("a") as log:
        status = subprocess.run(command, env=build_environment(), stdout=log, stderr=log)
    return status.returncode == 0


def build_environment() -> dict[str, str]:
    """Ours, with packages found in PREFIX only, and without its libraries for CMake to load.

    The wheels add the latter to LD_LIBRARY_PATH when their Python starts, and so does the Python
    that generates the messages.
    """
    kept = [
        entry
        for entry in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
        if entry and not Path(entry).resolve().is_relative_to(PREFIX.resolve())
    ]
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": str(PREFIX),
        "CMAKE_PREFIX_PATH": str(PREFIX),
        "LD_LIBRARY_PATH": os.pathsep.join(kept),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    return environment


def reason_in_log() -> str:
    """The first line of LOG that tells of an error, else the last one."""
    lines = [line.strip() for line in LOG.read_text(errors="replace").splitlines()]
    errors = (line for line in lines if re.search(r"error\b", line, re.IGNORECASE))
    return next(errors, lines[-1] if lines else "no output")


if __name__ == "__main__":
    sys.exit(main())
