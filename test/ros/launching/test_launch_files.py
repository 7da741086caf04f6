"""The launch files as `ros2 launch` runs them: the processes, what they do, and how they end.

What a ROS installation has besides, such as RViz, is replaced by programs that print their
arguments.
"""

import re
import urllib.request
from itertools import count

import numpy as np
import pytest
from helpers.launched import launched, needs_ros2_launch
from helpers.ros_processes import RemoteParameters, client, spin_until
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dreamif_model.image_files import write_image
from dreamif_ros.bag.image_sources import open_images
from dreamif_ros.bag.make import make_bag
from dreamif_ros.codec import decode_visible
from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.launching.arguments import CAMERAS, COMMON, DEMO, FUSION, REPLAY
from dreamif_ros.stamps import to_ns

pytestmark = [needs_ros2_launch, pytest.mark.realtime, pytest.mark.slow]
AVERAGE = ("variant:=average", "device:=cpu")
PRINT_ARGUMENTS = """#!/bin/sh
echo "runs: $(basename "$0") $*"
while [ $# -gt 0 ]; do
    if [ "$1" = --params-file ]; then cat "$2"; fi
    shift
done
exec sleep 1000
"""


@pytest.fixture
def launch(prefix, tmp_path, monkeypatch):
    """`ros2 launch dreamif_ros FILE.launch.py ARGUMENTS`, in a namespace where that is possible."""
    monkeypatch.chdir(tmp_path)

    def start(file, *arguments):
        name = f"{file}.launch.py"
        return launched(prefix, tmp_path / "log", "launch", "dreamif_ros", name, *arguments)

    return start


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """Makes a ROS package with one executable, which prints its arguments and waits."""
    prefix = tmp_path / "packages"
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix))

    def make(package, executable):
        index = prefix / "share" / "ament_index" / "resource_index" / "packages"
        program = prefix / "lib" / package / executable
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        program.parent.mkdir(parents=True)
        program.write_text(PRINT_ARGUMENTS)
        program.chmod(0o755)
        return program.parent

    return make


def ended(run):
    """The exit status of a launch that ends by itself, and what it printed; nothing of it runs."""
    with run as process:
        status = process.status()
        assert not process.processes()
        return status, process.output()


def image(array, encoding, stamp_s):
    header = Header(frame_id="camera")
    header.stamp.sec = stamp_s
    return ROS_MESSAGES.image(array, encoding, header)


@pytest.mark.parametrize(
    ("file", "arguments"),
    [("fusion", FUSION), ("demo", DEMO), ("replay", REPLAY), ("cameras", CAMERAS)],
)
def test_show_args_describes_each_argument(launch, file, arguments):
    status, output = ended(launch(file, "--show-args"))
    assert status == 0
    shown = re.findall(r"^    '(.*)':\n        (.*)$", output, re.MULTILINE)
    arguments = [*arguments, *COMMON]
    assert [name for name, _ in shown] == [argument.name for argument in arguments]
    for (_, text), argument in zip(shown, arguments, strict=True):
        assert text.startswith(argument.description)


def test_fused_images_arrive_under_the_arguments(launch, rng):
    """Topics, parameters and the namespace are those given; Ctrl-C ends all with status 0."""
    given = ("namespace:=rig", "sync_slop:=0.2", "precision:=fp32", "infrared_topic:=/thermal")
    infrared = rng.integers(0, 256, (48, 64), dtype=np.uint8)
    visible = np.repeat(rng.integers(0, 256, (48, 64, 1), dtype=np.uint8), 3, axis=2)
    with launch("fusion", *AVERAGE, *given) as process, client(namespace="rig") as own:
        remote = RemoteParameters(own, "fusion_node")
        names = ("variant", "sync.slop_s", "precision", "backend", "use_sim_time")
        assert remote.get(*names) == ["average", 0.2, "fp32", "auto", False]
        heard = []
        own.create_subscription(Image, "fused/image_raw", heard.append, 10)
        thermal = own.create_publisher(Image, "/thermal", 10)
        color = own.create_publisher(Image, "visible/image_raw", 10)
        mean = (infrared.astype(float) + visible[..., 0]) / 2
        stamps = count(1)

        def fused():
            stamp_s = next(stamps)
            thermal.publish(image(infrared, "mono8", stamp_s))
            color.publish(image(visible, "rgb8", stamp_s))
            return any(np.allclose(decode_visible(m)[..., 0], mean, atol=1.5) for m in heard)

        assert spin_until(own, fused)
        assert len(process.processes()) == 1
        assert process.ctrl_c() == 0
        assert not process.processes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["params_file:=/nowhere.yaml"], "params_file: there is no file /nowhere.yaml"),
        (["precision:=fp8"], 'Argument "precision" provided value "fp8" is not valid'),
        (["sync_slop:=11"], "sync_slop is '11', expected 0 to 10 s"),
        (["rviz:=true"], "rviz:=true needs the ROS package rviz2, which is not installed"),
        ([*AVERAGE, "registration_file:=/nowhere.yaml"], "fusion_node ended with status 1"),
        ([*AVERAGE, "detector_model:=/nowhere.onnx"], "detector_node ended with status 1"),
        ([*AVERAGE, "detector_model:=/no.onnx", "one_process:=1"], "is not valid"),
        ([*AVERAGE, "detector_model:=/no.onnx", "one_process:=true"], "pipeline_node ended with"),
    ],
)
def test_what_cannot_start_ends_the_launch_with_status_1(launch, arguments, words):
    status, output = ended(launch("fusion", *arguments))
    assert status == 1
    assert re.search(rf"^\[ERROR\] \[launch\]: Caught exception.*: .*{words}", output, re.MULTILINE)


