"""Each check of `dreamif doctor`, with machines that are made up."""

import fcntl
import os
import sys
from functools import partial

import pytest

from dreamif_model.cameras import Both, Camera
from dreamif_ros.doctor import cameras, engines, system, transport
from dreamif_ros.doctor.cameras import Discovered, Publisher, judge
from dreamif_ros.doctor.findings import Finding, run_check
from dreamif_ros.doctor.trial import Trial, run_trial


def only(findings):
    (finding,) = findings
    return finding


def python(code):
    return (sys.executable, "-c", code)


def test_a_check_that_fails_says_why():
    def check():
        yield Finding("disk", "ok", "fine")
        raise OSError(5, "no such\nplace")

    fine, failed = run_check("disk", check)
    assert fine == Finding("disk", "ok", "fine")
    assert failed == Finding("disk", "warning", "not known: OSError: [Errno 5] no such place")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (python("print('a'); print('b 1.5')"), Trial("b 1.5")),
        (python("raise ValueError('bad')"), Trial(fault="ValueError: bad")),
        (python("import os; os._exit(3)"), Trial(fault="it ended with status 3")),
        (python("import time; time.sleep(60)"), Trial(fault="no answer within 5 s")),
        (("/no/such/program",), Trial(fault="[Errno 2] No such file or directory: '/no/such/pr")),
    ],
)
def test_a_trial_ends_alone(command, expected):
    answer, fault = run_trial(command, 5.0)
    assert answer == expected.answer
    assert fault.startswith(expected.fault)
    assert bool(fault) == bool(expected.fault)


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 9, 1), "warning"), ((3, 10, 0), "ok"), ((3, 14, 2), "ok"), ((3, 15, 0), "warning")],
)
def test_python(version, state):
    finding = only(system.check_python(version))
    assert finding.state == state
    assert (finding.advice == "use Python 3.10 to 3.14") == (state == "warning")


class TestRos:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        """Where rclpy seems to be installed."""
        (tmp_path / "lib/rclpy").mkdir(parents=True)
        (tmp_path / "lib/rclpy/__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path / "lib")
        monkeypatch.delitem(sys.modules, "rclpy", raising=False)
        return tmp_path

    def test_the_sourced_one(self, folder):
        sourced = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": f"/other{os.pathsep}{folder}"}
        assert only(system.check_ros(sourced)) == Finding(
            "ROS", "ok", f"jazzy, rclpy of {folder}/lib/rclpy"
        )

    def test_none_is_sourced(self, folder):
        assert only(system.check_ros({})).text == f"not sourced, rclpy of {folder}/lib/rclpy"

    @pytest.mark.usefixtures("folder")
    def test_two_versions_mix(self):
        sourced = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/opt/ros/jazzy"}
        finding = only(system.check_ros(sourced))
        assert finding.state == "warning"
        assert finding.text.endswith("two versions of ROS mix")

    def test_there_is_none(self, monkeypatch):
        monkeypatch.setattr(system, "find_spec", lambda _: None)
        finding = only(system.check_ros({}))
        assert (finding.state, finding.text[:18]) == ("warning", "there is no rclpy:")


class TestMiddleware:
    def test_it_is_named_with_the_settings_of_the_nodes(self, monkeypatch):
        monkeypatch.setattr(system, "try_rclpy", lambda: Trial("rmw_cyclonedds_cpp"))
        environment = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "ROS_DOMAIN_ID": "5"}
        finding = only(system.check_middleware(environment))
        assert finding.state == "ok"
        assert finding.text == (
            "rmw_cyclonedds_cpp, domain 5; DDS settings are those of rmw_cyclonedds_cpp: see its "
            "guide for large images"
        )

    def test_one_that_is_missing(self, monkeypatch):
        """It ends every process that loads rclpy."""
        monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_nowhere")
        system.try_rclpy.cache_clear()
        try:
            finding = only(system.check_middleware())
            unknown = only(cameras.check_cameras(Both("a", "b"), 0.0))
        finally:
            system.try_rclpy.cache_clear()
        assert finding.state == "error"
        assert finding.advice == "unset RMW_IMPLEMENTATION, or install rmw_nowhere"
        assert "rmw_nowhere" in finding.text
        assert unknown.text.startswith("not known: rclpy cannot be used: ")


class TestNumpy:
    def test_all_fit(self):
        assert only(system.check_numpy(["opencv-python 4.10.0"])).state == "ok"

    def test_copies_of_opencv(self):
        copies = ["opencv-contrib-python 4.9", "opencv-python 4.10"]
        finding = only(system.check_numpy(copies))
        assert finding.state == "warning"
        assert finding.text == f"several copies of OpenCV: {', '.join(copies)}"

    def test_a_cv_bridge_that_would_end_the_process(self, monkeypatch):
        monkeypatch.setattr(system, "cv_bridge_fault", lambda: "it clashes: remove the copies")
        expected = Finding("NumPy and OpenCV", "error", "it clashes", "remove the copies")
        assert only(system.check_numpy([])) == expected


@pytest.mark.parametrize(
    ("free_gb", "state"), [(50, "ok"), (5, "ok"), (4.9, "warning"), (0.05, "error")]
)
def test_disk(tmp_path, free_gb, state):
    finding = only(system.check_disk(tmp_path, int(free_gb * 1e9)))
    assert (finding.state, finding.text) == (state, f"{free_gb:.1f} GB free in {tmp_path}")
    assert bool(finding.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("last_line", "state", "words"),
    [
        ("Leap status     : Normal", "ok", "synchronized, says"),
        ("NTPSynchronized=yes", "ok", "synchronized, says"),
        ("Leap status     : Not synchronised", "warning", "not synchronized, says"),
        ("NTPSynchronized=no", "warning", "not synchronized, says"),
        (None, "warning", "not known: neither"),
    ],
)
def test_clock(last_line, state, words):
    """The first command is missing, as one of both often is."""
    command = python("raise SystemExit(1)" if last_line is None else f"print({last_line!r})")
    finding = only(system.check_clock([("/no/such/chronyc",), command]))
    assert finding.state == state
    assert finding.text.startswith(words)


