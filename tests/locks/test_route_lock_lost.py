"""A lock that is lost while its request is worked on: the handler is cancelled and nothing ends as if all were well."""

import asyncio
import threading
from typing import Any

import anyio
import pytest
from starlette.concurrency import run_in_threadpool

from asgi_redis_guard import Answer, LockLost, LockNotOwnedError, RedisManager, ResponseAborted, Wait
from asgi_redis_guard.core.steps import PASS
from asgi_redis_guard.locks.guard import RouteLock
from tests.drive import App
from tests.guards import Does
from tests.locks.work import Work, held, seize, stack
from tests.middleware.calls import Call, TestRedis, settled, websocket
from tests.redis.tools import PATIENCE, eventually


class Event:
    """Something to wait for, as guards do."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.waiting = asyncio.Event()

    async def wait(self) -> None:
        self.waiting.set()
        await self.event.wait()


async def test_before_the_head_the_handler_is_cancelled_and_the_client_told_to_retry(manager: RedisManager) -> None:
    work = Work()
    call = Call(stack(work, manager, RouteLock("x", ttl=1))).start()
    await work.runs(1)
    await seize(manager)
    await call.task
    headers = dict(call.headers)
    assert (call.status, headers[b"retry-after"], headers[b"content-type"]) == (503, b"1", b"application/problem+json")
    assert work.ended == [asyncio.CancelledError]
    assert work.lock.lost.is_set()
    assert (work.lock.remaining(), await held(manager)) == (0, 1), "the other one's"


async def test_after_the_head_the_connection_is_cut_off(manager: RedisManager) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await work(scope, receive, send)

    work = Work()
    call = Call(stack(app, manager, RouteLock("x", ttl=1))).start()
    await work.runs(1)
    await manager.execute("FLUSHALL")
    with pytest.raises(ResponseAborted):
        await call.task
    assert call.kinds == ["http.response.start", "http.response.body"]
    assert call.sent[-1]["more_body"], "never a clean end"
    assert work.ended == [asyncio.CancelledError]


async def test_a_websocket_is_cut_off(manager: RedisManager) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await work(scope, receive, send)

    work = Work()
    call = Call(stack(app, manager, RouteLock("x", ttl=1)), websocket()).start()
    await work.runs(1)
    await seize(manager)
    with pytest.raises(ResponseAborted):
        await call.task
    assert call.kinds == ["websocket.accept"]


async def test_a_semaphore_s_place_that_is_lost_is_told_too(manager: RedisManager) -> None:
    work = Work()
    call = Call(stack(work, manager, RouteLock("x", permits=3, ttl=1))).start()
    await work.runs(1)
    await manager.execute("FLUSHALL")
    await call.task
    assert (call.status, work.ended) == (503, [asyncio.CancelledError])


async def test_where_one_of_several_is_lost_the_others_are_given_back(manager: RedisManager) -> None:
    work = Work()
    call = Call(stack(work, manager, RouteLock(["x", "y"], ttl=1))).start()
    await work.runs(1)
    await manager.execute("DEL", (await manager.execute("KEYS", "guard:k:*"))[0])
    await call.task
    assert (call.status, await held(manager)) == (503, 0)


async def test_while_redis_is_away_for_longer_than_the_lease_it_counts_as_lost(memory: TestRedis) -> None:
    work = Work()
    call = Call(stack(work, memory, RouteLock("x", ttl=1))).start()
    await work.runs(1)
    memory.withhold()
    await call.task
    assert (call.status, work.ended) == (503, [asyncio.CancelledError])
    memory.give()
    assert await held(memory) == 0


async def test_a_lock_is_renewed_as_long_as_its_request_runs(manager: RedisManager) -> None:
    work = Work()
    call = Call(stack(work, manager, RouteLock("x", ttl=1))).start()
    await work.runs(1)
    (key,) = await manager.execute("KEYS", "guard:k:*")
    renewals, before = 0, await manager.execute("PTTL", key)
    async with asyncio.timeout(PATIENCE):
        while renewals < 3:
            left = await manager.execute("PTTL", key)
            renewals += left > before
            before = left
            await asyncio.sleep(0.005)
    work.open.set()
    await call.task
    assert call.status == 200


async def test_a_handler_that_swallows_its_cancellation_sends_nothing_more(manager: RedisManager) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await work(scope, receive, send)
        except asyncio.CancelledError:
            await App(body=b"as if nothing were")(scope, receive, send)

    work = Work()
    call = Call(stack(app, manager, RouteLock("x", ttl=1))).start()
    await work.runs(1)
    await seize(manager)
    await asyncio.wait([call.task])
    assert call.task.exception() is None
    assert not call.task.cancelled()


async def test_a_lock_that_is_lost_while_guards_behind_wait_starts_no_handler(memory: TestRedis) -> None:
    what, app = Event(), App()

    def admit(exchange: Any) -> Any:
        yield Wait(what, PATIENCE)
        return PASS

    call = Call(stack(app, memory, RouteLock("x", ttl=1), Does(admit))).start()
    await what.waiting.wait()
    await seize(memory)
    await eventually(lambda: not len(memory.leases))
    what.event.set()
    await call.task
    assert (call.status, app.scopes) == (503, [])


async def test_a_reply_that_comes_after_the_lease_would_be_over_is_no_lock(memory: TestRedis) -> None:
    app = App()
    memory.withhold()
    call = Call(stack(app, memory, RouteLock("x", ttl=0.2))).start()
    await memory.asked.wait()
    await asyncio.sleep(0.25)
    memory.give()
    await call.task
    assert (call.status, app.scopes) == (503, [])
    assert await held(memory) == 0


async def test_a_handler_in_a_thread_is_told(manager: RedisManager) -> None:
    told = threading.Event()

    def works(lock: Any) -> None:
        anyio.from_thread.run(lock.extend, 0.1)
        started.set()
        while not lock.lost.is_set():
            told.wait(0.01)
        told.set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await run_in_threadpool(works, scope["lock"])

    started = threading.Event()
    call = Call(stack(app, manager, RouteLock("x", ttl=1))).start()
    await asyncio.to_thread(started.wait, PATIENCE)
    await seize(manager)
    await call.task
    assert call.status == 503
    assert await asyncio.to_thread(told.wait, PATIENCE)


async def test_what_is_over_cannot_be_held_for_longer(manager: RedisManager) -> None:
    work = Work()
    call = Call(stack(work, manager, RouteLock("x", ttl=30))).start()
    await work.runs(1)
    work.open.set()
    await call.task
    await settled(manager)
    with pytest.raises(LockNotOwnedError) as told:
        await work.lock.extend(5)
    assert type(told.value) is LockNotOwnedError


async def test_who_would_hold_it_for_longer_and_has_lost_it_is_told_at_once(manager: RedisManager) -> None:
    work = Work()
    call = Call(stack(work, manager, RouteLock("x", ttl=30))).start()
    await work.runs(1)
    await seize(manager)
    with pytest.raises(LockLost):
        await work.lock.extend(5)
    assert work.lock.lost.is_set()
    await call.task
    assert call.status == 503


async def test_the_app_may_word_the_answer_and_where_that_fails_it_is_ours(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    def words(exchange: Any, answer: Answer) -> Answer:
        if exchange.path == "/fails":
            raise RuntimeError("boom")
        return Answer(500, [], b"own", reason=answer.reason)

    for path, told in (("/", (500, b"own")), ("/fails", (503, None))):
        work = Work()
        app = stack(work, memory, RouteLock("x", ttl=1, on_refused=words))
        call = Call(app, {**Call(app).scope, "path": path}).start()
        await work.runs(1)
        await seize(memory)
        await call.task
        assert (call.status, call.body if told[1] else None) == told
        await memory.execute("FLUSHALL")
    assert "failed" in caplog.text
