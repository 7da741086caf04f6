"""One browser: it gets the next picture of a stream only after it has shown the last one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web


@dataclass
class PictureStream:
    """The newest picture of one topic, encoded once for all browsers."""

    number: int = 0
    jpeg: bytes = b""


class Browser:
    """The websocket of one page.

    The server sends pictures as binary messages, one byte with the stream's index and then the
    JPEG, and states as JSON text. The page sends JSON objects: ``{"watch": [indices]}`` names the
    streams that it shows, ``{"shown": index}`` confirms that a picture was shown. The next picture
    is sent only after that, so that no picture waits in a buffer, however slow the browser or the
    network is.

    on_watch: Called when the browser shows other streams than before, which are ``watched``.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        streams: Sequence[PictureStream],
        on_watch: Callable[[], None],
    ) -> None:
        self._socket, self._streams, self._on_watch = socket, streams, on_watch
        self.watched: set[int] = set()
        self._sent = [0] * len(streams)  # number of the last picture sent, by stream
        self._showing: set[int] = set()  # streams whose picture was sent and not yet shown
        self._state, self._news = "", asyncio.Event()

    def tell(self, state: str | None = None) -> None:
        """Send the new picture, or the new state, as soon as possible."""
        self._state = state or self._state
        self._news.set()

    async def run(self) -> None:
        """Serve the page until it is closed."""
        sending = asyncio.create_task(self._send())
        try:
            await self._receive()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self.watched.clear()
            self._on_watch()

    async def leave(self) -> None:
        """Close the connection because the server ends."""
        await self._socket.close(code=1001, message=b"the server ends")

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type != WSMsgType.TEXT or not self._take(message.data):
                await self._socket.close(code=1003, message=b"expected watch or shown")

    def _take(self, text: str) -> bool:
        """Follow one message of the page; False if it is not one that the class describes."""
        try:
            request = json.loads(text)
        except (ValueError, RecursionError):  # the second of brackets in brackets
            return False
        if not isinstance(request, dict):
            return False
        watch, shown = request.get("watch"), request.get("shown")
        if isinstance(watch, list) and all(map(self._is_index, watch)):
            self.watched = set(watch)
            self._on_watch()
        elif self._is_index(shown):
            self._showing.discard(shown)
        else:
            return False
        self._news.set()
        return True

    def _is_index(self, value: Any) -> bool:
        return type(value) is int and 0 <= value < len(self._streams)

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._state:
                state, self._state = self._state, ""
                await self._socket.send_str(state)
            for index in sorted(self.watched - self._showing):
                await self._send_picture(index)

    async def _send_picture(self, index: int) -> None:
        stream = self._streams[index]
        if stream.jpeg and stream.number > self._sent[index]:
            self._sent[index] = stream.number
            self._showing.add(index)
            await self._socket.send_bytes(bytes([index]) + stream.jpeg)
