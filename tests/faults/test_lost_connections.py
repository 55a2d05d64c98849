"""Connections that break at every point: nobody gets a wrong answer, and all is well again without a restart."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Script
from asgi_redis_guard.testing import FaultProxy
from tests.conftest import MakeServer
from tests.faults.load import load_on
from tests.redis.tools import PATIENCE, channel_to, eventually, on_both_loops, within
from tests.servers import Server

INCR = Script("return redis.call('INCR', KEYS[1])")

#: Seconds; what is bounded by it ends long before patience does.
TIMEOUT = 0.5


@on_both_loops
async def test_a_server_killed_and_started_again_under_load(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=TIMEOUT) as manager, load_on(manager) as load:
        for _ in range(2):
            fresh_server.kill()
            await load.fails()
            await load.everyone()
            await asyncio.to_thread(fresh_server.start)
            await load.more()


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_clients_killed_under_load(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind)
    async with RedisManager(server.url, timeout=PATIENCE) as manager, load_on(manager) as load:
        for _ in range(10):
            assert await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", "normal") >= 1
            await load.more(100)
        assert not manager.links.breaker.is_open


async def test_scripts_flushed_under_load_are_nobodys_failure(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as manager, load_on(manager) as load:
        for _ in range(20):
            await asyncio.to_thread(fresh_server.command, "SCRIPT FLUSH")
            await load.more(50)
        assert not load.failures


@pytest.mark.parametrize("fault", ["garble", "truncate", "reset"])
async def test_broken_replies_under_load(redis_url: str, fault: str) -> None:
    async with (
        FaultProxy(redis_url) as proxy,
        RedisManager(proxy.url, timeout=PATIENCE) as manager,
        load_on(manager) as load,
    ):
        for size in range(1, 12):
            before = proxy.connections
            if fault == "garble":
                proxy.garble(b"\x00\xff garbage \r\n" if size % 2 else b"?" * size)
            elif fault == "truncate":
                proxy.truncate_reply(size)
            else:
                proxy.reset_all()
            await eventually(lambda before=before: proxy.connections > before)
            await load.more(20)


@pytest.mark.parametrize("garbage", [b"+OK\r\n" * 9, b":1\r\n:2\r\n:3\r\n", b"-ERR\r\n_\r\n"])
async def test_a_reply_nobody_asked_for_ends_the_connection(redis_url: str, garbage: bytes) -> None:
    """Such a connection is out of step: what follows on it could be anybody's."""
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url) as channel:
        first = await channel.connect()
        proxy.garble(garbage)
        await asyncio.gather(channel.submit(("ECHO", "lost")), return_exceptions=True)
        assert channel.link is not first
        assert await within(channel.submit(("ECHO", "mine"))) == b"mine"


async def test_a_command_that_must_not_be_repeated_runs_once_and_its_caller_knows(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url) as channel:
        await channel.connect()
        proxy.cut_after_request(b"INCR")
        with pytest.raises(RedisUnavailable) as caught:
            await within(channel.submit(("INCR", "k")))
        assert caught.value.maybe_executed
        assert await within(channel.submit(("GET", "k"))) == b"1"


async def test_a_repeatable_command_is_repeated_once(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url) as channel:
        await channel.connect()
        proxy.cut_after_request(b"INCR")
        assert await within(channel.submit(("INCR", "k"), repeatable=True)) == 2
        script = ("EVALSHA", INCR.sha, 1, "k")
        proxy.cut_after_request(b"EVALSHA")
        assert await within(channel.submit(script, repeatable=True, script=INCR)) == 4


class CutsEveryTime(FaultProxy):
    """Lets no reply to an INCR through."""

    def saw_request(self, link: Any, data: bytes) -> None:
        super().saw_request(link, data)
        self.cut_after_request(b"INCR")


async def test_a_repeatable_command_is_not_repeated_twice(redis_url: str) -> None:
    async with CutsEveryTime(redis_url) as proxy, channel_to(proxy.url) as channel:
        with pytest.raises(RedisUnavailable) as caught:
            await within(channel.submit(("INCR", "k"), repeatable=True))
        assert caught.value.maybe_executed
        assert await within(channel.submit(("GET", "k"))) == b"2"


async def test_behind_a_lost_reply_each_fares_by_what_it_may(redis_url: str) -> None:
    """Ten commands in one write, carried out by the server, whose replies are all lost."""
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url) as channel:
        await channel.connect()
        proxy.cut_after_request(b"INCR")
        futures = [channel.submit(("INCR", f"k{n}"), repeatable=n % 2 == 0) for n in range(10)]
        outcomes = await within(asyncio.gather(*futures, return_exceptions=True))
        assert outcomes[::2] == [2] * 5
        assert all(isinstance(outcome, RedisUnavailable) and outcome.maybe_executed for outcome in outcomes[1::2])
        counts = await within(channel.submit(("MGET", *(f"k{n}" for n in range(10)))))
        assert counts == [b"2", b"1"] * 5


async def test_a_refused_connection_fails_within_bounds_and_nothing_ran(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url, timeout=TIMEOUT) as channel:
        proxy.refuse()
        futures = [channel.submit(("INCR", "k")) for _ in range(50)]
        outcomes = await within(asyncio.gather(*futures, return_exceptions=True))
        assert all(isinstance(outcome, RedisUnavailable) and not outcome.maybe_executed for outcome in outcomes)
        assert channel.in_flight == 0


async def test_what_was_not_sent_goes_out_on_the_next_connection(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url, threshold=1000) as channel:
        await channel.connect()
        proxy.refuse()
        await eventually(lambda: channel.link is None)
        futures = [channel.submit(("INCR", "k")) for _ in range(50)]
        await asyncio.sleep(0.05)  # some attempts
        proxy.heal()
        assert await within(asyncio.gather(*futures)) == list(range(1, 51))
