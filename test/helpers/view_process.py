"""`dreamif view` as a process, what it shows, and a client of its websocket."""

import asyncio
import http.client
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from dreamif_ros.codec.ros_messages import ROS_MESSAGES
from helpers.ros_processes import Process, killed_at_the_end, spin_until

aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp (extra view)")

START = (
    "import sys; from dreamif_ros import cli; from dreamif_ros.cli import view; "
    "cli.VERBS = ('view',); sys.exit(cli.main())"
)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
COLOUR = (200, 120, 40)


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


def running_view(*arguments, log, port=0):
    return killed_at_the_end(View(*arguments, log=log, port=port))


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
