"""`memory://`: fakeredis behind the same interface as a channel, for tests and trials in one process.

The same programs run on it, in its own Lua. Nothing leaves the process and nothing survives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis import exceptions

from ..core.script import Batch
from ..errors import ConfigurationError, OperationFailed
from .pipeline import Loadable
from .program import Program


def fake_server() -> Any:
    """Make the data that all channels and clients of one manager share."""
    try:
        import fakeredis
        import lupa  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            'url (REDIS_URL): memory:// needs fakeredis with Lua; pip install "asgi-redis-guard[memory]"'
        ) from None
    return fakeredis.FakeServer(version=(7,))


def fake_client(server: Any, *, decode_responses: bool) -> Any:
    """Make a client of redis-py's asyncio API on the shared data."""
    import fakeredis

    return fakeredis.FakeAsyncRedis(server=server, decode_responses=decode_responses)


class MemoryChannel:
    """Runs each command at once and returns a future that is done."""

    link = None
    in_flight = 0

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Any) -> None:
        import fakeredis

        self._loop = loop
        self._redis = fakeredis.FakeStrictRedis(server=server)

    def submit(
        self,
        args: tuple[Any, ...],
        *,
        repeatable: bool = False,
        timeout: float | None = None,
        script: Loadable | None = None,
    ) -> asyncio.Future[Any]:
        """Run one command; the interface of `Channel.submit`."""
        future: asyncio.Future[Any] = self._loop.create_future()
        try:
            future.set_result(self._run(args, script))
        except exceptions.ResponseError as error:
            future.set_exception(OperationFailed(_text(error)))
        return future

    def evaluate(self, program: Program, batches: Sequence[Batch], timeout: float | None = None) -> asyncio.Future[Any]:
        """Run one round; the interface of `Channel.evaluate`."""
        return self.submit(program.call(batches), script=program)

    def _run(self, args: tuple[Any, ...], script: Any) -> Any:
        if script is None:
            return self._raw(args)
        try:
            return self._raw(args)
        except exceptions.NoScriptError:
            self._raw(("SCRIPT", "LOAD", script.source))
            return self._raw(args)

    def _raw(self, args: tuple[Any, ...]) -> Any:
        connection = self._redis.connection_pool.get_connection()
        try:
            connection.send_command(*args)
            return _plain(connection.read_response())
        finally:
            self._redis.connection_pool.release(connection)

    async def connect(self) -> None:
        """There is nothing to connect to."""

    def drop(self, reason: str) -> None:
        """There is nothing to cut."""

    def close(self) -> None:
        """Let go of the data."""
        self._redis.close()

    def abandon(self) -> None:
        """There is nothing to let go of."""

    def __repr__(self) -> str:
        return "<MemoryChannel>"


def _plain(reply: Any) -> Any:
    """Errors inside a list stay values, as a channel gives them."""
    if isinstance(reply, list):
        return [_plain(item) for item in reply]
    return OperationFailed(_text(reply)) if isinstance(reply, exceptions.ResponseError) else reply


def _text(error: exceptions.ResponseError) -> str:
    """Restore the code that redis-py's parser takes off some errors."""
    text = str(error)
    return text if text.split(" ")[0].isupper() else f"ERR {text}"
