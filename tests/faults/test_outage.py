"""Redis is away: little is said, nothing is kept, nobody waits, and what begins without it finds it later."""

import asyncio
import gc
import logging
import tracemalloc
from pathlib import Path

import pytest

from asgi_redis_guard.errors import RedisTimeout, RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.conftest import MakeServer
from tests.redis.tools import HELLO_3, PATIENCE, eventually, mark, run, scripted, within
from tests.servers import Server


async def fail(manager: RedisManager, times: int) -> None:
    """Ask for something that often, many at a time, and get nothing."""

    async def ask() -> None:
        with pytest.raises(RedisUnavailable):
            await manager.execute("GET", "k")

    for _ in range(times // 100):
        await within(asyncio.gather(*(ask() for _ in range(100))))


def states(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of Redis, in a word a line."""
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [("away" if " is away " in line else "back" if " is back" in line else line) for line in lines]


async def test_one_line_is_logged_for_each_change_of_state(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as manager:
        for _ in range(2):
            await asyncio.to_thread(fresh_server.kill)
            await fail(manager, 3000)
            await asyncio.to_thread(fresh_server.start)
            await eventually(lambda: not manager.links.breaker.is_open)
            for _ in range(100):
                await within(manager.execute("GET", "k"))
    assert states(caplog) == ["away", "back"] * 2
    assert caplog.records[0].name == "asgi_redis_guard.redis"
    assert fresh_server.url in caplog.text


async def test_memory_stays_flat(tmp_path: Path) -> None:
    manager = RedisManager(f"unix://{tmp_path}/nobody", timeout=0.2)
    await fail(manager, 1000)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await fail(manager, 20_000)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 300_000
    finally:
        tracemalloc.stop()
    assert manager.links.lane1.in_flight == manager.links.lane2.in_flight == 0
    await manager.aclose()


async def test_a_start_without_redis_is_degraded_and_heals_by_itself(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(fresh_server.stop)
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as manager:
        assert states(caplog) == ["away"]
        with pytest.raises(RedisUnavailable):
            await manager.execute("PING")
        await asyncio.to_thread(fresh_server.start)
        await eventually(lambda: not manager.links.breaker.is_open)
        assert await within(manager.execute("PING")) == b"PONG"
        assert await run(manager, [mark(b"k")]) == [1]
    assert states(caplog) == ["away", "back"]


async def test_who_requires_redis_does_not_start_without_it_and_leaves_nothing(tmp_path: Path) -> None:
    manager = RedisManager(f"unix://{tmp_path}/nobody", require_redis=True)
    with pytest.raises(RedisUnavailable, match="no connection"):
        async with manager:
            raise AssertionError("it has started")
    with pytest.raises(RedisUnavailable, match="no connection"):
        await manager.connect()
    await manager.aclose()


async def test_who_requires_redis_is_away_like_others_later(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, require_redis=True, timeout=PATIENCE) as manager:
        await asyncio.to_thread(fresh_server.kill)
        await fail(manager, 100)


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_a_wrong_password_is_tried_once_a_probe_and_no_storm(
    make_server: MakeServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "asgi_redis_guard.redis")
    server = make_server(kind, requirepass="right")
    async with RoundTripCounter(server.path) as proxy:
        manager = RedisManager(proxy.url.replace("redis://", "redis://:wrong@"), timeout=PATIENCE)

        def probes() -> int:
            return sum(" is still away" in record.getMessage() for record in caplog.records)

        def tries() -> int:
            return proxy.commands.count(b"HELLO") + proxy.commands.count(b"AUTH")

        while probes() < 2:
            await fail(manager, 1000)
            assert tries() <= 1 + probes() + 1, "the first caller's, each probe's, and one that is under way"
        assert states(caplog) == ["away"]
        assert "wrong" not in caplog.text.replace("WRONGPASS", "")
        server.command("CONFIG SET", "requirepass", "wrong")
        server.options["requirepass"] = "wrong"
        await eventually(lambda: not manager.links.breaker.is_open)
        assert await within(manager.execute("PING")) == b"PONG"
        await manager.aclose()


async def test_a_server_that_comes_back_only_to_fail_is_probed_more_and_more_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It greets, so that each probe is content, and answers nothing: without a memory that would go round for ever."""
    silent = asyncio.Event()

    def answer(command: list[bytes]) -> bytes:
        greeting = {b"HELLO": HELLO_3, b"CLIENT": b"+OK\r\n", b"PING": b"+PONG\r\n"}
        return greeting.get(command[0], b"" if silent.is_set() else b"+OK\r\n")

    async with scripted(answer) as url, RedisManager(url, timeout=0.3) as manager:
        silent.set()
        pauses = []
        for _ in range(4):
            while not manager.links.breaker.is_open:
                await fail(manager, 100)
            await eventually(lambda: not manager.links.breaker.is_open)
            pauses.append(manager.links.server.probe._backoff.pause)
        assert pauses == [0.2, 0.4, 0.8, 1.6]
    assert states(caplog) == ["away", "back"] * 4


async def test_closing_while_redis_is_away_leaves_nothing_running(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy:
        manager = RedisManager(proxy.url, timeout=0.1)
        proxy.black_hole()
        waiting = [manager.execute("PING"), manager.links.lane1.submit(("PING",))]
        await asyncio.sleep(0)
        await within(manager.aclose())
        for future in waiting:
            with pytest.raises(RedisUnavailable):
                await future
        assert not [task for task in asyncio.all_tasks() if "asgi-redis-guard" in task.get_name()]


async def test_both_lanes_and_the_pool_recover(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as manager:
        async with manager.client.pipeline() as pipe:
            assert await within(pipe.set("k", "v").execute()) == [True]
        await asyncio.to_thread(fresh_server.restart)
        for _ in range(3):
            await asyncio.gather(manager.execute("PING"), return_exceptions=True)
        await eventually(lambda: not manager.links.breaker.is_open)
        assert await within(manager.execute("PING")) == b"PONG"
        assert await run(manager, [mark(b"list")]) == [1]
        async with manager.client.pipeline() as pipe:
            assert await within(pipe.get("k").execute()) == [None]


async def test_a_timeout_says_how_long_was_waited(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=0.15) as manager:
        proxy.black_hole()
        with pytest.raises(RedisTimeout, match=r"within 0\.15 s"):
            await manager.execute("PING")


async def test_patience_outlasts_a_restart(fresh_server: Server) -> None:
    """With time left, a caller that comes while the server is away is served when it is back."""
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as manager:
        manager.links.breaker.threshold = 1000
        await asyncio.to_thread(fresh_server.kill)
        await eventually(lambda: manager.links.lane1.link is None)  # type: ignore[union-attr]
        waiting = asyncio.gather(*(manager.execute("INCR", "k") for _ in range(20)))
        await asyncio.to_thread(fresh_server.start)
        assert sorted(await within(waiting)) == list(range(1, 21))
