"""The files for containers, services and boards name what exists; linters accept them."""

import configparser
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pytest
import yaml
from helpers import ROOT

from dreamif_ros.cli import build_parser
from dreamif_ros.detection.parameters import DETECTOR_PARAMETERS
from dreamif_ros.fusion.parameters import FUSION_PARAMETERS

DOCKERFILES = ("Dockerfile", "ros.Dockerfile")
PARAMETERS = {"fusion_node": FUSION_PARAMETERS, "detector_node": DETECTOR_PARAMETERS}
PREFIX = "/opt/dreamif"
SHARE = f"{PREFIX}/share/dreamif_ros"
SERVICE = ROOT / "config" / "systemd" / "dreamif_fusion.service"


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def instructions(name):
    """(instruction, its words) of a Dockerfile."""
    lines = re.sub(r"^#.*\n", "", text(f"docker/{name}"), flags=re.M).replace("\\\n", " ")
    return [(first, rest) for first, _, rest in (line.partition(" ") for line in lines.split("\n"))]


def of_kind(name, kind):
    return [rest for first, rest in instructions(name) if first == kind]


@pytest.fixture(scope="module")
def commands(description):
    """The names of our commands."""
    return {line.partition(" ")[0] for line in description["entry_points"]["console_scripts"]}


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(text("docker/compose.yaml"))["services"]


def check_command(words, commands):
    """A command of ours, whose parameter files are installed and whose parameters exist."""
    name, *arguments = words
    assert PurePosixPath(name).name in commands
    if name == "dreamif":
        build_parser().parse_args(arguments)
    for word, value in pairwise(arguments):
        if word == "--params-file":
            assert value.startswith(f"{SHARE}/config/")
            assert (ROOT / value.removeprefix(f"{SHARE}/")).is_file()
        elif word == "-p":
            assert value.partition(":=")[0] in {row.name for row in PARAMETERS[name]}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_exists(name):
    copied = [words.split() for words in of_kind(name, "COPY") if "--from" not in words]
    assert copied
    missing = [path for *paths, _ in copied for path in paths if not (ROOT / path).exists()]
    assert missing == []


def test_the_image_has_all_that_setup_py_reads(description):
    """A build in the image sees only what was copied."""
    copied = {path for words in of_kind("Dockerfile", "COPY") for path in words.split()[:-1]}
    files = [path for _, paths in description["data_files"] for path in paths]
    packages = {name.partition(".")[0] for name in description["packages"]}
    needed = packages | {Path(path).parts[0] for path in files}
    assert needed | {"setup.py", "setup.cfg", "pyproject.toml", "constraints.txt"} <= copied


def test_the_image_installs_extras_that_exist(description):
    (extras,) = re.findall(r"'\.\[(.*)\]'", text("docker/Dockerfile"))
    assert set(extras.split(",")) <= set(description["extras_require"])


def test_the_image_for_ros_installs_as_the_readme_says():
    told = re.findall(r"^    pip install (.*)", text("README.md"), re.M)
    assert len(told) == 2
    for packages in told:
        assert f"pip install --no-cache-dir {packages}" in text("docker/ros.Dockerfile")


def test_the_image_runs_a_command_of_ours(commands):
    (line,) = of_kind("Dockerfile", "CMD")
    check_command(yaml.safe_load(line), commands)


def test_the_image_for_ros_launches_a_file_of_ours():
    (line,) = of_kind("ros.Dockerfile", "CMD")
    package, launch_file = re.search(r"ros2 launch (\w+) ([\w.]+)", line).groups()
    assert package == "dreamif_ros"
    assert (ROOT / "launch" / launch_file).is_file()


def test_the_services_run_commands_of_ours(services, commands):
    assert set(services) == {"cameras", "fusion", "detector", "view"}
    for service in services.values():
        check_command(service["command"], commands)


def test_the_services_have_no_more_rights_than_they_need(services):
    for service in services.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"]
        assert "LOCALHOST" in service["environment"]["ROS_AUTOMATIC_DISCOVERY_RANGE"]
        assert "ports" not in service
        assert not service.get("privileged")
    assert "--host" not in services["view"]["command"]


def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(SERVICE.read_text())
    return parser


def test_the_service_starts_the_fusion_node(commands):
    words = shlex.split(unit()["Service"]["ExecStart"])
    assert words[0] == f"{PREFIX}/bin/fusion_node"
    check_command(["fusion_node", *words[1:]], commands)
    assert unit()["Service"]["Restart"] == "on-failure"
    assert "WatchdogSec" not in unit()["Service"]  # nothing would send the heartbeats


def test_systemd_accepts_the_service(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    copy = tmp_path / SERVICE.name
    copy.write_text(SERVICE.read_text().replace(f"{PREFIX}/bin/fusion_node", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_accepts_the_dockerfile(name):
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs hadolint (extra test)")
    done = subprocess.run([program, ROOT / "docker" / name], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_yamllint_accepts_the_compose_file():
    if importlib.util.find_spec("yamllint") is None:
        pytest.skip("needs yamllint (extra test)")
    rules = "{extends: default, rules: {line-length: {max: 100}, document-start: disable}}"
    command = [sys.executable, "-m", "yamllint", "--strict", "-d", rules]
    done = subprocess.run(
        [*command, ROOT / "docker" / "compose.yaml"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_onboard_md_has_what_the_script_prints():
    script = ROOT / "benchmarks" / "boards.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout in text("docs/onboard.md")


def test_the_shares_of_the_script_were_measured():
    """Column "of peak" of docs/performance.md, for OpenVINO in fp32."""
    rows = [line.split("|")[1:-1] for line in text("docs/performance.md").splitlines()]
    measured = {
        row[0].strip(): float(row[10])
        for row in rows
        if len(row) == 13 and [cell.strip() for cell in row[3:5]] == ["openvino", "fp32"]
    }
    used = dict(re.findall(r'"(\w+)": (0\.\d+)', text("benchmarks/boards.py")))
    assert {name: float(share) for name, share in used.items()} == measured


def test_security_md_names_what_exists():
    content = text("SECURITY.md")
    named = re.findall(r"`((?:dreamif_\w+|test|config|docker|fuzz)/[\w./]*)`", content)
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
    targets = set(re.findall(r'^    "(\w+)": Target\(', text("fuzz/targets.py"), re.M))
    said = re.findall(r"\| fuzz ((?:`\w+`(?:, )?)+)", content)
    assert set(re.findall(r"`(\w+)`", " ".join(said))) == targets