def test_a_misspelt_argument_is_said(launch):
    with launch("fusion", *AVERAGE, "visible_topci:=/cam", "something:=else") as process:
        process.wait_for_output("there is no argument visible_topci: did you mean visible_topic?")
        process.wait_for_output("process started with pid")
        assert "something" not in process.output()
        assert process.ctrl_c() == 0


def test_in_one_process_each_node_has_its_parameters(launch, tmp_path):
    (tmp_path / "fusion.yaml").write_text("/**: {ros__parameters: {autostart: false}}")
    (tmp_path / "detector.yaml").write_text(
        "/**: {ros__parameters: {autostart: false, jpeg_quality: 60}}"
    )
    given = ("params_file:=fusion.yaml", "detector_params_file:=detector.yaml", "variant:=tiny")
    with (
        launch(
            "fusion", *given, "detector_model:=12", "one_process:=true", "namespace:=both"
        ) as process,
        client(namespace="both") as own,
    ):
        assert RemoteParameters(own, "fusion_node").get("variant", "jpeg_quality") == ["tiny", 90]
        assert RemoteParameters(own, "detector_node").get("model", "jpeg_quality") == ["12", 60]
        (line,) = process.processes().values()
        assert "/pipeline_node " in line
        assert process.ctrl_c() == 0


def test_a_node_that_is_killed_is_started_again_with_respawn(launch):
    with launch("fusion", *AVERAGE, "respawn:=true") as process:
        process.wait_for_output("fusing with average")
        process.kill("/fusion_node")
        process.wait_for_output("[fusion_node-1]: process started with pid", count=2)
        process.wait_for_output("fusing with average", count=2)
        assert process.ctrl_c() == 0
        assert not process.processes()


def test_the_demo_fuses_and_shows_the_page(launch):
    pytest.importorskip("aiohttp", reason="needs aiohttp (extra view)")
    given = ("rate_hz:=5", "namespace:=shown", "view:=true", "view_port:=0", "noise:=night")
    with launch("demo", *AVERAGE, *given) as process, client(namespace="shown") as own:
        remote = RemoteParameters(own, "simulated_cameras")
        names = ("visible.rate_hz", "infrared.rate_hz", "noise")
        assert remote.get(*names) == [5.0, 5.0, "night"]
        heard = []
        own.create_subscription(Image, "fused/image_raw", heard.append, 10)
        assert spin_until(own, lambda: heard, timeout_s=60.0)
        assert (heard[0].width, heard[0].height, heard[0].encoding) == (640, 480, "rgb8")
        process.wait_for_output("look at http")
        page = re.search(r"look at (http://127\.0\.0\.1:\d+/)", process.output())[1]
        with urllib.request.urlopen(page, timeout=10) as answer:
            assert "<title>Dream-IF" in answer.read().decode()
        assert len(process.processes()) == 3
        assert process.ctrl_c() == 0
        assert not process.processes()


