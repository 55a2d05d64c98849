"""Whatever ends a request gives its place in a `ConcurrencyLimit` back."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import (
    Answer,
    Ask,
    RedisManager,
)
from asgi_redis_guard.ratelimit.concurrency import ConcurrencyLimit
from tests.drive import App, get, handshake
from tests.guards import Does, answering, asking, count
from tests.middleware.calls import GONE, Call, TestRedis, responding, websocket
from tests.ratelimit.gates import TOO_MANY, Gate, fails, held, leaves, stack


@pytest.mark.parametrize("then", [responding(b"a", b"b"), responding(status=503), fails, leaves])
async def test_however_the_app_ends_its_place_is_free_again(redis: RedisManager, then: Any) -> None:
    gate = Gate(then)
    call = Call(stack(gate, redis, ConcurrencyLimit(1))).start()
    await gate.runs(1)
    assert await held(redis) == 1
    call.feed(GONE)
    gate.open.set()
    await asyncio.wait([call.task])
    call.task.exception()
    assert await held(redis) == 0
    assert await redis.execute("DBSIZE") == 0


async def test_a_cancelled_request_gives_its_place_back(redis: RedisManager) -> None:
    gate = Gate()
    call = Call(stack(gate, redis, ConcurrencyLimit(1))).start()
    await gate.runs(1)
    call.task.cancel()
    await asyncio.wait([call.task])
    assert call.task.cancelled()
    assert await held(redis) == 0


async def test_a_request_that_is_cancelled_while_its_round_is_on_its_way_gives_its_place_back(
    memory: TestRedis,
) -> None:
    memory.withhold()
    call = Call(stack(App(), memory, ConcurrencyLimit(1))).start()
    await memory.asked.wait()
    (key,) = await memory.execute("KEYS", "guard:c:*")
    assert await memory.execute("ZCARD", key) == 1, "it has been taken"
    call.task.cancel()
    await asyncio.wait([call.task])
    memory.give()
    assert await held(memory) == 0


async def test_what_a_guard_behind_refuses_gives_its_place_back(redis: RedisManager) -> None:
    refusal = Answer(403, [], b"no", reason="no")
    for behind in (answering(refusal), asking(count("stops", stopping=True))):
        response = await get(stack(App(), redis, ConcurrencyLimit(1), behind))
        assert response.status in (403, TOO_MANY)
        assert "ratelimit" in {name.decode() for name, _ in response.headers}
        assert await held(redis) == 0


async def test_what_a_guard_in_front_refuses_after_all_gives_its_place_back(memory: TestRedis) -> None:
    """Its operations have run in the same round, and only what comes back makes the outer guard refuse."""

    def admit(exchange: Any) -> Any:
        yield Ask([count("outer")])
        return Answer(403, [], b"no", reason="no")

    response = await get(stack(App(), memory, Does(admit), ConcurrencyLimit(1)))
    assert response.status == 403
    assert memory.rounds[0] == ["test.count", "ratelimit.concurrency"]
    assert await held(memory) == 0


async def test_a_handshake_that_is_refused_gives_its_place_back(redis: RedisManager) -> None:
    refusal = Answer(403, [], b"no", reason="no")
    for denial in (True, False):
        app = stack(App(), redis, ConcurrencyLimit(1), answering(refusal))
        assert (await handshake(app, denial=denial)).status == 403
        assert await held(redis) == 0


async def test_an_app_that_refuses_a_handshake_gives_its_place_back(redis: RedisManager) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})

    assert (await handshake(stack(app, redis, ConcurrencyLimit(1)))).status == 403
    assert await held(redis) == 0


async def test_a_websocket_holds_its_place_until_it_is_closed(redis: RedisManager) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    app = stack(app, redis, ConcurrencyLimit(1))  # type: ignore[assignment]
    call = Call(app, websocket(client=("203.0.113.7", 1))).start()
    await call.sees("websocket.accept")
    assert (await handshake(app)).status == TOO_MANY
    call.feed({"type": "websocket.disconnect", "code": 1001})
    await call.task
    assert await held(redis) == 0
    assert (await handshake(app)).status == 101


async def test_a_streamed_body_holds_its_place_until_the_last_byte(redis: RedisManager) -> None:
    more, sent, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await more.wait()
        await send({"type": "http.response.body", "body": b"b"})
        sent.set()
        await done.wait()

    call = Call(stack(app, redis, ConcurrencyLimit(1))).start()
    await call.sees("http.response.body")
    assert await held(redis) == 1
    more.set()
    await sent.wait()
    assert await held(redis) == 0, "what the app does after its last byte is not a request"
    done.set()
    await call.task
