"""Servers, networks and handlers that are slow or silent: bounded waiting, and no verdict before the bytes are read."""

import asyncio
import time

import pytest

from asgi_redis_guard.errors import RedisTimeout, RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.faults.load import load_on
from tests.redis.tools import PATIENCE, channel_to, eventually, mark, on_both_loops, run, within
from tests.servers import Server


def block(seconds: float) -> None:
    """What no handler should do."""
    time.sleep(seconds)


@pytest.mark.parametrize("lane", ["channel of the guards", "channel of the app"])
async def test_a_silent_network_keeps_nobody_longer_than_the_deadline(redis_url: str, lane: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=0.5) as manager:
        links = manager.links
        submit = (links.lane1 if "guards" in lane else links.lane2).submit
        await within(submit(("PING",)))
        proxy.black_hole()
        for _ in range(10):
            outcomes = await within(asyncio.gather(*_all(submit, 50), return_exceptions=True))
            assert all(isinstance(outcome, RedisUnavailable) for outcome in outcomes)
        assert links.breaker.is_open
        assert links.lane1.in_flight == links.lane2.in_flight == 0
        proxy.heal()
        await eventually(lambda: not links.breaker.is_open)
        assert await within(submit(("PING",))) == b"PONG"


def _all(submit: object, count: int) -> list[asyncio.Future[object]]:
    """Submit `count` commands; what is refused at once counts too."""
    futures = []
    for _ in range(count):
        try:
            futures.append(submit(("PING",)))  # type: ignore[operator]
        except RedisUnavailable as error:
            refused = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            futures.append(refused)
    return futures


async def test_while_the_breaker_is_open_nothing_waits_and_nothing_is_sent(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=0.1, connection_timeout=20) as manager:
        proxy.black_hole()
        proxy.recording = True
        before = proxy.connections
        await asyncio.gather(*_all(manager.links.lane1.submit, 10), return_exceptions=True)
        assert manager.links.breaker.is_open
        await eventually(lambda: proxy.connections == before + 1)  # the probe, which waits for an answer now
        await eventually(lambda: manager.links.lane1.in_flight == 0)
        await eventually(lambda: any(b"HELLO" in piece for piece in proxy.requests))  # its greeting, in one piece
        sent = proxy.bytes_up
        for _ in range(1000):
            with pytest.raises(RedisUnavailable) as caught:
                await manager.execute("SET", "k", "v")
            assert not caught.value.maybe_executed
            with pytest.raises(RedisUnavailable):
                await run(manager, [mark(b"k")])
        assert (proxy.bytes_up, proxy.connections) == (sent, before + 1)