def test_a_recording_is_fused_to_its_end(launch, tmp_path):
    """The launch ends by itself; every pair of the bag was fused."""
    for index in range(12):
        for folder in ("ir", "vi"):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_image(
                tmp_path / folder / f"{index:02}.png", np.full((48, 64), 20 * index, np.uint8)
            )
    make_bag(open_images(tmp_path / "ir", tmp_path / "vi", 10.0), tmp_path / "bag")
    heard = []
    with launch("replay", "bag:=bag", *AVERAGE) as process, client() as own:
        own.create_subscription(Image, "fused/image_raw", heard.append, 50)
        assert spin_until(own, lambda: process.popen.poll() is not None, timeout_s=90.0)
        assert process.status() == 0, process.output()
        assert not process.processes()
    stamps = [to_ns(message.header.stamp) for message in heard]
    assert stamps == [10**9 + 10**8 * index for index in range(12)]
    levels = [decode_visible(message).mean() for message in heard]
    np.testing.assert_allclose(levels, [20 * index for index in range(12)], atol=1)


def test_a_recording_that_is_missing_is_an_error(launch):
    status, output = ended(launch("replay", "bag:=nowhere", *AVERAGE))
    assert status == 1
    assert "replay ended with status 1: its log says why" in output
    status, output = ended(launch("replay", *AVERAGE))
    assert status == 1
    assert "bag is empty, expected a recording" in output


def test_rviz_and_the_recorder_get_the_topics(launch, fake_package, monkeypatch):
    fake_package("rviz2", "rviz2")
    recorder = fake_package("ros2bag", "ros2")  # the command of that name comes first on the path
    monkeypatch.setenv("PATH", str(recorder), prepend=":")
    given = ("rviz:=true", "record:=new", "namespace:=rig", "visible_topic:=/cam/image")
    with launch("fusion", *AVERAGE, *given, "use_sim_time:=true") as process:
        process.wait_for_output("runs: rviz2")
        process.wait_for_output("runs: ros2")
        output = process.output()
        rviz = re.search(r"runs: rviz2 -d (\S+) (.*)", output)
        assert rviz[1].endswith("/share/dreamif_ros/config/dreamif.rviz")
        assert "-r /visible/image_raw:=/cam/image" in rviz[2]
        assert "-r /fused/image_raw:=/rig/fused/image_raw" in rviz[2]
        record = re.search(
            r"runs: ros2 bag record --output=new --regex=(\S+) --use-sim-time", output
        )
        for topic in ("/rig/infrared/image_raw", "/cam/image", "/rig/fused/image_raw"):
            assert re.fullmatch(record[1], topic)
        assert not re.fullmatch(record[1], "/rig/dominance/infrared")
        process.ctrl_c()
        process.status()
        assert not process.processes()


def test_camera_drivers_get_their_devices(launch, fake_package):
    fake_package("v4l2_camera", "v4l2_camera_node")
    fake_package("usb_cam", "usb_cam_node_exe")
    devices = ("visible_device:=/dev/video0", "infrared_device:=/dev/video2")
    with launch("cameras", *AVERAGE, *devices, "infrared_height:=480") as process:
        process.wait_for_output("pixel_format: mono16")
        process.wait_for_output("image_size")
        output = process.output()
        assert re.search(r"runs: v4l2_camera_node .*-r __ns:=/visible", output)
        assert re.search(r"runs: usb_cam_node_exe .*-r __ns:=/infrared", output)
        for line in ("video_device: /dev/video0", "video_device: /dev/video2", "image_height: 480"):
            assert line in output
        process.ctrl_c()
        process.status()
        assert not process.processes()


def test_a_missing_driver_or_device_is_named(launch, fake_package):
    status, output = ended(launch("cameras", *AVERAGE))
    assert status == 1
    assert "the visible camera needs the ROS package v4l2_camera, which is not installed" in output
    fake_package("v4l2_camera", "v4l2_camera_node")
    status, output = ended(launch("cameras", *AVERAGE))
    assert status == 1
    assert "visible_device is empty, expected a device like /dev/video0" in output


def test_ros2_run_finds_the_executables(prefix, tmp_path):
    run = launched(prefix, tmp_path / "log", "run", "dreamif_ros", "dreamif", "summary", "--help")
    status, output = ended(run)
    assert (status, output[:22]) == (0, "usage: dreamif summary")
    given = ("--ros-args", "-p", "variant:=giant")
    run = launched(prefix, tmp_path / "log", "run", "dreamif_ros", "fusion_node", *given)
    status, output = ended(run)
    assert status == 1
    assert "parameter variant is 'giant'" in output
