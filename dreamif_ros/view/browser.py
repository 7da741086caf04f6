"""One browser that looks: gets the newest picture of each stream when it has shown the last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web


@dataclass
class Stream:
    """The newest picture of one topic, counted, encoded once for everybody."""

    number: int = 0
    jpeg: bytes = b""


class Browser:
    """The websocket of one page.

    Down go pictures, binary: one byte with the stream's place, then the JPEG; and states, as JSON
    text. Up come JSON objects: ``{"watch": [places]}`` names the streams that are looked at,
    ``{"shown": place}`` tells that a picture was shown. A picture is sent only after that, so
    that none waits in a buffer anywhere, however slow the browser or the network is.
    """

    def __init__(
        self, socket: web.WebSocketResponse, streams: Sequence[Stream], on_watch: Callable[[], None]
    ) -> None:
        self._socket, self._streams, self._on_watch = socket, streams, on_watch
        self.watched: set[int] = set()
        self._sent = [0] * len(streams)  # number of the picture that was sent last
        self._showing: set[int] = set()  # places of pictures that were sent and not yet shown
        self._state, self._news = "", asyncio.Event()

    def tell(self, state: str | None = None) -> None:
        """There is a new picture, or a new state."""
        self._state = state or self._state
        self._news.set()

    async def run(self) -> None:
        """Serve the page until it leaves."""
        sending = asyncio.create_task(self._send())
        try:
            await self._receive()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            self.watched.clear()
            self._on_watch()

    async def leave(self) -> None:
        """Close the connection: the server ends."""
        await self._socket.close(code=1001, message=b"the server ends")

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type != WSMsgType.TEXT or not self._take(message.data):
                await self._socket.close(code=1003, message=b"expected watch or shown")

    def _take(self, text: str) -> bool:
        """Follow one message; False where it is none of those in the class's description."""
        try:
            request = json.loads(text)
        except ValueError:
            return False
        if not isinstance(request, dict):
            return False
        watch, shown = request.get("watch"), request.get("shown")
        if isinstance(watch, list) and all(map(self._is_place, watch)):
            self.watched = set(watch)
            self._on_watch()
        elif self._is_place(shown):
            self._showing.discard(shown)
        else:
            return False
        self._news.set()
        return True

    def _is_place(self, value: Any) -> bool:
        return type(value) is int and 0 <= value < len(self._streams)

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._state:
                state, self._state = self._state, ""
                await self._socket.send_str(state)
            for place in sorted(self.watched - self._showing):
                await self._send_picture(place)

    async def _send_picture(self, place: int) -> None:
        stream = self._streams[place]
        if stream.jpeg and stream.number > self._sent[place]:
            self._sent[place] = stream.number
            self._showing.add(place)
            await self._socket.send_bytes(bytes([place]) + stream.jpeg)