@pytest.mark.parametrize(("free", "state"), [(2**30, "ok"), (64 * 2**20, "warning")])
def test_shared_memory(tmp_path, free, state):
    """64 MiB is what docker gives."""
    finding = only(transport.check_shared_memory(tmp_path, free))
    assert (finding.state, "--shm-size" in finding.advice) == (state, state == "warning")


def test_segments_whose_lock_is_free_are_left_over(tmp_path):
    check = partial(transport.check_leftover_segments, tmp_path)
    used, left = (tmp_path / f"fastdds_{digit * 16}" for digit in "ab")
    for segment in (used, left):
        segment.write_bytes(bytes(2_000_000))
        segment.with_name(f"{segment.name}_el").touch()
    (tmp_path / "fastdds_port7411").touch()  # no segment
    with used.with_name(f"{used.name}_el").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finding = only(check())
        assert finding.state == "warning"
        assert finding.text.startswith("1 of Fast DDS, up to 2 MB,")
        left.unlink()
        assert only(check()) == Finding("leftover segments", "ok", "none; 1 in use")


def test_socket_buffers(tmp_path):
    (tmp_path / "rmem_max").write_text("212992\n")  # the default of Linux
    (tmp_path / "wmem_max").write_text("33554432\n")
    receive, send = transport.check_socket_buffers(tmp_path)
    assert (receive.state, send.state) == ("warning", "ok")
    assert receive.text == "net.core.rmem_max is 0.2 MB"
    assert "sudo sysctl -w net.core.rmem_max=33554432" in receive.advice


class TestCameras:
    topic = "/thermal/image_raw"
    driver = Publisher("/boson", "sensor_msgs/msg/Image", "best_effort")

    def judged(self, topics, *with_images):
        return judge(Camera.INFRARED, self.topic, Discovered(topics, with_images))

    def test_one_publisher(self):
        expected = Finding("infrared camera", "ok", f"{self.topic} of /boson (best_effort)")
        assert self.judged({self.topic: [self.driver]}) == expected

    def test_none(self):
        finding = self.judged({}, "/camera/image_raw", "/cam/image")
        assert (finding.state, finding.text) == ("warning", f"{self.topic} has no publisher")
        assert finding.advice == (
            "start the driver, or give --infrared TOPIC; there are images on /camera/image_raw, "
            "/cam/image"
        )

    def test_compressed_images_only(self):
        finding = self.judged({f"{self.topic}/compressed": [self.driver]})
        assert finding.state == "warning"
        assert finding.advice == "set infrared.image_transport to compressed"

    def test_another_type(self):
        cloud = self.driver._replace(type_name="sensor_msgs/msg/PointCloud2")
        finding = self.judged({self.topic: [cloud]})
        assert finding.state == "error"
        assert finding.text.endswith("which are sensor_msgs/msg/PointCloud2")

    def test_two_publishers(self):
        other = Publisher("/replay", "sensor_msgs/msg/Image", "reliable")
        finding = self.judged({self.topic: [self.driver, other]})
        assert finding.state == "warning"
        assert finding.text == f"{self.topic} of /boson (best_effort), /replay (reliable)"


class TestEngines:
    @pytest.mark.parametrize(
        ("answer", "chosen", "state"),
        [("bf16 12.5", True, "ok"), ("fp32 60.0", True, "warning"), ("fp32 60.0", False, "ok")],
    )
    def test_the_speed_of_what_auto_takes_counts(self, answer, chosen, state):
        finding = engines.judge_engine("openvino", Trial(answer), is_chosen=chosen)
        precision, pair_ms = answer.split()
        text = f"{pair_ms} ms for each pair of 640x480 with nano in {precision}"
        assert finding.text == text + (", which auto takes" if chosen else "")
        assert finding.state == state

    @pytest.mark.parametrize(("chosen", "state"), [(True, "error"), (False, "warning")])
    def test_one_that_fails(self, chosen, state):
        trial = Trial(fault="ImportError: libtbb")
        finding = engines.judge_engine("openvino", trial, is_chosen=chosen)
        assert (finding.state, finding.text) == (state, "fails: ImportError: libtbb")

    def test_nothing_that_runs_the_network(self, monkeypatch):
        monkeypatch.setattr(engines, "available", lambda _: [])
        monkeypatch.setattr(engines, "choose_backend", lambda *_: "torch")
        expected = ("error", "torch, which auto takes, is not installed", "pip install torch")
        finding = only(engines.check_engines())
        assert (finding.state, finding.text, finding.advice) == expected

    @pytest.mark.parametrize(
        ("cuda", "driver", "state", "words"),
        [
            (True, True, "ok", "a card"),
            (False, True, "warning", "there is an NVIDIA driver, but torch"),
            (False, False, "ok", "none of NVIDIA; "),
        ],
    )
    def test_gpu(self, monkeypatch, cuda, driver, state, words):
        monkeypatch.setattr(engines, "cuda_is_here", lambda: cuda)
        monkeypatch.setattr(engines, "has_nvidia_driver", lambda: driver)
        monkeypatch.setattr(engines, "machine_name", lambda _: "a card")
        finding = only(engines.check_gpu())
        assert finding.state == state
        assert finding.text.startswith(words)
