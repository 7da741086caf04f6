"""vision_msgs is on the wire what the real one is; interfaces/build.py makes it or says why not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.ros_processes import client, running, spin_until

pytestmark = pytest.mark.realtime

STAMP = Path(sys.prefix) / "share" / "vision_msgs" / "built_from"
TOOLS = ("cc", "c++", "cmake", "make")

# Those of ros-perception/vision_msgs 4.1.1, built with the generators of the same wheels.
HASHES = {
    "BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
}
FIELDS = {
    "BoundingBox2D": {"center": "vision_msgs/Pose2D", "size_x": "double", "size_y": "double"},
    "Detection2D": {
        "header": "std_msgs/Header",
        "results": "sequence<vision_msgs/ObjectHypothesisWithPose>",
        "bbox": "vision_msgs/BoundingBox2D",
        "id": "string",
    },
    "Detection2DArray": {
        "header": "std_msgs/Header",
        "detections": "sequence<vision_msgs/Detection2D>",
    },
    "ObjectHypothesis": {"class_id": "string", "score": "double"},
    "ObjectHypothesisWithPose": {
        "hypothesis": "vision_msgs/ObjectHypothesis",
        "pose": "geometry_msgs/PoseWithCovariance",
    },
    "Point2D": {"x": "double", "y": "double"},
    "Pose2D": {"position": "vision_msgs/Point2D", "theta": "double"},
}


@pytest.fixture(scope="module")
def messages():
    """The module vision_msgs.msg."""
    return pytest.importorskip("vision_msgs.msg", reason="needs vision_msgs: make vision_msgs")


@pytest.fixture
def made_here(messages):
    """The module, made by interfaces/build.py."""
    if not STAMP.is_file():
        pytest.skip(f"{messages.__file__} was not made by interfaces/build.py")
    return messages


@pytest.fixture
def tools():
    """Where the programs lie that a build needs."""
    paths = {name: shutil.which(name) for name in TOOLS}
    if missing := [name for name, path in paths.items() if path is None]:
        pytest.skip(f"needs {', '.join(missing)}")
    return paths


@pytest.fixture
def changed(tmp_path):
    """A copy of interfaces/ that no earlier build was made from."""
    copy = shutil.copytree(ROOT / "interfaces", tmp_path / "interfaces")
    with (copy / "vision_msgs" / "msg" / "Point2D.msg").open("a") as message:
        message.write(f"# {tmp_path}\n")
    return copy


def build(interfaces, python=sys.executable, **variables):
    """Run the script: its exit status, what it printed, what it printed as errors."""
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "CXX")} | variables
    done = subprocess.run(
        [python, interfaces / "build.py"], env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def refused_for(interfaces, **variables):
    """What the one line of a build that is not possible says is missing."""
    status, printed, errors = build(interfaces, **variables)
    assert (status, printed, errors.count("\n")) == (77, "", 1)
    told, missing = errors.rstrip().split(". Missing: ")
    assert "the topic detections is not published" in told
    return missing


def stamp():
    return STAMP.read_bytes() if STAMP.is_file() else None


@pytest.mark.parametrize("name", HASHES)
def test_the_type_hash_on_the_wire_is_the_real_ones(messages, name):
    with client() as node:
        publisher = node.create_publisher(getattr(messages, name), "typed", 1)
        (endpoint,) = node.get_publishers_info_by_topic(publisher.topic_name)
    if not hasattr(endpoint, "topic_type_hash"):
        pytest.skip("this rclpy tells no type hashes")
    assert endpoint.topic_type == f"vision_msgs/msg/{name}"
    assert str(endpoint.topic_type_hash) == f"RIHS01_{HASHES[name]}"


@pytest.mark.parametrize("name", FIELDS)
def test_fields_have_the_real_names_types_and_order(messages, name):
    fields = getattr(messages, name).get_fields_and_field_types()
    assert list(fields.items()) == list(FIELDS[name].items())


def test_every_field_arrives_in_another_process(messages, tmp_path, monkeypatch):
    from helpers.detection_source import LATCHED, full_message  # needs the messages

    monkeypatch.chdir(ROOT / "test")  # where the other process finds its module
    received = []
    with running("helpers.detection_source", log=tmp_path / "log") as source, client() as node:
        node.create_subscription(messages.Detection2DArray, "every_field", received.append, LATCHED)
        assert spin_until(node, lambda: received), source.output()
        assert source.interrupt() == 0, source.output()
    (message,) = received
    assert message == full_message()
    assert repr(message) == repr(full_message())
    # Counted by hand: 3 of the header, then 3, two results of 45, 5 of the box, 1; 9; 3, 45.
    first, second, third = message.detections
    assert (message.header.stamp.sec, message.header.frame_id) == (1, "№ 3")
    assert (first.header.stamp.sec, first.id) == (4, "№ 102")
    assert (first.results[0].hypothesis.class_id, first.results[0].hypothesis.score) == (
        "№ 7",
        8 + 1 / 3,
    )
    assert first.results[1].pose.covariance[35] == 96 + 1 / 3
    assert (second.header.stamp.nanosec, second.results) == (104, [])
    assert (second.bbox.center.theta, second.bbox.size_y) == (108 + 1 / 3, 110 + 1 / 3)
    assert (third.results[0].hypothesis.score, third.id) == (116 + 1 / 3, "№ 165")


@pytest.mark.usefixtures("made_here")
def test_no_environment_variable_is_needed(tmp_path):
    program = """
