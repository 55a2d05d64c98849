"""The barest of clients, for tests of what a network does to one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from asgi_redis_guard.testing import FaultProxy


class Wire:
    """Sends words, reads bytes, and tells what happened to them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *words: bytes) -> None:
        self.writer.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    async def read(self, within: float = 20.0) -> bytes:
        async with asyncio.timeout(within):
            return await self.reader.read(65536)

    async def ask(self, *words: bytes) -> bytes:
        self.send(*words)
        return await self.read()

    async def hears_nothing(self) -> bool:
        try:
            await self.read(0.1)
        except TimeoutError:
            return True
        return False

    async def is_reset(self) -> bool:
        try:
            await self.read()
        except ConnectionResetError:
            return True
        return False


Dial = Callable[[FaultProxy], Awaitable[Wire]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Open connections that are closed with the test."""
    wires: list[Wire] = []

    async def dial(proxy: FaultProxy) -> Wire:
        wires.append(Wire(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return wires[-1]

    yield dial
    for wire in wires:
        wire.writer.transport.abort()
    await asyncio.sleep(0)
