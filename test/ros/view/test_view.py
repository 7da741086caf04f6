"""The page of `dreamif view`: in a real browser, beside running nodes."""

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from helpers.browser import chromium_pages, wait_until
from helpers.ros_processes import Process, client, spin_until
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, String

from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.cli import view
from dreamif_ros.codec.ros_messages import ROS_MESSAGES

aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp (extra view)")
pytestmark = pytest.mark.realtime

START = (
    "import sys; from dreamif_ros import cli; from dreamif_ros.cli import view; "
    "cli.VERBS = ('view',); sys.exit(cli.main())"
)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
NAMED_S = 10.0  # a killed camera is named within this time, on a busy machine
COLOUR = (200, 120, 40)
MARKUP = "<img src=x onerror='document.title=1'>"
# Size and mean colour of a stream's picture. A canvas of its own: Chromium warns of a second look.
LOOK = """place => {
  const shown = document.querySelectorAll("canvas")[place];
  const copy = new OffscreenCanvas(shown.width, shown.height).getContext("2d");
  copy.drawImage(shown, 0, 0);
  const pixels = copy.getImageData(0, 0, shown.width, shown.height).data;
  const sums = [0, 0, 0];
  for (let i = 0; i < pixels.length; i += 4) sums.forEach((_, c) => { sums[c] += pixels[i + c]; });
  const means = sums.map(sum => sum / (pixels.length / 4));
  return { size: [shown.width, shown.height], mean: means, sample: [...pixels.slice(0, 400)] };
}"""
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


