"""What tests of connections wait with, and small operations for them to send."""

import asyncio
import contextlib
import functools
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import pytest

from asgi_redis_guard.core.script import Batch, Operation, OperationKind, place_of
from asgi_redis_guard.redis.address import Address
from asgi_redis_guard.redis.breaker import Breaker
from asgi_redis_guard.redis.channel import Channel
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Program
from asgi_redis_guard.redis.whereabouts import Whereabouts

#: No healthy server needs this long; nothing waits for it to pass.
PATIENCE = 20.0


async def within(awaitable: Awaitable[Any], seconds: float = PATIENCE) -> Any:
    """Await with patience that ends before the test's own."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def eventually(true: Callable[[], object]) -> None:
    """Wait until something holds that no event tells of."""
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.002)


async def until_back(manager: RedisManager) -> None:
    """Wait until the breaker's probe has found a server again that was away."""
    assert manager.links.breaker.is_open
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait([manager.links.probing])  # type: ignore[list-item]


async def server_ms(manager: RedisManager) -> float:
    """The server's own time, in ms."""
    seconds, micros = await manager.execute("TIME")
    return int(seconds) * 1000 + int(micros) / 1000


@asynccontextmanager
async def channel_to(url: str, *, threshold: int = 5, **options: Any) -> AsyncIterator[Channel]:
    """A channel by itself, with a breaker that nobody probes."""
    options = {"name": "test", "timeout": PATIENCE, "connect_timeout": PATIENCE, "limit": 10_000, **options}
    breaker = Breaker(url, threshold=threshold)
    channel = Channel(asyncio.get_running_loop(), Whereabouts(Address.parse(url)), breaker, **options)
    try:
        yield channel
    finally:
        connecting = channel.close()
        if connecting is not None:
            await asyncio.wait([connecting])
        await asyncio.sleep(0)


#: What a server says to HELLO 3.
HELLO_3 = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"


@asynccontextmanager
async def scripted(answer: Callable[[list[bytes]], bytes]) -> AsyncIterator[str]:
    """A server that gives to each command what `answer` says; an empty answer ends the connection."""

    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            await converse(reader, writer)
        writer.close()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader()
        while data := await reader.read(65536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                reply = answer(command)
                if not reply:
                    writer.transport.abort()
                    return
                writer.write(reply)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # the passes of the loop in which transports close their sockets


def kind(check: str, commit: str = "", **contract: str) -> OperationKind:
    """An operation in a few words: `kind("stop = true", keys="k", returns="n", group="g")`."""
    head = "".join(f"-- {name}: {value}\n" for name, value in {"name": "test", **contract}.items())
    return OperationKind.parse(f"{head}-- @check\n{check}\n-- @commit\n{commit}\n")


#: Passes, and leaves a trace.
MARK = kind("", "call('RPUSH', k, v)", keys="k", args="v")
#: Refuses.
STOP = kind("stop = true")

Guard = list[Operation]


def mark(key: bytes, value: str = "1") -> Operation:
    """Append `value` to the list at `key`, if the round comes so far."""
    return Operation(MARK, (key,), (value,))


async def run(
    manager: RedisManager, *guards: Guard, closed: tuple[int, ...] = (), shadow: tuple[int, ...] = ()
) -> list[Any]:
    """Do the operations of some guards in one round; return the flat reply, without the server's time at its end."""
    batches = [Batch(guard) for guard in guards]
    shape = [place_of(place in closed, batch.kinds, place in shadow) for place, batch in enumerate(batches)]
    *reply, clock = await within(manager.evaluate(Program(shape), batches))
    assert abs(clock / 1e6 - time.time()) < 3600
    return reply


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on asyncio's loop and on uvloop; its fixtures must not be async."""
    import uvloop

    @functools.wraps(test)
    def on(*args: Any, new_loop: Callable[[], asyncio.AbstractEventLoop], **options: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(*args, **options))

    signature = inspect.signature(test)
    loop = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    on.__signature__ = signature.replace(parameters=[*signature.parameters.values(), loop])  # type: ignore[attr-defined]
    factories = [asyncio.new_event_loop, uvloop.new_event_loop]
    mark = pytest.mark.parametrize("new_loop", factories, ids=["asyncio", "uvloop"])
    return mark(on)
