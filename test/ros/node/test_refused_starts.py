"""What is wrong with a node's arguments or parameters is one line, and the process ends.

One case of each kind is a process; the others call the command's main function here.
"""

import importlib
import importlib.util
import struct

import pytest
from helpers.ros_processes import parameters, running

FUSION, DETECTOR = "dreamif_ros.fusion.node", "dreamif_ros.detection.node"
BOTH, CAMERAS = "dreamif_ros.detection.pipeline_node", "dreamif_ros.simulation.node"
needs_ultralytics = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="needs ultralytics (extra detect)"
)


def foreign_checkpoint(folder):
    """A valid safetensors file that is not ours."""
    path = folder / "foreign.safetensors"
    header = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    return path


@pytest.fixture
def start(capfd, monkeypatch):
    """Calls a command's main function; returns its exit status and what it printed."""
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "DEFAULT")  # leave this process's DDS alone

    def start(module, *arguments):
        status = importlib.import_module(module).main(list(arguments))
        printed = capfd.readouterr()
        return status, printed.out + printed.err

    return start


def refusals(output):
    """The lines that are no mere information."""
    return [line for line in output.splitlines() if "[INFO]" not in line]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"varaint": "nano"}, "unknown parameter varaint: did you mean variant?"),
        ({"variant": "huge"}, "parameter variant is 'huge': choose one of"),
        ({"sync__slop_s": -1.0}, "parameter sync.slop_s is -1.0, expected 0 to 10"),
        ({"thermal__low": 9.0, "thermal__high": 5.0}, "thermal low (9.0) must be below high"),
        ({"weights": foreign_checkpoint}, "was not written by `dreamif train`"),
        ({"device": "tpu"}, "unknown device 'tpu': choose auto, cpu, cuda or cuda:N"),
        (
            {"qos_overrides./fused/image_raw.publisher.reliability": "bogus"},
            "fused/image_raw.publisher.reliability is 'bogus': choose one of",
        ),
    ],
)
def test_fusion_is_refused_with_one_line(start, tmp_path, values, words):
    values = {k: v(tmp_path) if callable(v) else v for k, v in values.items()}
    status, output = start(FUSION, *parameters(**values))
    (line,) = refusals(output)
    assert status == 1
    assert words in line


def test_the_process_of_a_refused_fusion_ends(tmp_path):
    with running(FUSION, *parameters(weights="/no/such/file"), log=tmp_path / "log") as process:
        assert process.popen.wait(60) == 1
        (line,) = refusals(process.output())
        assert "no weights at /no/such/file" in line


def test_an_argument_that_is_no_ros_argument_is_refused(start):
    status, output = start(FUSION, "--variant", "average")
    assert status == 2
    assert "unknown arguments: --variant average" in output


def test_help_says_how_parameters_are_given(start):
    status, output = start(FUSION, "--help")
    assert status == 0
    assert "--params-file FILE" in output


def test_malformed_ros_arguments_are_one_line(tmp_path):
    with running(FUSION, "--ros-args", "-p", "variant", log=tmp_path / "log") as process:
        assert process.popen.wait(60) == 1
        assert "Traceback" not in process.output()
        assert "cannot start" in process.output()


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "parameter model is empty: give the file or folder of a YOLO model"),
        ({"model": "x.onnx", "confidnce": 0.5}, "confidnce: did you mean confidence?"),
        ({"model": "x.onnx", "image_topic": "a topic"}, "parameter image_topic is 'a topic', exp"),
    ],
    ids=["none", "misspelt", "no topic"],
)
@needs_ultralytics
def test_detection_is_refused_with_one_line(start, values, line):
    status, output = start(DETECTOR, *parameters(**values))
    assert status == 1
    assert line in output
    assert "Traceback" not in output


@needs_ultralytics
def test_the_process_of_a_refused_detector_ends(tmp_path):
    name = "/no/such/yolo11n.pt"
    with running(DETECTOR, *parameters(model=name), log=tmp_path / "log") as process:
        assert process.popen.wait(60) == 1
    assert name in process.output()
    assert "Traceback" not in process.output()


@needs_ultralytics
def test_in_one_process_a_misspelt_parameter_of_fusion_is_known(start):
    status, output = start(BOTH, *parameters(varient="tiny"))
    assert status == 1
    assert "unknown parameter varient: did you mean variant?" in output


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"visible__encoding": "yuv"}, "visible.encoding is 'yuv': choose one of bgr8, rgb8"),
        ({"visible__rate_hz": 0.0}, "visible.rate_hz is 0.0, expected 0.1 to 240"),
        ({"nosie": 1.0}, "unknown parameter nosie: did you mean noise?"),
    ],
)
def test_cameras_are_refused_with_one_line(start, values, words):
    status, output = start(CAMERAS, *parameters(**values))
    assert status == 1
    assert words in output
    assert "Traceback" not in output
