"""A subscriber that is cancelled at any step leaves nothing behind and disturbs nobody."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.testing import FaultProxy
from tests.pubsub.conftest import data, hub_on

#: More steps than entering takes on any store.
STEPS = 400


async def cancelled_after(steps: int, work: Any) -> bool:
    """Start `work` and cancel it after so many passes of the loop; tell whether it had ended by itself."""
    task = asyncio.ensure_future(work)
    for _ in range(steps):
        if task.done():
            break
        await asyncio.sleep(0)
    ended = task.done()
    task.cancel()
    await asyncio.wait([task])
    return ended


async def visit(hub: Hub, *channels: str) -> None:
    """Enter, wait for nothing, leave."""
    async with hub.subscribe(*channels, patterns="p*"):
        pass


async def check_it_works(hub: Hub) -> None:
    async with hub.subscribe("a", "fresh", patterns="p*") as subscription:
        for channel in ("a", "fresh", "p1"):
            assert await hub.publish(channel, channel) == 1
        assert await data(subscription, 3) == [b"a", b"fresh", b"p1"]


async def test_the_first_subscriber_is_cancelled_at_every_step(backend: str) -> None:
    for steps in range(STEPS):
        async with hub_on(backend) as hub:
            ended = await cancelled_after(steps, visit(hub, "a", "b"))
            assert "0 members" in repr(hub)
            if steps % 5 == 0 or ended:
                await check_it_works(hub)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if ended:
            return
    raise AssertionError("it never ended by itself")


async def test_a_later_subscriber_is_cancelled_at_every_step(hub: Hub) -> None:
    async with hub.subscribe("a", maxsize=10_000) as other:
        for steps in range(STEPS):
            ended = await cancelled_after(steps, visit(hub, "a", "b"))
            await hub.publish("a", str(steps))
            assert await data(other, 1) == [str(steps).encode()], "the other is not disturbed"
            if ended:
                break
        else:
            raise AssertionError("it never ended by itself")
    await check_it_works(hub)
    async with hub.subscribe("barrier"):
        assert await hub.publish("a", "x") == await hub.publish("b", "x") == 0


@pytest.mark.parametrize("survivor", [0, 1])
async def test_one_of_two_first_subscribers_is_cancelled_at_every_step(redis_url: str, survivor: int) -> None:
    for steps in range(STEPS):
        async with hub_on(redis_url) as hub:

            async def stay(hub: Hub = hub) -> Any:
                async with hub.subscribe("a") as subscription:
                    await hub.publish("a", "x")
                    return await data(subscription, 1)

            tasks = [asyncio.create_task(stay()), asyncio.create_task(stay())]
            ended = await cancelled_after(steps, tasks[1 - survivor])
            assert await tasks[survivor] == [b"x"]
        if ended:
            return
    raise AssertionError("it never ended by itself")


async def test_a_slow_connection_is_cancelled_at_every_step(redis_url: str) -> None:
    """Each byte arrives in a turn of its own, so that every state between two bytes is seen."""
    async with FaultProxy(redis_url) as proxy:
        proxy.chop(3)
        for steps in range(0, STEPS, 3):
            async with hub_on(proxy.url) as hub:
                ended = await cancelled_after(steps, visit(hub, "a"))
                assert "0 members" in repr(hub)
            if ended:
                return
    raise AssertionError("it never ended by itself")


async def test_closing_the_hub_is_cancelled_at_every_step(backend: str) -> None:
    for steps in range(STEPS):
        async with hub_on(backend) as hub, hub.subscribe("a"):
            hub.listen("a", print)
            ended = await cancelled_after(steps, hub.aclose())
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if ended:
            return
    raise AssertionError("it never ended by itself")