class View(Process):
    """`dreamif view` as a process."""

    def __init__(self, *arguments, log, port=0):
        self.log, self._forgotten = log, 0
        command = [sys.executable, "-c", START, "view", "--port", str(port), *arguments]
        with log.open("w") as output:
            self.popen = subprocess.Popen(command, stdout=output, stderr=output)

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1].strip("/"))

    @property
    def url(self):
        self.wait_for_output("Ctrl-C ends it")
        return self.output().split("look at ")[1].split()[0]

    def get(self, path="/", **headers):
        """Status and text of an answer; the path is sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers
        finally:
            connection.close()


@contextmanager
def running_view(*arguments, log, port=0):
    process = View(*arguments, log=log, port=port)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


@pytest.fixture(scope="module")
def browser():
    with chromium_pages() as open_page:
        yield open_page


@pytest.fixture
def open_page(browser):
    """Opens pages that are closed with the test: nobody looks any more."""
    opened = []

    def open_one(*arguments, **options):
        opened.append(browser(*arguments, **options))
        return opened[-1]

    yield open_one
    for one in opened:
        one.page.context.close()


@pytest.fixture(scope="module")
def live(module_rig, tmp_path_factory):  # noqa: ARG001  # the nodes that it shows
    """The page beside a fusion node and two cameras."""
    with running_view(log=tmp_path_factory.mktemp("view") / "log") as process:
        yield process


class Source:
    """Publishes what a test says, in the namespace of its own that the page looks at."""

    names = ("visible/image_raw", "infrared/image_raw", "dominance/infrared", "broken/image_raw")
    counts = np.linspace(29_000, 31_000, 60 * 80).reshape(60, 80).astype(np.uint16)

    def __init__(self, node):
        self.node = node
        self.publishers = {name: node.create_publisher(Image, name, 5) for name in self.names}
        self.modes = node.create_publisher(String, "fusion_mode", LATCHED)
        self.diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 5)

    def send(self):
        """An image of every topic."""
        self._send("visible/image_raw", np.full((60, 100, 3), COLOUR, np.uint8), "bgr8")
        self._send("infrared/image_raw", self.counts, "mono16")
        self._send("dominance/infrared", np.full((30, 40), 0.25, np.float32), "32FC1")
        broken = ROS_MESSAGES.image(np.zeros((8, 8), np.uint8), "mono8", Header())
        broken.step = 4
        self.publishers["broken/image_raw"].publish(broken)

    def _send(self, name, image, encoding):
        message = ROS_MESSAGES.image(image, encoding, Header())
        message.header.stamp = self.node.get_clock().now().to_msg()
        self.publishers[name].publish(message)

    def tell(self, mode, level, text):
        """The mode, and what the node says of itself and of a part that has no stream."""
        name = self.node.get_fully_qualified_name()
        self.modes.publish(String(data=mode))
        part = [KeyValue(key="topic", value="/elsewhere")]
        statuses = [
            DiagnosticStatus(name=name, level=level, message=text),
            DiagnosticStatus(name=f"{name}: part", level=level, message=text, values=part),
            DiagnosticStatus(name="/other_node", level=level, message="of no concern"),
        ]
        self.diagnostics.publish(DiagnosticArray(status=statuses))

    def send_until(self, page, done):
        def sent():
            self.send()
            return done()

        assert spin_until(self.node, sent, 20.0), page.inner_text("body")


@pytest.fixture(scope="module")
def source():
    with client("source", namespace="/view_test") as node:
        yield Source(node)


@pytest.fixture(scope="module")
def known(source, tmp_path_factory):
    """The page beside a node that publishes what the test knows."""
    log = tmp_path_factory.mktemp("known") / "log"
    arguments = ["--namespace", "/view_test", "--topic", *source.names]
    with running_view(*arguments, log=log) as process:
        yield process


def text_of(page, selector):
    return page.inner_text(selector)


def wait_for_text(page, selector, text, timeout_s=20.0):
    wait_until(
        page,
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
        [selector, text],
        timeout_s,
    )


def stream(place):
    return f"section:nth-of-type({place + 1})"


def wait_for_picture(page, place):
    page.wait_for_selector(f"{stream(place)}:not(.waiting)", state="attached")


# -- A page beside running nodes.


def test_the_page_shows_the_nodes_live(live, rig, open_page):
    opened = open_page(live.url)
    page = opened.page
    for place in range(4):
        wait_for_picture(page, place)
        assert page.evaluate(LOOK, place)["size"] == [64, 48]
    wait_for_text(page, "#mode", "fused")
    wait_for_text(page, "#health", "health: ok")
    wait_for_text(page, stream(2), "Hz")
    names = page.evaluate("[...document.querySelectorAll('h2')].map(h2 => h2.firstChild.data)")
    assert names == list(view.TOPICS)
    wait_for_text(page, f"{stream(2)} .numbers", "64×48 rgb8")
    wait_for_text(page, f"{stream(0)} .numbers", "latency")
    before = page.evaluate(LOOK, 2)["sample"]
    assert spin_until(rig.node, lambda: page.evaluate(LOOK, 2)["sample"] != before)
    wait_for_text(page, stream(4), "it has no publisher")  # no detector runs here
    assert opened.errors == []
    assert {url.removeprefix(live.url) for url in opened.requests} == {"", "view.css", "view.js"}


def test_a_killed_camera_is_named_and_comes_back(live, rig, open_page):
    opened = open_page(live.url, dark=True)
    page = opened.page
    wait_for_text(page, "#mode", "fused")
    wait_for_picture(page, 0)
    rig.cameras.infrared.kill()
    wait_for_text(page, "#mode", "visible_only", NAMED_S)
    wait_for_text(page, "#health", "infrared is silent", NAMED_S)
    wait_for_text(page, stream(0), "silent: no image for", NAMED_S)
    wait_for_text(page, f"{stream(0)} .numbers", "no images", NAMED_S)
    wait_for_text(page, f"{stream(1)} .numbers", "Hz")
    rig.cameras.infrared.heal()
    wait_for_text(page, "#mode", "fused")
    wait_for_text(page, "#health", "health: ok")
    wait_for_text(page, f"{stream(0)} .numbers", "Hz")
    assert opened.errors == []


def test_topics_are_subscribed_to_only_while_somebody_looks(live, rig, open_page):
    def watchers():
        found = rig.node.get_subscriptions_info_by_topic("/dominance/overlay")
        return [info.node_name for info in found]

    assert spin_until(rig.node, lambda: watchers() == [])
    page = open_page(live.url).page
    assert spin_until(rig.node, lambda: watchers() == ["dreamif_view"])
    page.evaluate(HIDE, True)
    assert spin_until(rig.node, lambda: watchers() == [])
    page.evaluate(HIDE, False)
    assert spin_until(rig.node, lambda: watchers() == ["dreamif_view"])
    page.context.close()
    assert spin_until(rig.node, lambda: watchers() == [])


# -- A page beside publishers of known images.


@pytest.mark.parametrize("width", [1280, 400])
def test_pictures_have_the_size_and_colour_that_was_sent(known, source, open_page, width):
    opened = open_page(known.url, width=width)
    page = opened.page

    def look(place):
        source.send_until(
            page, lambda: "waiting" not in page.get_attribute(stream(place), "class").split()
        )
        return page.evaluate(LOOK, place)

    visible, infrared, dominance = (look(place) for place in range(3))
    assert visible["size"] == [100, 60]
    np.testing.assert_allclose(visible["mean"], COLOUR, atol=3)
    assert infrared["size"] == [80, 60]
    gray = ThermalNormalizer().normalize(source.counts).mean()
    np.testing.assert_allclose(infrared["mean"], [gray] * 3, atol=2)
    assert max(infrared["sample"][:3]) < 20  # its first pixel is the coldest
    assert dominance["size"] == [40, 30]
    np.testing.assert_allclose(dominance["mean"], [0.25 * 255] * 3, atol=2)
    source.send_until(page, lambda: "needs a step of at least 8 bytes" in text_of(page, stream(3)))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.errors == []


def test_a_picture_is_enlarged_by_key_and_by_click(known, open_page):
    page = open_page(known.url).page
    page.wait_for_selector(stream(3))

    def widths():
        boxes = [page.locator("section").nth(k).bounding_box() for k in range(4)]
        return [box["width"] for box in boxes]

    small = widths()
    page.keyboard.press("3")
    large = widths()
    assert large[2] > 2.5 * small[2]
    assert large[:2] == small[:2]
    page.keyboard.press("Escape")
    assert widths() == small
    page.click(f"{stream(1)} button")
    assert widths()[1] == large[2]
    page.keyboard.press("1")  # instead of the other
    assert [width > 2 * small[0] for width in widths()] == [True, False, False, False]
    page.keyboard.press("1")
    assert widths() == small


def test_texts_of_ros_are_shown_as_text(known, source, open_page):
    opened = open_page(known.url)
    page = opened.page

    def shown():
        source.tell(MARKUP, DiagnosticStatus.ERROR, MARKUP)
        return f"part: {MARKUP}" in text_of(page, "#health")

    assert spin_until(source.node, shown)
    name = source.node.get_fully_qualified_name()
    lines = text_of(page, "#health").split("\n")
    assert [line for line in lines if line] == [f"{name}: {MARKUP}", f"{name}: part: {MARKUP}"]
    wait_for_text(page, "#mode", MARKUP)
    assert page.locator("img").count() == 0
    assert page.title() == "Dream-IF live"
    assert opened.errors == []


def test_a_lost_connection_is_said_and_comes_back(source, open_page, tmp_path):
    """And what else a server of its own is needed for: its end, and an address for everybody."""
    remapped = ["--ros-args", "-r", "color:=/view_test/color"]
    arguments = ["--compressed", "--topic", "color", *remapped]
    with running_view(*arguments, log=tmp_path / "first") as first:
        page = open_page(first.url).page
        page.wait_for_selector(stream(0))
        assert page.is_hidden("#connection")
        assert first.interrupt(signal.SIGTERM) == 0
        assert first.output() == f"look at http://127.0.0.1:{first.port}/ (Ctrl-C ends it)\n"
    page.wait_for_selector("#connection", state="visible")
    assert text_of(page, "#connection") == "connection lost, retrying"
    publisher = source.node.create_publisher(CompressedImage, "color/compressed", 5)
    message = ROS_MESSAGES.compressed(np.full((24, 32, 3), COLOUR, np.uint8), "jpeg", Header(), 95)

    def shown():
        publisher.publish(message)
        return page.evaluate(LOOK, 0)["size"] == [32, 24]

    everywhere = ["--host", "0.0.0.0", *arguments]
    with running_view(*everywhere, log=tmp_path / "second", port=first.port) as second:
        page.wait_for_selector("#connection", state="hidden", timeout=60_000)
        assert spin_until(source.node, shown), text_of(page, "body")
        np.testing.assert_allclose(page.evaluate(LOOK, 0)["mean"], COLOUR, atol=3)
        for name in ("192.168.7.8", "[fe80::1]:8787", socket.gethostname()):
            assert second.get("/", Host=name)[0] == 200
        assert second.get("/", Host="robot.example")[0] == 403  # its DNS may lead here
        assert second.interrupt(signal.SIGINT) == 0
    line, warning = second.output().splitlines()
    assert line == f"look at http://127.0.0.1:{first.port}/ (Ctrl-C ends it)"
    assert warning == f"dreamif: anyone who can reach 0.0.0.0 port {first.port} can watch"
    source.node.destroy_publisher(publisher)


# -- The websocket, without a browser.


def talk(process, conversation, **headers):
    """Run a conversation with the server; in a thread, for Playwright has this one's loop."""

    async def run():
        async with aiohttp.ClientSession() as session:
            url = f"ws://127.0.0.1:{process.port}/live"
            async with session.ws_connect(url, headers=headers) as connection:
                return await asyncio.wait_for(conversation(connection), 30)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run()).result()


