"""Connections belong to a loop: one set each, none shared, none left open by a loop that is gone."""

import asyncio
import gc
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from tests.redis.tools import PATIENCE, eventually, mark, run, within
from tests.servers import Server

NewLoop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def manager(redis_url: str) -> RedisManager:
    """Not connected: a loop that a test makes does that."""
    return RedisManager(redis_url, timeout=PATIENCE)


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What finalisers complain of; nothing may be left for it at the end."""
    complaints: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield complaints
        gc.collect()
        assert [complaint.exc_value for complaint in complaints] == []


def ours(server: Server) -> int:
    """How many connections of this package the server has."""
    return sum("asgi-redis-guard" in entry["name"] for entry in server.command("CLIENT LIST"))


async def use(manager: RedisManager) -> Any:
    """Use every kind of connection."""
    assert await run(manager, [mark(b"list")]) == [1]
    async with manager.client.pipeline() as pipe:
        await pipe.ping().execute()
    return await within(manager.execute("ECHO", "there"))


async def test_one_loop_has_one_set(manager: RedisManager) -> None:
    assert manager.links is manager.links
    await manager.aclose()


async def test_a_closed_set_is_replaced(manager: RedisManager) -> None:
    first = manager.links
    await manager.aclose()
    assert manager.links is not first
    await manager.aclose()


async def test_a_task_that_begins_at_once_finds_its_connections(manager: RedisManager) -> None:
    """As tasks do with `asyncio.eager_task_factory` of Python 3.12; the first looks how the server is set up."""
    found = []

    def begins_at_once(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        assert not manager._lock.locked()  # or it would wait for itself
        found.append(manager.links)
        return asyncio.Task(work, loop=loop, **options)

    asyncio.get_running_loop().set_task_factory(begins_at_once)
    links = manager.links
    asyncio.get_running_loop().set_task_factory(None)
    assert found == [links]
    await manager.aclose()


@pytest.mark.usefixtures("unraisable")
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_loop_for_each_request_leaves_nothing_open(manager: RedisManager, valkey: Server, new_loop: NewLoop) -> None:
    for _ in range(5):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            assert runner.run(use(manager)) == b"there"
        assert ours(valkey) == 0
    assert len(manager._links_by_loop) == 0


@pytest.mark.usefixtures("unraisable")
def test_a_hub_of_a_loop_that_ended_leaves_nothing_open(manager: RedisManager, valkey: Server) -> None:
    async def subscribe() -> None:
        async with manager.pubsub.subscribe("channel"):
            pass

    for _ in range(3):
        asyncio.run(subscribe())
        assert ours(valkey) == 0


@pytest.mark.usefixtures("unraisable")
def test_loops_that_were_closed_without_an_end_are_tidied_up_by_the_next(manager: RedisManager, valkey: Server) -> None:
    async def request() -> Any:
        assert await run(manager, [mark(b"list")]) == [1]
        return await within(manager.execute("ECHO", "there"))

    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(request()) == b"there"
        assert ours(valkey) == 2
        loop.close()
    asyncio.run(request())
    assert ours(valkey) == 0


def test_a_loop_that_ends_while_redis_is_away_ends(manager: RedisManager) -> None:
    away = RedisManager("redis://127.0.0.1:1", timeout=0.2)

    async def request() -> None:
        with pytest.raises(RedisUnavailable):
            await away.execute("PING")
        assert away.links.breaker.is_open

    for _ in range(3):
        asyncio.run(request())
    assert len(away._links_by_loop) == 0


def test_a_forgotten_manager_closes_with_its_loop(redis_url: str, valkey: Server) -> None:
    async def request() -> None:
        await use(RedisManager(redis_url, timeout=PATIENCE))
        gc.collect()

    asyncio.run(request())
    assert ours(valkey) == 0


def test_threads_with_a_loop_each_do_not_meet(manager: RedisManager) -> None:
    """They switch as often as they can, so that a handle on the wrong loop would be caught."""
    wrong: list[Any] = []

    async def requests(who: int) -> None:
        for n in range(150):
            word = b"%d:%d" % (who, n)
            if await manager.execute("ECHO", word) != word or manager.links.loop is not asyncio.get_running_loop():
                wrong.append(word)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda who=who: asyncio.run(requests(who))) for who in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    assert len(manager._links_by_loop) == 0


async def test_leaving_in_one_loop_leaves_the_others_alone(manager: RedisManager) -> None:
    async def visit() -> Any:
        async with manager:
            return await manager.execute("ECHO", "visitor")

    async with manager:
        links = manager.links
        assert await asyncio.to_thread(asyncio.run, visit()) == b"visitor"
        assert manager.links is links
        assert await within(manager.execute("ECHO", "host")) == b"host"
    assert len(manager._links_by_loop) == 0


async def test_a_loop_that_never_left_does_not_count_for_the_next(redis_url: str, valkey: Server) -> None:
    manager = RedisManager(redis_url, timeout=PATIENCE)

    async def enter_only() -> None:
        await manager.__aenter__()

    await asyncio.to_thread(asyncio.run, enter_only())
    async with manager:
        assert ours(valkey) > 0
    await eventually(lambda: ours(valkey) == 0)


async def test_commands_belong_to_a_running_loop(manager: RedisManager) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        await asyncio.to_thread(manager.execute, "PING")


async def test_its_repr_tells_of_both_lanes(manager: RedisManager) -> None:
    await manager.connect()
    shown = repr(manager.links)
    assert shown.count("<Channel asgi-redis-guard:") == 2
    assert "closed, 0 failures" in shown
    assert repr(manager).startswith("<RedisManager unix://")
    await manager.aclose()