async def test_a_slow_server_is_waited_for_within_the_deadline(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as manager:
        proxy.latency = 0.1
        replies = await within(asyncio.gather(*(manager.execute("ECHO", str(n)) for n in range(100))))
        assert replies == [b"%d" % n for n in range(100)]
        assert proxy.connections == 2
        assert not manager.links.breaker.failures


async def test_a_late_reply_is_nobodys(fresh_server: Server) -> None:
    async with channel_to(fresh_server.url, timeout=1, threshold=1000) as channel:
        link = await channel.connect()
        fresh_server.pause()
        futures = [channel.submit(("ECHO", f"late {n}"), timeout=0.05) for n in range(20)]
        for future in futures:
            with pytest.raises(RedisTimeout) as caught:
                await within(future)
            assert caught.value.maybe_executed
        assert channel.in_flight == 20
        on_time = [channel.submit(("ECHO", f"on time {n}"), timeout=PATIENCE) for n in range(20)]
        fresh_server.resume()
        assert await within(asyncio.gather(*on_time)) == [b"on time %d" % n for n in range(20)]
        assert channel.in_flight == 0
        assert channel.link is link


async def test_late_replies_do_not_make_a_server_that_is_always_late_a_good_one(fresh_server: Server) -> None:
    async with channel_to(fresh_server.url, timeout=0.8) as channel:
        await channel.connect()
        for _ in range(5):
            fresh_server.pause()
            with pytest.raises(RedisTimeout):
                await within(channel.submit(("PING",), timeout=0.01))
            fresh_server.resume()
            await eventually(lambda: channel.in_flight == 0)
        with pytest.raises(RedisUnavailable):
            channel.submit(("PING",))


async def test_a_network_slower_than_the_deadline_is_not_pinged_for_ever(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, channel_to(proxy.url, timeout=0.3, threshold=1000) as channel:
        await channel.connect()
        proxy.reset()
        proxy.latency = 0.25
        with pytest.raises(RedisTimeout):
            await within(channel.submit(("GET", "k")))
        await eventually(lambda: channel.in_flight == 0)
        assert proxy.commands in ([b"GET"], [b"GET", b"PING"])


async def test_a_silent_connection_is_asked_for_a_sign_of_life_and_then_replaced(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, channel_to(proxy.url, timeout=0.2, threshold=1000) as channel:
        first = await channel.connect()
        proxy.reset()
        proxy.drop_replies()
        with pytest.raises(RedisTimeout):
            await within(channel.submit(("GET", "k")))
        assert channel.link is first
        await eventually(lambda: channel.link is None)
        assert proxy.commands == [b"GET", b"PING"]
        assert channel.in_flight == 0
        proxy.heal()
        assert await within(channel.submit(("GET", "k"), timeout=PATIENCE)) is None


async def test_a_sign_of_life_keeps_a_connection_whose_command_takes_long(fresh_server: Server) -> None:
    """A blocking command is the caller's mistake on a shared connection, but no reason to cut it for everybody."""
    async with channel_to(fresh_server.url, timeout=0.5, threshold=1000) as channel:
        link = await channel.connect()
        fresh_server.pause()
        with pytest.raises(RedisTimeout):
            await within(channel.submit(("PING",)))
        fresh_server.resume()
        await eventually(lambda: channel.in_flight == 0)
        assert await within(channel.submit(("PING",), timeout=PATIENCE)) == b"PONG"
        assert channel.link is link


async def test_an_idle_connection_is_left_alone(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, channel_to(proxy.url, timeout=0.3) as channel:
        link = await channel.connect()
        proxy.reset()
        await asyncio.sleep(1)  # several deadlines
        assert proxy.commands == []
        assert await within(channel.submit(("PING",), timeout=PATIENCE)) == b"PONG"
        assert channel.link is link


@on_both_loops
async def test_a_handler_that_blocks_the_loop_is_not_a_dead_server(redis_url: str) -> None:
    """All the time that the deadline allows passes, several times over, while nobody reads."""
    async with channel_to(redis_url, timeout=0.1, threshold=1) as channel:
        link = await channel.connect()
        for _ in range(6):
            future = channel.submit(("ECHO", "there"))
            block(0.25)
            await asyncio.sleep(0)
            block(0.25)
            assert await within(future) == b"there"
        assert channel.link is link


@on_both_loops
async def test_a_blocked_loop_with_much_to_read_is_not_a_dead_server(redis_url: str) -> None:
    async with channel_to(redis_url, timeout=0.5, threshold=1) as channel:
        link = await channel.connect()
        value = b"x" * 10_000
        await within(channel.submit(("SET", "k", value)))
        futures = [channel.submit(("GET", "k")) for _ in range(1000)]
        await asyncio.sleep(0)
        block(1.2)
        assert await within(asyncio.gather(*futures)) == [value] * 1000
        assert channel.link is link


async def test_handlers_that_block_now_and_then_under_load(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=0.4) as manager, load_on(manager) as load:
        for _ in range(3):
            block(0.9)
            await load.more(100)
        assert not load.failures


async def test_a_frozen_server_under_load_is_forgiven(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=0.2) as manager, load_on(manager) as load:
        for _ in range(2):
            fresh_server.pause()
            await load.fails()
            await eventually(lambda: manager.links.breaker.is_open)
            await load.everyone()
            fresh_server.resume()
            await load.more()
