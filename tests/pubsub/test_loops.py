"""One hub for each loop; loops that end, threads, forks."""

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Callable

import pytest

from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.subscription import Subscription
from asgi_redis_guard.redis.manager import RedisManager
from tests.pubsub.conftest import PATIENCE, data, quiet_manager, take, within


async def visit(manager: RedisManager) -> Hub:
    async with manager.pubsub.subscribe("a") as subscription:
        await manager.pubsub.publish("a", "x")
        assert await data(subscription, 1) == [b"x"]
    return manager.pubsub


def loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    try:
        import uvloop
    except ImportError:  # not on every system
        return {"asyncio": None}
    return {"asyncio": None, "uvloop": uvloop.new_event_loop}


@pytest.mark.parametrize("name", loop_factories())
def test_each_loop_has_a_hub_of_its_own(backend: str, name: str) -> None:
    factory = loop_factories()[name]
    manager = quiet_manager(backend)

    async def use_and_close() -> Hub:
        hub = await visit(manager)
        await manager.aclose()
        return hub

    with asyncio.Runner(loop_factory=factory) as runner:
        first = runner.run(use_and_close())
    with asyncio.Runner(loop_factory=factory) as runner:
        second = runner.run(use_and_close())
    assert first is not second


def test_a_loop_that_ended_with_a_hub_in_it_does_no_harm(backend: str) -> None:
    manager = quiet_manager(backend)

    async def leave_open() -> Hub:
        hub = await visit(manager)
        await hub.subscribe("a").__aenter__()
        hub.listen("a", print)
        return hub

    async def close(*others: Hub) -> None:
        assert await visit(manager) not in others
        await others[0].aclose()
        await manager.aclose()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the sockets of a loop that was not closed in order
        asyncio.run(close(asyncio.run(leave_open()), asyncio.run(leave_open())))
        gc.collect()


async def test_a_hub_refuses_another_loop(hub: Hub) -> None:
    async def use() -> None:
        for call in (hub.subscribe, lambda name: hub.listen(name, print)):
            with pytest.raises(RuntimeError, match="another event loop"):
                call("a")
        with pytest.raises(RuntimeError, match="another event loop"):
            await hub.aclose()

    await asyncio.to_thread(asyncio.run, use())
    async with hub.subscribe("a"):
        pass


async def test_another_thread_with_a_loop_of_its_own_is_heard(manager: RedisManager) -> None:
    ready, published = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def elsewhere() -> None:
        async with manager.pubsub.subscribe("there") as subscription:
            ready.set()
            (message,) = await take(subscription, 1)
            await manager.pubsub.publish("here", message.data + b" and back")
        await manager.aclose()
        loop.call_soon_threadsafe(published.set)

    thread = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    async with manager.pubsub.subscribe("here") as subscription:
        await asyncio.to_thread(ready.wait, PATIENCE)
        assert await manager.pubsub.publish("there", "there") == 1
        assert await data(subscription, 1) == [b"there and back"]
        await within(published.wait())
    await thread


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_never_touches_the_connection_of_its_parent(redis_url: str) -> None:
    loop = asyncio.new_event_loop()
    manager = quiet_manager(redis_url)

    async def enter() -> tuple[Hub, Subscription]:
        return manager.pubsub, await manager.pubsub.subscribe("a").__aenter__()

    hub, subscription = loop.run_until_complete(enter())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert not hub.connected
            assert not subscription.live
            asyncio.run(visit(manager))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0

    async def use() -> None:
        await hub.publish("a", "still here")
        assert (await data(subscription, 2))[-1] == b"still here", "after what the child published"
        await manager.aclose()

    loop.run_until_complete(use())
    loop.close()
