"""The page of `dreamif view`: in a real browser, beside running nodes."""

import signal
import socket

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from helpers.browser import chromium_pages, wait_until
from helpers.ros_processes import spin_until
from helpers.view_process import COLOUR, receive, running_view, talk, wait_for
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from dreamif_model.thermal import ThermalNormalizer
from dreamif_ros.cli import view
from dreamif_ros.codec.ros_messages import ROS_MESSAGES

aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp (extra view)")
pytestmark = pytest.mark.realtime

NAMED_S = 10.0  # a killed camera is named within this time, on a busy machine
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
