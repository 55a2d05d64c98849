"""Whatever ends a request gives its lock back, and nothing else does."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import Answer, Ask, RedisManager
from asgi_redis_guard.locks.guard import RouteLock
from tests.drive import App, get, handshake
from tests.guards import Does, answering, asking, count
from tests.locks.work import Work, held, stack
from tests.middleware.calls import GONE, Call, TestRedis, responding, settled, websocket
from tests.ratelimit.gates import fails, leaves
from tests.redis.tools import PATIENCE


@pytest.mark.parametrize("then", [responding(b"a", b"b"), responding(status=503), fails, leaves])
@pytest.mark.parametrize("permits", [None, 1])
async def test_however_the_app_ends_its_lock_is_free_again(manager: RedisManager, then: Any, permits: Any) -> None:
    work = Work(then)
    call = Call(stack(work, manager, RouteLock("x", permits=permits))).start()
    await work.runs(1)
    assert await held(manager) == 1
    call.feed(GONE)
    work.open.set()
    await asyncio.wait([call.task])
    call.task.exception()
    assert await held(manager) == 0


async def test_a_cancelled_request_gives_its_lock_back_and_tells_who_still_runs(manager: RedisManager) -> None:
    work = Work()
    call = Call(stack(work, manager, RouteLock("x"))).start()
    await work.runs(1)
    call.task.cancel()
    await asyncio.wait([call.task])
    assert call.task.cancelled()
    assert work.lock.lost.is_set(), "a thread of it may still run"
    assert await held(manager) == 0


@pytest.mark.parametrize("keys", [["x"], ["x", "y"]])
async def test_a_request_that_is_cancelled_while_its_round_is_on_its_way_leaves_no_lock(
    memory: TestRedis, keys: list[str]
) -> None:
    memory.withhold()
    call = Call(stack(App(), memory, RouteLock(keys))).start()
    await memory.asked.wait()
    assert len(await memory.execute("KEYS", "guard:k:*")) == len(keys), "it has been taken"
    call.task.cancel()
    await asyncio.wait([call.task])
    memory.give()
    assert await held(memory) == 0
    assert len(memory.leases) == 0


async def test_what_a_guard_behind_refuses_gives_its_lock_back(manager: RedisManager) -> None:
    refusal = Answer(403, [], b"no", reason="no")
    for behind in (answering(refusal), asking(count("stops", stopping=True))):
        assert (await get(stack(App(), manager, RouteLock("x"), behind))).status in (403, 429)
        assert await held(manager) == 0
        assert len(manager.leases) == 0


async def test_what_a_guard_in_front_refuses_after_all_gives_its_lock_back(memory: TestRedis) -> None:
    def admit(exchange: Any) -> Any:
        yield Ask([count("outer")])
        return Answer(403, [], b"no", reason="no")

    assert (await get(stack(App(), memory, Does(admit), RouteLock("x")))).status == 403
    assert memory.rounds[0] == ["test.count", "locks.acquire"]
    assert await held(memory) == 0


async def test_what_a_guard_in_front_refuses_after_all_does_not_wait_for_a_lock(memory: TestRedis) -> None:
    def admit(exchange: Any) -> Any:
        yield Ask([count("outer")])
        return Answer(403, [], b"no", reason="no")

    lock, work = RouteLock("x", wait=PATIENCE), Work()
    holder = Call(stack(work, memory, lock)).start()
    await work.runs(1)
    assert (await get(stack(App(), memory, Does(admit), lock))).status == 403
    assert await held(memory) == 1
    work.open.set()
    await holder.task
    assert (await held(memory), len(memory.flights)) == (0, 0)


async def test_a_stream_holds_its_lock_until_the_last_byte(manager: RedisManager) -> None:
    more, sent, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"b"})
        sent.set()
        await done.wait()

    call = Call(stack(app, manager, RouteLock("x"))).start()
    await call.sees("http.response.body")
    assert await held(manager) == 1
    more.set()
    await sent.wait()
    assert await held(manager) == 0, "what the app does after its last byte is not a request"
    done.set()
    await call.task


async def test_a_client_that_leaves_a_stream_gives_its_lock_back(manager: RedisManager) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    call = Call(stack(app, manager, RouteLock("x"))).start()
    await call.sees("http.response.body")
    assert await held(manager) == 1
    call.feed(GONE)
    await call.task
    assert await held(manager) == 0


async def test_a_websocket_holds_its_lock_until_it_is_closed(manager: RedisManager) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    guarded = stack(app, manager, RouteLock("x"))
    call = Call(guarded, websocket()).start()
    await call.sees("websocket.accept")
    for denial in (True, False):
        refused = await handshake(guarded, denial=denial)
        assert refused.status == (409 if denial else 403)
        assert bool(refused.all("retry-after")) == denial
    call.feed({"type": "websocket.disconnect", "code": 1001})
    await call.task
    assert await held(manager) == 0
    assert (await handshake(guarded)).status == 101


async def test_a_handshake_that_is_refused_by_others_gives_its_lock_back(manager: RedisManager) -> None:
    refusal = Answer(403, [], b"no", reason="no")

    async def closes(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})

    for app in (stack(App(), manager, RouteLock("x"), answering(refusal)), stack(closes, manager, RouteLock("x"))):
        assert (await handshake(app)).status == 403
        assert await held(manager) == 0


async def test_one_who_gives_back_late_takes_nothing_from_the_next_holder(manager: RedisManager) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("x"))
    first = Call(app).start()
    await work.runs(1)
    await manager.execute("DEL", *await manager.execute("KEYS", "guard:k:*"))
    second = Call(app).start()
    await work.runs(2)
    first.task.cancel()
    await asyncio.wait([first.task])
    assert await held(manager) == 1, "the other one's"
    work.open.set()
    await second.task
    assert await held(manager) == 0


async def test_nothing_is_left_of_requests_that_have_ended(memory: TestRedis) -> None:
    app = stack(App(), memory, RouteLock(["x", "y"]))
    for _ in range(3):
        await get(app)
        await settled(memory)
    assert (len(memory.leases), len(memory.links._tasks)) == (0, 0)
    assert sorted(await memory.execute("KEYS", "*")) == sorted(await memory.execute("KEYS", "guard:kf:*"))
