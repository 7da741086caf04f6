"""What colcon installs, and that setup.py, package.xml and constraints.txt tell the same story."""

import os
import pkgutil
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers import ROOT
from helpers.colcon import colcon_build
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PACKAGES = ("dreamif_model", "dreamif_ros")


@pytest.fixture(scope="module")
def scripts(description):
    """Maps each command to its function, as "module:function"."""
    return dict(entry.split(" = ") for entry in description["entry_points"]["console_scripts"])


@pytest.fixture(scope="module")
def pinned():
    """The names in constraints.txt."""
    pins = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return {canonicalize_name(name) for name in pins}


@pytest.fixture(scope="module")
def site(prefix):
    """The folder below prefix that holds the Python packages."""
    return next(prefix.rglob("dreamif_model/__init__.py")).parent.parent


def run_installed(site, *command):
    """Run a command in this environment, which sees the installed packages before its own."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        command,
        cwd=site,
        env={**os.environ, "PYTHONPATH": path, "PATH": programs},
        capture_output=True,
        text=True,
        timeout=120,
    )


def requirements_of(wanted):
    """What a package and the extras asked for require; nothing if it is not installed here."""
    try:
        needs = [Requirement(text) for text in metadata.requires(wanted.name) or []]
    except metadata.PackageNotFoundError:
        return []
    extras = ("", *wanted.extras)
    return [
        n for n in needs if not n.marker or any(n.marker.evaluate({"extra": e}) for e in extras)
    ]


def files_below(folder):
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_package_xml_agrees_with_setup_py(description):
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    for tag in ("name", "version", "license", "maintainer"):
        assert package.findtext(tag) == description[tag]
    assert package.find("maintainer").get("email") == description["maintainer_email"]


def test_constraints_pin_every_requirement(description, pinned):
    extras = description["extras_require"].values()
    requirements = [*description["install_requires"], *(name for extra in extras for name in extra)]
    assert {canonicalize_name(Requirement(text).name) for text in requirements} <= pinned


def test_the_wheels_of_jazzy_take_the_place_of_all_of_kilted(description):
    pins = [
        line.split("==")
        for line in (ROOT / "constraints-jazzy.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    requirements = {text for extra in description["extras_require"].values() for text in extra}
    wanted = {Requirement(text).name for text in requirements if text.startswith("ros-")}
    assert wanted <= {name for name, _ in pins}
    assert all(name.startswith("ros-") for name, _ in pins)
    assert dict(pins)["ros-rclpy"].startswith("7.1.")


def test_constraints_pin_what_the_requirements_bring(pinned):
    queue, seen = [Requirement("dreamif_ros[ros,test]")], set()
    while queue:
        wanted = queue.pop()
        key = (canonicalize_name(wanted.name), *sorted(wanted.extras))
        if key not in seen:
            seen.add(key)
            queue += requirements_of(wanted)
    assert {name for name, *_ in seen} - {"dreamif-ros"} <= pinned


def test_commands_resolve_to_functions(scripts):
    for function in scripts.values():
        assert callable(pkgutil.resolve_name(function))


def test_colcon_installs_the_executables_where_ros2_run_looks(prefix, scripts):
    assert {path.name for path in (prefix / "lib/dreamif_ros").iterdir()} == set(scripts)


def test_executables_run_with_the_python_of_the_active_environment(prefix):
    for path in (prefix / "lib/dreamif_ros").iterdir():
        assert path.read_text().splitlines()[0] == "#!/usr/bin/env python3"


def test_colcon_installs_every_file_of_the_packages(site):
    for package in PACKAGES:
        assert files_below(ROOT / package) <= files_below(site / package)


def test_colcon_installs_what_ros_looks_up(prefix):
    share = prefix / "share/dreamif_ros"
    assert (prefix / "share/ament_index/resource_index/packages/dreamif_ros").is_file()
    assert (share / "package.xml").is_file()
    for folder in ("config", "launch"):
        assert files_below(share / folder) == files_below(ROOT / folder)


def test_installed_command_starts(prefix, site):
    done = run_installed(site, prefix / "lib/dreamif_ros/dreamif", "--help")
    assert (done.returncode, done.stdout[:6]) == (0, "usage:"), done.stderr


def test_installed_node_imports(site):
    code = "from dreamif_ros.fusion import node; node.main; print(node.__file__)"
    done = run_installed(site, sys.executable, "-c", code)
    assert done.stdout.strip() == str(site / "dreamif_ros/fusion/node.py"), done.stderr


@pytest.mark.skipif(
    Version(metadata.version("setuptools")) >= Version("80"),
    reason="setuptools 80 removed what --symlink-install calls",
)
def test_with_links_an_edit_needs_no_build(tmp_path):
    prefix = colcon_build(tmp_path, "--symlink-install")
    launch_file = prefix / "share/dreamif_ros/launch/fusion.launch.py"
    assert launch_file.resolve() == tmp_path / "src/launch/fusion.launch.py"
    first = (prefix / "lib/dreamif_ros/fusion_node").read_text().splitlines()[0]
    assert first == f"#!{sys.executable}"