async def receive(connection, kind):
    """The next message of a kind, or None where none comes for a while."""
    end = asyncio.get_running_loop().time() + 1.5
    while (left := end - asyncio.get_running_loop().time()) > 0:
        with suppress(asyncio.TimeoutError):
            message = await asyncio.wait_for(connection.receive(), left)
            if message.type is kind:
                return message.data
    return None


async def wait_for(connection, kind):
    """The next message of a kind; a test that waits for ever ends in talk()."""
    while (message := await receive(connection, kind)) is None:
        pass
    return message


@pytest.mark.usefixtures("rig")
def test_a_slow_browser_gets_no_picture_before_it_has_shown_the_last(live):
    async def conversation(connection):
        binary, text = aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT
        assert await receive(connection, binary) is None  # nothing is watched yet
        await connection.send_json({"watch": [2]})
        first = later = await wait_for(connection, binary)
        for _ in range(3):
            await wait_for(connection, text)
        meanwhile = await receive(connection, binary)
        while later == first:  # the cameras send three pictures over and over
            await connection.send_json({"shown": 2})
            later = await wait_for(connection, binary)
        return first, meanwhile, later

    first, meanwhile, later = talk(live, conversation)
    assert meanwhile is None
    assert first[0] == later[0] == 2
    assert codec_size(later[1:]) == (48, 64)


