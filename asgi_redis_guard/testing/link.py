"""One connection through the proxy: carries bytes both ways, and commits the faults on the way.

Law: a link closes its sockets only after its last read and write have ended. One that has lost bytes is `holed` and
must not be handed back whole, because TCP never does that either.
"""

import asyncio
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, zero seconds, so that close() sends RST
_Line = asyncio.Queue[tuple[float, bytes]]  # bytes on their way, each with the time when they are due; b"" is the end


@dataclass
class Faults:
    """What is to go wrong, for all links of one proxy; the last three happen once and are taken back."""

    latency: float = 0.0
    loses: Literal["nothing", "replies", "everything"] = "nothing"
    chop: int | None = None
    cut_at: bytes | None = None
    truncate_to: int | None = None
    garbage: bytes | None = None

    def end(self) -> None:
        """Let everything go right again."""
        vars(self).update(vars(Faults()))


class Watcher(Protocol):
    """Sees the bytes go by, as the client sends and gets them."""

    def saw_request(self, link: "Link", data: bytes) -> None: ...
    def saw_reply(self, link: "Link", data: bytes) -> None: ...


class Link:
    """One client's connection, and what befell it."""

    def __init__(self, client: socket.socket, server: socket.socket, faults: Faults, watcher: Watcher) -> None:
        self.holed = False  # bytes were lost
        self.cut = False  # to be reset as soon as the server has carried out what it was given
        self._client = client
        self._server = server
        self._faults = faults
        self._watcher = watcher
        for end in (client, server):
            end.setblocking(False)
            if end.family != socket.AF_UNIX:
                _set_option(end, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def will_reset(self) -> None:
        """Make the client see a reset, not an orderly end, when the link closes."""
        _set_option(self._client, socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)

    def close(self) -> None:
        """Close both ends; nothing may be reading or writing any more."""
        self._client.close()
        self._server.close()

    async def run(self, address: Any) -> None:
        """Connect to the server at `address` and carry bytes until either side ends."""
        up, down = _Line(64), _Line(64)
        try:
            if self._faults.loses == "everything":
                self.holed = True  # it was never connected, so it never can be
                await _until_first(self._read(self._client, up), self._swallow(up))
                return
            await asyncio.get_running_loop().sock_connect(self._server, address)
            await _until_first(
                self._read(self._client, up),
                self._carry_up(up),
                self._read(self._server, down),
                self._carry_down(down),
            )
        except OSError:  # the server refused, or one side was reset: the client learns it the hard way
            self.will_reset()

    async def _read(self, source: socket.socket, line: _Line) -> None:
        """Put what arrives on the line; never returns, because the end must first travel along the line."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(source, 65536)
            except OSError:
                data = b""
            await line.put((loop.time() + self._faults.latency, data))
            if not data:
                await _for_ever()

    async def _swallow(self, line: _Line) -> None:
        while data := await _next_due(line):
            self._watcher.saw_request(self, data)

    async def _carry_up(self, line: _Line) -> None:
        faults = self._faults
        while data := await _next_due(line):
            self._watcher.saw_request(self, data)
            if faults.loses == "everything" or self.cut:
                self.holed = True
            elif faults.cut_at is not None and faults.cut_at in data:
                faults.cut_at, self.cut = None, True
                await self._send(self._server, data)
                self._server.shutdown(socket.SHUT_WR)  # the server ends its side once it has carried everything out
            else:
                await self._send(self._server, data)

    async def _carry_down(self, line: _Line) -> None:
        faults = self._faults
        while data := await _next_due(line):
            if faults.loses != "nothing" or self.cut:
                self.holed = True
                continue
            if faults.garbage is not None:
                data, faults.garbage, self.holed = faults.garbage, None, True
            if faults.truncate_to is not None:
                data, faults.truncate_to = data[: faults.truncate_to], None
                await self._give(data)
                self.will_reset()
                return
            await self._give(data)
        if faults.loses == "everything":
            self.holed = True
            await _for_ever()
        if self.cut:
            self.will_reset()

    async def _give(self, data: bytes) -> None:
        self._watcher.saw_reply(self, data)
        await self._send(self._client, data)

    async def _send(self, target: socket.socket, data: bytes) -> None:
        size = self._faults.chop or len(data)
        for start in range(0, len(data), size or 1):
            await asyncio.get_running_loop().sock_sendall(target, data[start : start + size])
            if start + size < len(data):
                await asyncio.sleep(0)  # or the pieces would arrive as one


def _set_option(end: socket.socket, level: int, option: int, value: int | bytes) -> None:
    with suppress(OSError):  # some systems refuse it when the other side has gone already
        end.setsockopt(level, option, value)


async def _next_due(line: _Line) -> bytes:
    """Take the next bytes off the line, no earlier than they are due."""
    due, data = await line.get()
    if (delay := due - asyncio.get_running_loop().time()) > 0:
        await asyncio.sleep(delay)
    return data


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def _until_first(*work: Coroutine[Any, Any, None]) -> None:
    """Run all until the first has ended, then cancel the others; raises what the first raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
