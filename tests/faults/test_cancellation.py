"""Callers who are cancelled anywhere: nothing of theirs stays, and nobody else notices."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Script
from asgi_redis_guard.testing import FaultProxy
from tests.redis.tools import PATIENCE, channel_to, eventually, mark, on_both_loops, run, within

ECHO = Script("return ARGV[1]")


async def connect(manager: RedisManager) -> Any:
    await manager.connect()


async def health(manager: RedisManager) -> Any:
    await manager.health()


async def execute(manager: RedisManager) -> Any:
    await manager.execute("INCR", "k")


async def script(manager: RedisManager) -> Any:
    await manager.run_script(ECHO, (), ("x",))


async def round_trip(manager: RedisManager) -> Any:
    await run(manager, [mark(b"list")])


async def client(manager: RedisManager) -> Any:
    await manager.client.get("k")


async def blocking(manager: RedisManager) -> Any:
    await manager.client.blpop(["nothing"], 5)


async def pipeline(manager: RedisManager) -> Any:
    async with manager.client.pipeline() as pipe:
        await pipe.watch("k")
        pipe.multi()
        await pipe.set("other", "v").get("other").execute()


async def watch(manager: RedisManager) -> Any:
    async with manager.client.pipeline() as pipe:
        await pipe.watch("k")


async def single(manager: RedisManager) -> Any:
    async with manager.client.client() as own:
        await own.select(1)


async def monitor(manager: RedisManager) -> Any:
    async with manager.client.monitor() as commands:
        await commands.next_command()


async def subscribe(manager: RedisManager) -> Any:
    async with manager.client.pubsub() as pubsub:
        await pubsub.subscribe("channel")
        await pubsub.get_message(timeout=5)


async def lifetime(manager: RedisManager) -> Any:
    async with RedisManager(settings=manager.settings) as other:
        await other.execute("PING")


WORK = [
    connect,
    health,
    execute,
    script,
    round_trip,
    client,
    blocking,
    pipeline,
    watch,
    single,
    monitor,
    subscribe,
    lifetime,
]


@pytest.mark.parametrize("warm", [True, False], ids=["connected", "not connected"])
@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_cancelled_at_every_step_of_the_loop(
    redis_url: str, work: Callable[[RedisManager], Awaitable[Any]], warm: bool
) -> None:
    """A slow network, so that there are many steps at which a reply is on its way."""
    async with FaultProxy(redis_url) as proxy:
        for steps in range(40):
            manager = RedisManager(proxy.url, timeout=PATIENCE)
            if warm:
                await manager.connect()
            task = asyncio.ensure_future(work(manager))
            neighbour = manager.execute("ECHO", "mine")
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await within(neighbour) == b"mine"
            assert await within(asyncio.gather(manager.execute("ECHO", "next"), manager.client.echo("too"))) == [  # type: ignore[arg-type]
                b"next",
                b"too",
            ]
            links = manager.links
            await eventually(lambda links=links: links.lane1.in_flight == links.lane2.in_flight == 0)
            assert len(getattr(links.pool, "_in_use_connections", ())) == 0
            await within(manager.aclose())
        await eventually(lambda: not proxy.open_connections)


@on_both_loops
async def test_half_of_a_crowd_cancelled_at_random(redis_url: str) -> None:
    chance = random.Random(7)
    async with channel_to(redis_url) as channel:

        async def caller(who: int) -> None:
            for n in range(10):
                word = b"%d:%d" % (who, n)
                what = chance.randrange(3)
                if what == 0:
                    assert await channel.submit(("ECHO", word)) == word
                elif what == 1:
                    assert await channel.submit(("EVALSHA", ECHO.sha, 0, word), script=ECHO) == word
                else:
                    await channel.submit(("SET", b"k%d" % who, word))
                    assert await channel.submit(("GET", b"k%d" % who)) == word

        tasks = [asyncio.create_task(caller(who)) for who in range(400)]
        victims = tasks[::2]
        while victims:
            await asyncio.sleep(0)
            for _ in range(min(len(victims), chance.randrange(12))):
                victims.pop(chance.randrange(len(victims))).cancel()
        outcomes = await within(asyncio.gather(*tasks, return_exceptions=True))
        assert outcomes[1::2] == [None] * 200
        assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
        assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        await within(channel.submit(("PING",)))
        assert channel.in_flight == 0


async def test_callers_cancelled_while_there_is_no_connection_are_forgotten(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url, threshold=10_000) as channel:
        proxy.refuse()
        gone = [channel.submit(("INCR", "k")) for _ in range(50)]
        stays = channel.submit(("ECHO", "here"))
        await asyncio.sleep(0.01)
        for future in gone:
            future.cancel()
        proxy.heal()
        assert await within(stays) == b"here"
        assert await within(channel.submit(("GET", "k"))) is None


async def test_when_all_have_gone_nobody_goes_on_connecting(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, channel_to(proxy.url, threshold=10_000) as channel:
        proxy.refuse()
        future = channel.submit(("PING",))
        await asyncio.sleep(0)
        future.cancel()
        await eventually(lambda: not [t for t in asyncio.all_tasks() if t.get_name() == "asgi-redis-guard connect"])
        assert channel.in_flight == 0


async def test_a_cancelled_blocking_command_takes_its_connection_with_it(redis_url: str) -> None:
    """The element that would have answered it is for the next who asks."""
    async with RedisManager(redis_url, timeout=PATIENCE, max_connections=1) as manager:
        for n in range(5):
            waiting = asyncio.create_task(manager.client.blpop(["queue"], 5))
            await eventually(lambda: manager.links.pool._in_use_connections)  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await eventually(lambda: b"blpop" not in manager_clients(redis_url))
            await manager.client.rpush("queue", n)
            assert await within(manager.client.blpop(["queue"], 5)) == (b"queue", b"%d" % n)


def manager_clients(url: str) -> bytes:
    """What the server's clients do."""
    import redis

    with redis.Redis.from_url(url) as client:
        return b" ".join(str(entry["cmd"]).encode() for entry in client.client_list())
