"""The web server of ``dreamif view``: a page, and a websocket for each browser that shows it."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from dreamif_model.errors import DreamIFError, ImageError
from dreamif_ros import codec
from dreamif_ros.view.browser import Browser, PictureStream
from dreamif_ros.view.node import ViewNode, spinning_node
from dreamif_ros.view.painter import Painter

PAGE = Path(__file__).parent / "page"
FILES = {"/": "index.html", "/view.css": "view.css", "/view.js": "view.js"}  # nothing else is sent
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
STATE_PERIOD_S = 0.5
HEARTBEAT_S = 10.0  # a browser that does not answer within half of it is gone
MAX_REQUEST = 1024  # bytes of one message of a page
SHARES = ("dominance/infrared", "dominance/visible")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class ViewConfig:
    """What is shown and where.

    names: Image topics. transport: ``raw`` or ``compressed``. port: 0 takes a free one.
    rate_hz, width: Maximum rate of the pictures of a stream, and their maximum width in pixels.
    """

    names: Sequence[str]
    transport: str = "raw"
    namespace: str = ""
    ros_args: Sequence[str] = ()
    host: str = "127.0.0.1"
    port: int = 8787
    rate_hz: float = 15.0
    width: int = 640


def serve(config: ViewConfig, on_ready: Callable[[str, bool], None]) -> None:
    """Show the page until SIGINT or SIGTERM.

    on_ready: Called with the page's address, and whether only this machine can reach it.
    DreamIFError if the address is not free, ConfigError if ROS refuses a name or an argument.
    """
    asyncio.run(_serve(config, on_ready))


async def _serve(config: ViewConfig, on_ready: Callable[[str, bool], None]) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: Exception | None = None) -> None:
        if ended.done():
            return
        if error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    listening = _listen(config.host, config.port)
    local = is_loopback(listening.getsockname()[0])
    view = View(config, local)
    with (
        listening,
        spinning_node(
            config.names,
            config.transport,
            config.namespace,
            config.ros_args,
            on_image=lambda index: loop.call_soon_threadsafe(view.on_image, index),
            on_failure=lambda error: loop.call_soon_threadsafe(end, error),
        ) as node,
    ):
        async with _running(view, node, listening):
            on_ready(_address(listening, config.host), local)
            await ended


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _names_of_this_machine() -> set[str]:
    """The host's name, alone, in its domain and in the local network (mDNS), in lower case."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return {name, short, f"{short}.local", socket.getfqdn().lower()}


