"""Who leaves while he stands in line for a lock is out of it: his request does not run, and nobody waits behind it."""

import asyncio
from typing import Any

import pytest
from fastapi import Body, FastAPI

from asgi_redis_guard import GuardMiddleware, RedisManager, RouteGuards, locked
from asgi_redis_guard.core.asgi import Message
from asgi_redis_guard.idempotency.guard import Idempotency
from asgi_redis_guard.locks.guard import RouteLock
from tests.idempotency.shop import Shop, posting
from tests.locks.work import Work, held, stack
from tests.middleware.calls import CONNECT, EMPTY, GONE, Call, http, settled, websocket
from tests.redis.tools import PATIENCE, within

LEFT: Message = {"type": "websocket.disconnect", "code": 1006}


@pytest.mark.parametrize(
    ("scope", "messages"),
    [
        (http(), [EMPTY, GONE]),
        (http(method="POST"), [{"type": "http.request", "body": b"half", "more_body": True}, GONE]),
        (websocket(), [CONNECT, LEFT]),
    ],
)
async def test_a_request_whose_client_has_left_leaves_the_line(
    manager: RedisManager, scope: Any, messages: list[Message]
) -> None:
    work = Work()
    app = stack(work, manager, RouteLock("x", wait=PATIENCE))
    first = Call(app).start()
    await work.runs(1)
    gone = [Call(app, scope, *messages).start() for _ in range(20)]
    stays = Call(app).start()
    await within(asyncio.wait([call.task for call in gone]))
    assert [call.sent for call in gone] == [[]] * 20
    work.open.set()
    await within(asyncio.gather(first.task, stays.task))
    assert (stays.status, len(work.locks)) == (200, 2)
    assert await held(manager) == 0


async def test_a_request_that_waited_gets_all_of_its_body(manager: RedisManager) -> None:
    bodies: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        bodies.append(body)

    work = Work(app)
    guarded = stack(work, manager, RouteLock("x", wait=PATIENCE))
    first = Call(guarded).start()
    await work.runs(1)
    parts = [{"type": "http.request", "body": b"%d" % n * 9_000, "more_body": n < 9} for n in range(10)]
    second = Call(guarded, http(method="POST"), *parts).start()
    await settled(manager)
    work.open.set()
    await within(asyncio.gather(first.task, second.task))
    assert bodies == [b"", b"".join(part["body"] for part in parts)]


async def test_on_a_route_too(manager: RedisManager) -> None:
    runs: list[int] = []
    running, go_on = asyncio.Event(), asyncio.Event()
    api = FastAPI()

    @api.post("/")
    @locked("x", wait=PATIENCE)
    async def work(number: int = Body(embed=True)) -> int:
        runs.append(number)
        running.set()
        await go_on.wait()
        return number

    def post(number: int, *more: Message) -> Call:
        body = b'{"number": %d}' % number
        scope = http(method="POST", headers=[(b"content-type", b"application/json")])
        return Call(app, scope, {"type": "http.request", "body": body, "more_body": False}, *more).start()

    app = GuardMiddleware(api, [RouteGuards()], redis=manager)
    first = post(1)
    await within(running.wait())
    gone = [post(2, GONE) for _ in range(5)]
    last = post(3)
    await within(asyncio.wait([call.task for call in gone]))
    assert [call.sent for call in gone] == [[]] * 5
    go_on.set()
    await within(asyncio.gather(first.task, last.task))
    assert (first.status, last.status, runs) == (200, 200, [1, 3])


async def test_who_leaves_while_the_same_request_runs_does_not_disturb_it(manager: RedisManager) -> None:
    shop = Shop()
    app = GuardMiddleware(shop, [Idempotency(wait=PATIENCE, key="address")], redis=manager)
    shop.close()
    first = posting(app)
    await shop.runs(1)
    second, third = posting(app), posting(app)
    second.feed(GONE)
    await within(second.task)
    assert second.sent == []
    shop.open.set()
    await within(asyncio.gather(first.task, third.task))
    assert (first.body, third.body, len(shop.charges)) == (b"charge 1", b"charge 1", 1)
