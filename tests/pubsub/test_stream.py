"""Following a stream by id: every entry once, in order, over one connection; a loss of the connection is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from asgi_redis_guard.pubsub.stream import MOST, Entry, Stream
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.testing import FaultProxy
from tests.pubsub.conftest import PATIENCE, nothing_is_left_running, quiet_manager, within
from tests.redis.tools import eventually, scripted
from tests.servers import Server

__all__ = ["nothing_is_left_running"]

KEY, STATE = b"{one}stream", (b"{one}state", b"epoch", b"last")


class Reader:
    """Follows from the beginning, and notes everything."""

    def __init__(self) -> None:
        self.links = self.losses = self.beats = 0
        self.after = b"0-0"
        self.values: list[bytes] = []
        self.states: list[Any] = []
        self.asked: list[float] = []
        self.stream: Stream

    def linked(self) -> None:
        self.links += 1
        self.stream.read(self.after)

    def unlinked(self) -> None:
        self.losses += 1

    def heard(self, asked: float, state: Sequence[Any], entries: Sequence[Entry]) -> bytes | None:
        self.asked.append(asked)
        self.states.append(list(state))
        self.beats += not entries
        for self.after, fields in entries:
            self.values.append(fields[1])
        return self.after


@asynccontextmanager
async def reading(manager: RedisManager, beat: float = 0.05) -> AsyncIterator[Reader]:
    reader = Reader()
    reader.stream = Stream(manager, KEY, STATE, reader, beat=beat, what="The stream of a test")
    try:
        yield reader
    finally:
        await reader.stream.aclose()


async def add(manager: RedisManager, *values: int) -> None:
    await asyncio.gather(*(manager.execute("XADD", KEY, "*", "v", value) for value in values))


async def test_entries_come_in_order_and_each_once(manager: RedisManager) -> None:
    await add(manager, 1, 2)
    async with reading(manager) as reader:
        await eventually(lambda: reader.values == [b"1", b"2"])
        await add(manager, 3)
        await add(manager, *range(4, 60))
        await eventually(lambda: len(reader.values) == 59)
        assert reader.values == [b"%d" % number for number in range(1, 60)]


async def test_more_than_fits_in_one_reply_comes_all_the_same(manager: RedisManager) -> None:
    await add(manager, *range(2 * MOST + 7))
    async with reading(manager) as reader:
        await eventually(lambda: len(reader.values) == 2 * MOST + 7)


async def test_silence_is_answered_again_and_again_with_what_the_state_is(manager: RedisManager) -> None:
    await manager.execute("HSET", STATE[0], "epoch", "e", "last", "0-0")
    async with reading(manager) as reader:
        await eventually(lambda: reader.beats >= 3)
        assert reader.states[0] == [b"e", b"0-0"]
        assert reader.asked == sorted(reader.asked)
        await manager.execute("DEL", STATE[0])
        await eventually(lambda: reader.states[-1] == [None, None])


async def test_it_takes_one_connection_which_is_named(fresh_server: Server) -> None:
    async with quiet_manager(fresh_server.url) as manager, reading(manager) as reader:
        await eventually(lambda: reader.beats)
        listed = await manager.execute("CLIENT", "LIST")
        assert bytes(listed).count(b"name=asgi-redis-guard:stream:") == 1


async def test_a_lost_connection_is_told_and_nothing_is_missed(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(redis_url, timeout=PATIENCE) as writer:
        async with quiet_manager(proxy.url) as manager, reading(manager) as reader:
            for number in range(5):
                await add(writer, number)
                await eventually(lambda number=number: reader.values[-1:] == [b"%d" % number])  # type: ignore[misc]
                reader.stream.wire._drop("the test has cut it")
                await add(writer, 100 + number)
                await eventually(lambda number=number: reader.values[-1:] == [b"%d" % (100 + number)])  # type: ignore[misc]
        assert len(reader.values) == 10
        assert reader.links >= 6
        assert reader.losses == reader.links


async def test_a_frozen_server_is_noticed(fresh_server: Server) -> None:
    async with quiet_manager(fresh_server.url, timeout=0.1) as manager, reading(manager) as reader:
        await eventually(lambda: reader.beats)
        fresh_server.pause()
        await eventually(lambda: reader.losses)
        fresh_server.resume()
        before = reader.links
        await eventually(lambda: reader.links > before or reader.beats > 3)


async def test_an_error_ends_the_connection_and_it_is_tried_again(fresh_server: Server) -> None:
    """A key of another type, a right that is missing: nothing that was read may count as proof."""
    fresh_server.command("SET", KEY, "a string")
    async with quiet_manager(fresh_server.url) as manager, reading(manager) as reader:
        await eventually(lambda: reader.losses >= 2)
        assert not reader.asked
        fresh_server.command("DEL", KEY)
        await eventually(lambda: reader.beats)


async def test_a_server_that_talks_nonsense_is_left() -> None:
    def answer(command: list[bytes]) -> bytes:
        if command[0] == b"HMGET":
            return b"*2\r\n$1\r\ne\r\n$1\r\nl\r\n"
        return b":7\r\n" if command[0] == b"XREAD" else b"+PONG\r\n" if command[0] == b"PING" else b"+OK\r\n"

    async with scripted(answer) as url, quiet_manager(url) as manager, reading(manager) as reader:
        await eventually(lambda: reader.losses >= 2)
        assert not reader.asked


async def test_closing_it_ends_a_read_that_waits(manager: RedisManager) -> None:
    async with reading(manager, beat=600) as reader:
        await eventually(lambda: reader.links)
        await within(reader.stream.aclose())
    assert "closed" in repr(reader.stream)
