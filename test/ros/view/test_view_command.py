"""What `dreamif view` paints and says of nodes, and how it is called; without a browser."""

import os
import socket
import sys
from unittest import mock

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from dreamif_model import ImageError
from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros import cli
from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from dreamif_ros.view.node_health import Health, NodeStatus
from dreamif_ros.view.painter import Painter

pytest.importorskip("aiohttp", reason="needs aiohttp (extra view)")
from dreamif_ros.view.server import is_loopback

COLOUR = (200, 120, 40)

# -- The command.


def call(monkeypatch, *arguments):
    monkeypatch.setattr(cli, "VERBS", ("view",))
    with mock.patch.dict(os.environ):  # it chooses DDS settings
        return cli.main(["view", *arguments])


def one_line(capfd):
    (line,) = capfd.readouterr().err.splitlines()
    return line


def test_a_port_in_use_is_one_line(monkeypatch, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert call(monkeypatch, "--port", str(port)) == 1
    expected = f"dreamif: cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert one_line(capfd).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--port", "65536"], 2, "--port is 65536, expected 0 to 65535"),
        (["--port", "-1"], 2, "--port is -1"),
        (["--rate", "0"], 2, "--rate is 0, expected 0.1 to 60 Hz"),
        (["--rate", "nan"], 2, "--rate is nan"),
        (["--width", "0"], 2, "--width is 0, expected 16 to 4096 px"),
        (["--topic", *"abcdefghijklmnopq"], 2, "--topic has 17 names, expected at most 16"),
        (["--topic", "no topic", "--port", "0"], 2, "no topic"),
        (["--namespace", "1x", "--port", "0"], 2, "1x"),
        (["--port", "0", "--ros-args", "-r", "nonsense"], 2, "ROS refuses these arguments"),
        (["--host", "127.0.0.1.nowhere.invalid"], 1, "cannot listen on 127.0.0.1.nowhere.invalid"),
    ],
)
def test_a_wrong_call_is_one_line(monkeypatch, capfd, arguments, status, words):
    assert call(monkeypatch, *arguments) == status
    lines = capfd.readouterr().err.splitlines()
    assert words in lines[-1]
    assert lines[-1].startswith("dreamif: ")
    assert "Traceback" not in "".join(lines)


def test_without_aiohttp_it_says_what_to_install(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    assert call(monkeypatch) == 1
    assert one_line(capfd) == "dreamif: dreamif view needs aiohttp: pip install 'dreamif_ros[view]'"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.7", False),
        ("", False),
        ("localhost.evil.example", False),
    ],
)
def test_loopback_addresses(host, expected):
    assert is_loopback(host) is expected


# -- Painting.


def painted(message, width=640, **options):
    jpeg = np.frombuffer(Painter(width, **options).paint(message), np.uint8)
    return cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_colour_is_painted_as_it_is(encoding):
    image = np.full((40, 60, 3), COLOUR, np.uint8)
    result = painted(ROS_MESSAGES.image(image, encoding, Header()))
    assert result.shape == image.shape
    assert np.abs(result.astype(int) - image).max() <= 3


@pytest.mark.parametrize(
    ("shape", "width", "expected"),
    [
        ((480, 640), 320, (240, 320)),
        ((48, 64), 320, (48, 64)),
        ((3, 4000), 100, (1, 100)),
        ((66_000, 1), 100, (200, 1)),
        ((1, 1), 16, (1, 1)),
    ],
)
def test_pictures_are_scaled_down_and_never_up(shape, width, expected):
    message = ROS_MESSAGES.image(np.full(shape, 77, np.uint8), "mono8", Header())
    result = painted(message, width)
    assert result.shape == (*expected, 3)
    assert np.abs(result.astype(int) - 77).max() <= 2


def test_thermal_images_are_painted_as_the_model_sees_them(rng):
    counts = np.sort(rng.integers(29_000, 31_000, (60, 80), dtype=np.uint16), axis=None)
    counts = counts.reshape(60, 80)
    degrees = counts.astype(np.float32) / 100 - 273.15
    degrees[0, :3] = np.nan, np.inf, -np.inf
    png = CompressedImage(format="mono16; png compressed mono16")
    png.data = cv2.imencode(".png", counts)[1].tobytes()
    for message, image in (
        (ROS_MESSAGES.image(counts, "mono16", Header()), counts),
        (ROS_MESSAGES.image(degrees, "32FC1", Header()), degrees),
        (png, counts),
    ):
        gray = ThermalNormalizer().normalize(image).astype(float)
        result = painted(message)
        assert result.std() > 60  # it is visible
        assert np.abs(result.mean(axis=2) - gray)[1:].mean() < 3


def test_shares_are_painted_from_zero_to_one():
    shares = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None], 32, axis=0)
    result = painted(ROS_MESSAGES.image(shares, "32FC1", Header()), shares=True)
    assert np.abs(result.mean(axis=2) - shares * 255).max() < 5


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (Image(encoding="rgb8", height=2, width=2, step=6, data=bytes(11)), "needs 12 bytes"),
        (Image(encoding="rgb8"), "empty image"),
        (Image(encoding="", height=1, width=1, step=1, data=bytes(1)), "encoding ''"),
        (ROS_MESSAGES.image(np.full((4, 4), np.nan, np.float32), "32FC1", Header()), "finite"),
        (CompressedImage(format="jpeg", data=b"\xff\xd8\xff"), "cut off"),
        (CompressedImage(format="mono16; jpeg compressed", data=b"\xff\xd8"), "8 bits"),
    ],
)
def test_what_is_no_image_is_refused(message, words):
    with pytest.raises(ImageError, match=words):
        Painter(640).paint(message)


# -- Health.


def status(name, level=0, text="ok", received_s=10.0, topic=""):
    return NodeStatus(name=name, level=level, text=text, topic=topic, received_s=received_s)


def test_health_is_of_the_nodes_that_are_followed():
    health = Health()
    health.take(status("/early"))  # before anybody follows it
    health.follow({"/a", "/ns/b"})
    for name in ("/a: infrared", "/a", "/ab", "/ns/b", "a", "", "/a2: x"):
        health.take(status(name, level=1, text="hot", topic="/t"))
    names = [line["name"] for line in health.lines(now_s=11.0)]
    assert names == ["/a", "/a: infrared", "/ns/b"]
    assert health.lines(11.0)[0] == {"name": "/a", "level": "warn", "text": "hot", "topic": "/t"}
    health.follow({"/ns/b"})
    assert [line["name"] for line in health.lines(11.0)] == ["/ns/b"]
    health.follow({"/a"})  # again, and it has said nothing since
    assert health.lines(11.0) == []


def test_a_node_that_falls_silent_is_stale_and_its_parts_say_nothing_more():
    health = Health()
    health.follow({"/a"})
    health.take(status("/a", received_s=10.0))
    health.take(status("/a: infrared", level=2, text="broken", received_s=10.0))
    assert [line["level"] for line in health.lines(12.9)] == ["ok", "error"]
    (line,) = health.lines(17.2)
    assert line["level"] == "stale"
    assert line["text"] == "no diagnostics for 7 s"
    health.take(status("/a", received_s=17.0))  # its part was not reported again
    assert [line["name"] for line in health.lines(17.2)] == ["/a"]


@pytest.mark.parametrize(("level", "word"), [(0, "ok"), (2, "error"), (3, "stale"), (77, "stale")])
def test_levels_are_words_and_long_texts_are_cut(level, word):
    line = status("/a", level=level, text="x" * 100_000).line(10.0)
    assert line["level"] == word
    assert line["text"] == "x" * 300