class View:
    """Paints the streams and sends them to the browsers.

    A request must have a name of this machine, or be by an address: another name belongs to a web
    site that made its own name resolve to this machine (DNS rebinding).
    local: Only this machine can connect; addresses of other interfaces are then none of its names.
    """

    def __init__(self, config: ViewConfig, local: bool) -> None:
        codec.use_one_thread()
        self._config, self._local = config, local
        self._names = set() if local else _names_of_this_machine()
        self._node: ViewNode | None = None
        self._streams = [PictureStream() for _ in config.names]
        self._painters = [Painter(config.width, n.endswith(SHARES)) for n in config.names]
        self._fresh = [asyncio.Event() for _ in config.names]
        self._browsers: set[Browser] = set()
        self._worker = ThreadPoolExecutor(1, "view-painter")

    def on_image(self, index: int) -> None:
        """An image came on the topic with this index."""
        self._fresh[index].set()

    def application(self) -> web.Application:
        """The web application: the three files and the websocket."""
        app = web.Application(middlewares=[self._guard])
        for path in FILES:
            app.router.add_get(path, _send_file)
        app.router.add_get("/live", self._live)
        return app

    @asynccontextmanager
    async def working(self, node: ViewNode) -> AsyncIterator[None]:
        """Paint pictures and send states, until the block ends."""
        self._node = node
        tasks = [asyncio.create_task(self._paint(k)) for k in range(len(self._streams))]
        tasks.append(asyncio.create_task(self._tell_states()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._worker.shutdown()

    async def disconnect(self) -> None:
        """Close every browser's connection."""
        await asyncio.gather(*(browser.leave() for browser in self._browsers))

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse requests that another web site made the browser send."""
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if not self._is_own(_hostname(host)):
            text = f"{host[:100]} is no name of this machine: open its address instead\n"
            return web.Response(status=403, text=text)
        if origin is not None and origin != f"{request.scheme}://{host}":
            return web.Response(status=403, text="another site sent this request\n")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _is_own(self, name: str) -> bool:
        if is_loopback(name) or name == self._config.host:
            return True
        return not self._local and (_is_address(name) or name in self._names)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        connection = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, compress=False, max_msg_size=MAX_REQUEST
        )
        await connection.prepare(request)
        browser = Browser(connection, self._streams, self._look)
        self._browsers.add(browser)
        browser.tell(self._state())
        try:
            await browser.run()
        finally:
            self._browsers.discard(browser)
            self._look()
        return connection

    def _look(self) -> None:
        """Subscribe to what any browser shows, and to nothing else."""
        assert self._node
        for index, topic in enumerate(self._node.topics):
            watched = self._watched(index)
            topic.look(watched)
            if not watched:
                self._streams[index].jpeg = b""  # it will be old when the stream is shown again

    def _watched(self, index: int) -> bool:
        return any(index in browser.watched for browser in self._browsers)

    async def _paint(self, index: int) -> None:
        """Paint the newest image of a topic again and again, up to the maximum rate."""
        assert self._node
        loop, topic = asyncio.get_running_loop(), self._node.topics[index]
        while True:
            await self._fresh[index].wait()
            self._fresh[index].clear()
            due_s = loop.time() + 1 / self._config.rate_hz
            message = topic.newest
            if message is not None:
                paint = self._painters[index].paint
                try:
                    jpeg = await loop.run_in_executor(self._worker, paint, message)
                except ImageError as error:
                    topic.refusal = str(error)
                except Exception as error:  # the stream must survive every error
                    topic.refusal = f"the image cannot be shown: {error!r}"
                else:
                    topic.refusal = ""
                    self._show(index, jpeg)
            await asyncio.sleep(due_s - loop.time())

    def _show(self, index: int, jpeg: bytes) -> None:
        if not self._watched(index):
            return  # the last browser left during the painting
        stream = self._streams[index]
        stream.number, stream.jpeg = stream.number + 1, jpeg
        for browser in self._browsers:
            browser.tell()

    async def _tell_states(self) -> None:
        while True:
            await asyncio.sleep(STATE_PERIOD_S)
            if self._browsers:
                state = self._state()
                for browser in self._browsers:
                    browser.tell(state)

    def _state(self) -> str:
        """Everything but the pictures, as JSON."""
        assert self._node
        names = zip(self._config.names, self._node.topics, strict=True)
        return json.dumps(
            {
                "streams": [{"name": name, **topic.report()} for name, topic in names],
                "mode": self._node.mode(),
                "mode_topic": self._node.mode_topic,
                "health": self._node.health(),
            }
        )


@asynccontextmanager
async def _running(view: View, node: ViewNode, listening: socket.socket) -> AsyncIterator[None]:
    """Serve until the block ends and the last browser is disconnected."""
    runner = web.AppRunner(view.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        async with view.working(node):
            await web.SockSite(runner, listening).start()
            yield
            await view.disconnect()
    finally:
        await runner.cleanup()


async def _send_file(request: web.Request) -> web.Response:
    path = PAGE / FILES[request.path]
    return web.Response(
        text=path.read_text("utf-8"), content_type=TYPES[path.suffix], charset="utf-8"
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise DreamIFError(
            f"cannot listen on {host} port {port}: {reason}; choose with --host and --port"
        ) from None


def _address(listening: socket.socket, host: str) -> str:
    """The address that a browser on this machine opens."""
    port = listening.getsockname()[1]
    everywhere = host in ("0.0.0.0", "::", "")
    name = "127.0.0.1" if everywhere else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def _hostname(host: str) -> str:
    """The host without its port; empty if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
