"""`memory://`: a line to fakeredis, with the interface of a link and without a thread.

Whatever publishes on the same data is heard: the manager, its client, a script, another loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import hiredis
from redis import exceptions

from ..errors import OperationFailed, RedisUnavailable
from ..redis.link import NOTHING, Receiver
from ..redis.memory import fake_client

_LEAVE_ALL = b"".join(map(hiredis.pack_command, (("UNSUBSCRIBE",), ("PUNSUBSCRIBE",))))

Spawn = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]


class MemoryLine:
    """Reads in a task of its own; `spawn` runs it."""

    def __init__(self, connection: Any, spawn: Spawn) -> None:
        self.receiver: Receiver | None = None
        self._loop = asyncio.get_running_loop()
        self.last_byte = self._loop.time()
        self._connection = connection
        self._spawn = spawn
        self._replies: deque[Any] = deque()
        self._reading = spawn(self._read())

    def next(self) -> Any:
        """Take the next reply, or `NOTHING`."""
        return self._replies.popleft() if self._replies else NOTHING

    def write(self, data: bytes) -> None:
        """Send packed commands; fakeredis runs them in the first step of the task, hence in order."""
        self._spawn(self._write(data))

    def abort(self) -> None:
        """Close silently."""
        self.receiver = None
        self._reading.cancel()

    async def _write(self, data: bytes) -> None:
        try:
            await self._connection.send_packed_command(data)
        except exceptions.ConnectionError as error:
            self._lost(error)

    async def _read(self) -> None:
        try:
            while True:
                self._replies.append(await self._reply())
                self.last_byte = self._loop.time()
                if self.receiver is not None:
                    self.receiver.readable(self)  # type: ignore[arg-type]  # has of a link what a wire needs
        except exceptions.ConnectionError as error:
            self._lost(error)
        finally:
            with suppress(exceptions.ConnectionError):
                await self._connection.send_packed_command(_LEAVE_ALL)
            await self._connection.disconnect(nowait=True)

    def _lost(self, error: Exception) -> None:
        receiver, self.receiver = self.receiver, None
        self._reading.cancel()
        if receiver is not None:
            receiver.lost(self, error)  # type: ignore[arg-type]

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response(disable_decoding=True, disconnect_on_error=False)
        except exceptions.ResponseError as error:
            return OperationFailed(str(error))


async def open_memory_line(server: Any, spawn: Spawn) -> MemoryLine:
    """Connect to the shared data; raises `RedisUnavailable` if it plays dead."""
    client = fake_client(server, decode_responses=False)
    connection = client.connection_pool.make_connection()
    try:
        await connection.connect()
    except exceptions.ConnectionError as error:
        raise RedisUnavailable(str(error)) from error
    return MemoryLine(connection, spawn)