def codec_size(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape[:2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "[]",
        "null",
        "{}",
        '{"watch": [99]}',
        '{"watch": [-1]}',
        '{"watch": [true]}',
        '{"watch": "0"}',
        '{"watch": [[0]]}',
        '{"shown": 1.0}',
        '{"shown": null}',
        "[" * 1000,
        '{"watch": ' + "[" * 500 + "]" * 500 + "}",
        "x" * 5000,
    ],
)
def test_what_no_page_sends_ends_the_connection(known, text):
    async def conversation(connection):
        await connection.send_str(text)
        while not connection.closed:
            await connection.receive()
        return connection.close_code

    assert talk(known, conversation) in (1003, 1009)


def test_the_state_is_json_with_every_stream(known, source):
    async def conversation(connection):
        return json.loads(await wait_for(connection, aiohttp.WSMsgType.TEXT))

    state = talk(known, conversation)
    assert [item["name"] for item in state["streams"]] == list(source.names)
    assert state["streams"][0]["topic"] == "/view_test/visible/image_raw"
    assert state["mode_topic"] == "/view_test/fusion_mode"


# -- Who may ask, and for what.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8787"}, 200),
        ({"Host": "[::1]:8787"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8787"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[evil"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:9", "Origin": "http://localhost:9"}, 200),
        ({"Host": "localhost:9", "Origin": "http://localhost:8"}, 403),
    ],
)
def test_only_this_machines_own_names_are_answered(known, headers, status):
    for path in ("/", "/live"):
        expected = status if path == "/" or status == 403 else 400  # no websocket's handshake
        assert known.get(path, **headers)[0] == expected


def test_another_site_cannot_open_the_websocket(known):
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        talk(known, None, Origin="http://evil.example")


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/page/view.js", "/%2e%2e/server.py", "//etc/passwd", "/view.js/", "/x"],
)
def test_nothing_but_the_page_is_served(known, path):
    status, text, _ = known.get(path)
    assert status == 404
    assert "import" not in text


def test_the_page_may_load_nothing_from_elsewhere(known):
    for path, kind in (("/", "text/html"), ("/view.css", "text/css"), ("/view.js", "javascript")):
        status, text, headers = known.get(path)
        assert status == 200
        assert kind in headers["Content-Type"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "http://" not in text
        assert "https://" not in text
