"""Callbacks, on every kind of store."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Event, Gap, Message
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.testing import FaultProxy
from tests.pubsub.conftest import eventually, hub_on, quiet_manager, within


async def test_plain_and_async_callbacks_get_each_event_in_order(hub: Hub) -> None:
    plain: list[Event] = []
    slow: list[Event] = []

    async def callback(event: Event) -> None:
        await asyncio.sleep(0)
        slow.append(event)

    one, two = hub.listen("a", plain.append), hub.listen(("a", "b"), callback, patterns="p*", json=True)
    await one.ready()
    await two.ready()
    assert one.live
    assert two.live
    for number in range(20):
        await hub.publish("a", str(number))
    await hub.publish("p1", "20")
    await eventually(lambda: (len(plain), len(slow)) == (20, 21))
    assert plain == [Message("a", str(number).encode()) for number in range(20)]
    assert slow == [*[Message("a", number) for number in range(20)], Message("p1", 20, "p*")]
    await one.aclose()
    await hub.publish("a", "21")
    await eventually(lambda: len(slow) == 22)
    assert len(plain) == 20
    await two.aclose()
    await two.aclose()
    assert not two.live


async def test_a_callback_that_fails_is_logged_and_stops_nobody(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    failed: list[Event] = []
    fine: list[Event] = []

    def fail(event: Event) -> None:
        failed.append(event)
        raise LookupError("on purpose")

    async def fail_later(event: Event) -> None:
        await asyncio.sleep(0)
        fail(event)

    for callback in (fail, fail_later, fine.append):
        await hub.listen("a", callback).ready()
    for _ in range(3):
        await hub.publish("a", "x")
    await eventually(lambda: (len(failed), len(fine)) == (6, 3))
    assert len(caplog.records) == 6
    assert all("fail" in message for message in caplog.messages)


async def test_a_slow_callback_delays_nobody_else_and_overflows_alone(hub: Hub) -> None:
    gate = asyncio.Event()
    slow: list[Event] = []
    fast: list[Event] = []

    async def wait(event: Event) -> None:
        slow.append(event)
        await gate.wait()

    for listener in (hub.listen("a", wait, maxsize=2), hub.listen("a", fast.append)):
        await listener.ready()
    for number in range(6):
        await hub.publish("a", str(number))
        await eventually(lambda number=number: len(fast) == number + 1)
    gate.set()
    await eventually(lambda: len(slow) == 4)
    assert slow == [Message("a", b"0"), Gap("overflow", 3), Message("a", b"4"), Message("a", b"5")]


async def test_closing_waits_for_a_callback_that_runs_and_calls_no_other(hub: Hub) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    done: list[Event] = []

    async def callback(event: Event) -> None:
        begun.set()
        await gate.wait()
        done.append(event)

    listener = hub.listen("a", callback)
    await listener.ready()
    await hub.publish("a", "0")
    await hub.publish("a", "1")
    await within(begun.wait())
    closing = asyncio.create_task(listener.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    gate.set()
    await within(closing)
    assert done == [Message("a", b"0")]


@pytest.mark.parametrize("close", ["listener", "hub", "manager"])
async def test_a_callback_that_takes_too_long_is_cancelled(backend: str, close: str) -> None:
    manager = quiet_manager(backend, timeout=0.4)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def callback(event: Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    listener = manager.pubsub.listen("a", callback)
    await listener.ready()
    await manager.pubsub.publish("a", "x")
    await within(begun.wait())
    await within({"listener": listener, "hub": manager.pubsub, "manager": manager}[close].aclose())
    assert cancelled.is_set()
    await manager.aclose()


@pytest.mark.parametrize("close", ["listener", "hub", "manager"])
async def test_a_callback_may_close_what_called_it(manager: RedisManager, close: str) -> None:
    closed = asyncio.Event()
    calls: list[Event] = []

    async def callback(event: Event) -> None:
        calls.append(event)
        targets: dict[str, Any] = {"listener": listener, "hub": manager.pubsub, "manager": manager}
        await targets[close].aclose()
        closed.set()

    listener = manager.pubsub.listen("a", callback)
    await listener.ready()
    twice = "redis.call('PUBLISH', 'a', 'x') redis.call('PUBLISH', 'a', 'x')"
    await asyncio.gather(manager.execute("EVAL", twice, 0), return_exceptions=True)  # closed under it, perhaps
    await within(closed.wait())
    await within(asyncio.wait([listener.task]))
    assert len(calls) == 1


async def test_closing_may_be_cancelled_and_still_ends_the_callback(hub: Hub) -> None:
    begun = asyncio.Event()

    async def callback(event: Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    listener = hub.listen("a", callback)
    await listener.ready()
    await hub.publish("a", "x")
    await within(begun.wait())
    closing = asyncio.create_task(listener.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await within(asyncio.wait([listener.task]))


async def test_listening_begins_while_redis_is_away_and_goes_on_when_it_is_back(redis_url: str) -> None:
    got: list[Event] = []
    async with FaultProxy(redis_url) as proxy:
        proxy.refuse()
        async with hub_on(proxy.url, timeout=0.5) as hub:
            listener = hub.listen("a", got.append)
            with pytest.raises(RedisUnavailable):
                await listener.ready()
            assert not listener.live
            proxy.heal()
            await eventually(lambda: listener.live)
            await hub.publish("a", "x")
            await eventually(lambda: len(got) == 2)
            assert got == [Gap("reconnected"), Message("a", b"x")], (
                "who was told that it is away is told that it is not"
            )
            proxy.reset_all()
            await eventually(lambda: len(got) == 3)
            assert got[2] == Gap("reconnected")


async def test_a_closed_listener_is_forgotten(hub: Hub) -> None:
    handle = hub.listen("a", lambda event: None)
    await handle.ready()
    await handle.aclose()
    await asyncio.sleep(0)
    gone = weakref.ref(handle)
    del handle
    gc.collect()
    assert gone() is None


async def test_a_handle_says_what_it_calls(hub: Hub) -> None:
    def on_order(event: Event) -> None: ...

    listener = hub.listen("orders", on_order)
    assert "on_order on <Subscription to orders" in repr(listener)
    await listener.aclose()
    with pytest.raises(RedisUnavailable, match="ended"):
        await listener.ready()