from vision_msgs.msg import Detection2DArray
Detection2DArray.__import_type_support__()
print(Detection2DArray._TYPE_SUPPORT is not None)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env={}, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


@pytest.mark.parametrize("folder", [".", "interfaces"])
def test_colcon_sees_no_second_vision_msgs(folder):
    pytest.importorskip("colcon_core", reason="needs colcon: pip install colcon-common-extensions")
    colcon = [sys.executable, "-m", "colcon", "--log-base", os.devnull]
    listed = subprocess.run(
        [*colcon, "list", "--names-only", "--base-paths", ".", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (listed.stdout, listed.returncode) == ("dreamif_ros\n", 0), listed.stderr


@pytest.mark.usefixtures("made_here")
def test_a_second_build_does_nothing():
    before = STAMP.stat().st_mtime_ns
    assert build(ROOT / "interfaces") == (0, "", "")
    assert STAMP.stat().st_mtime_ns == before


def test_without_any_tool_the_build_names_all(changed, tmp_path):
    before = stamp()
    missing = refused_for(changed, PATH=str(tmp_path))
    assert missing.startswith("a C compiler, a C++ compiler, make, CMake 3.21 or newer")
    assert stamp() == before
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("lacks", "missing"),
    [
        ("cc", "a C compiler"),
        ("c++", "a C++ compiler"),
        ("make", "make"),
        ("cmake", "CMake 3.21 or newer"),
    ],
)
def test_the_one_tool_that_lacks_is_named(changed, tools, tmp_path, lacks, missing):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in set(tools) - {lacks}:
        (folder / name).symlink_to(tools[name])
    assert refused_for(changed, PATH=str(folder)).split(", ")[0] == missing


@pytest.mark.usefixtures("tools")
def test_an_old_cmake_is_refused(changed, tmp_path):
    old = tmp_path / "bin" / "cmake"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho cmake version 3.16.3\n")
    old.chmod(0o755)
    path = os.pathsep.join([str(old.parent), os.environ["PATH"]])
    assert refused_for(changed, PATH=path).split(", ")[0] == "CMake 3.21 or newer"


@pytest.mark.usefixtures("tools")
def test_a_chosen_compiler_that_is_absent_is_refused(changed):
    assert refused_for(changed, CXX="no-such-c++ -O2").split(", ")[0] == "a C++ compiler"


def test_only_a_virtual_environment_is_built_into(changed):
    base = Path(sys.base_prefix) / "bin" / "python3"
    if sys.prefix == sys.base_prefix or not base.is_file():
        pytest.skip("needs a virtual environment to leave")
    status, _, errors = build(changed, python=base)
    assert status == 77
    assert "a virtual environment" in errors


def test_another_vision_msgs_is_left_alone(messages, changed, tmp_path):
    package = Path(messages.__file__).parent.parent
    shutil.copytree(package, tmp_path / "ros" / "vision_msgs")
    before = stamp()
    status, printed, errors = build(changed, PYTHONPATH=str(tmp_path / "ros"), PATH="")
    assert (status, errors) == (0, "")
    assert printed == f"{tmp_path / 'ros' / 'vision_msgs'} is used: no vision_msgs is built\n"
    assert stamp() == before


@pytest.mark.usefixtures("tools")
def test_a_build_that_fails_says_why_in_one_line_and_installs_nothing(changed):
    with (changed / "vision_msgs" / "msg" / "Point2D.msg").open("a") as message:
        message.write("float65 z\n")
    before = stamp()
    status, printed, errors = build(changed)
    if status == 77:
        pytest.skip(errors)
    assert (status, printed, errors.count("\n")) == (1, "", 1)
    log = changed.parent / "build" / "vision_msgs" / "build.log"
    assert errors.startswith("vision_msgs does not build: ")
    assert errors.endswith(f"(all of it: {log})\n")
    assert "float65" in log.read_text()
    assert stamp() == before


@pytest.mark.usefixtures("tools")
def test_a_build_folder_that_cannot_be_made_is_one_line(changed):
    blocker = changed.parent / "build"
    blocker.write_text("")
    status, printed, errors = build(changed)
    if status == 77:
        pytest.skip(errors)
    assert (status, printed, errors.count("\n")) == (1, "", 1)
    assert str(blocker) in errors
