"""`dreamif doctor`: the page, its JSON file and its exit status."""

import json
import subprocess
import sys

import pytest
from helpers.ros_processes import client
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from dreamif_model.backends import available
from dreamif_ros import cli
from dreamif_ros.cli import doctor
from dreamif_ros.doctor.findings import Finding


@pytest.mark.realtime
def test_this_machine(tmp_path):
    """With two cameras: one that sends best effort, one that sends compressed images only."""
    out = tmp_path / "doctor.json"
    command = ["doctor", "--visible", "cam/image", "--seconds", "20", "--json", str(out)]
    with client("driver") as node:
        node.create_publisher(Image, "/infrared/image_raw", qos_profile_sensor_data)
        node.create_publisher(CompressedImage, "/cam/image/compressed", 1)
        ended = subprocess.run(
            [sys.executable, "-m", "dreamif_ros.cli", *command],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.stderr == ""
    content = json.loads(out.read_text())
    assert content["made_by"] == "dreamif"
    findings = {row["name"]: Finding(**row) for row in content["findings"]}
    assert ended.returncode == any(row.state == "error" for row in findings.values())
    for row in findings.values():
        assert f"{row.state:<8} {row.name}: {row.text}\n" in ended.stdout
    infrared, visible = findings["infrared camera"], findings["visible camera"]
    assert infrared.text == "/infrared/image_raw of /driver (best_effort)"
    assert (infrared.state, visible.state) == ("ok", "warning")
    assert visible.text == "/cam/image has no publisher, but /cam/image/compressed has"
    assert findings["middleware"].text.startswith("rmw_fastrtps_cpp, domain ")
    assert "; 0 in use" not in findings["leftover segments"].text  # the driver's is
    for backend, _ in available("auto"):
        assert "ms for each pair of 640x480 with nano" in findings[f"engine {backend}"].text


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("warning", 0), ("error", 1)])
def test_the_exit_status(monkeypatch, capsys, state, status):
    found = [Finding("disk", "ok", "fine"), Finding("clock", state, "a \x1b[31m clock", "set it")]
    monkeypatch.setattr(doctor, "examine", lambda *_: iter(found))
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().out.splitlines() == [
        "ok       disk: fine",
        f"{state:<8} clock: a \\x1b[31m clock",
        "         → set it",
    ]


@pytest.mark.parametrize("seconds", ["-1", "61", "nan"])
def test_refuses_a_long_search(capsys, seconds):
    assert cli.main(["doctor", "--seconds", seconds]) == 2
    assert "expected 0 to 60" in capsys.readouterr().err
