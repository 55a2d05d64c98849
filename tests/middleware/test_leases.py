"""`Control.keep`: a lease is kept as long as the exchange lasts, and dropped before it is released."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, Outcome
from asgi_redis_guard.core.responder import Control
from asgi_redis_guard.core.script import Operation
from tests.guards import RELEASE, Ends, passing
from tests.middleware.calls import GONE, Call, TestRedis, responding, websocket


class Keeps(Ends):
    """Keeps a lease, and notes how many are kept when it ends."""

    def __init__(self, redis: TestRedis) -> None:
        super().__init__()
        self.redis = redis
        self.at_the_end: list[int] = []

    def bind(self, control: Control) -> None:
        self.control = control
        self.keep()

    def keep(self) -> None:
        self.control.keep(Operation(RELEASE, (b"lock",), ("mine",)), 30, lambda: None)

    def end(self, outcome: Outcome) -> None:
        super().end(outcome)
        self.at_the_end.append(len(self.redis.leases))


class Halts:
    """An app that waits until it is told to go on, and then ends in one way or another."""

    def __init__(self, redis: TestRedis, then: Any) -> None:
        self.redis, self.then = redis, then
        self.here, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, *asgi: Any) -> None:
        self.kept = len(self.redis.leases)
        self.here.set()
        await self.go_on.wait()
        await self.then(*asgi)


async def fails(*asgi: Any) -> None:
    raise RuntimeError("boom")


async def leaves(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize(
    ("then", "kind"), [(responding(b"a", b"b"), "complete"), (fails, "error"), (leaves, "disconnect")]
)
async def test_a_lease_is_kept_while_the_app_runs_and_no_longer_when_the_end_is_told(
    redis: TestRedis, then: Any, kind: str
) -> None:
    keeps, app = Keeps(redis), Halts(redis, then)
    call = Call(GuardMiddleware(app, [passing(keeps)], redis=redis)).start()
    call.feed(GONE)
    await app.here.wait()
    assert (app.kept, len(redis.leases)) == (1, 1)
    app.go_on.set()
    await asyncio.wait([call.task])
    call.task.exception()
    assert (keeps.kinds, keeps.at_the_end, len(redis.leases)) == ([kind], [0], 0)


async def test_a_cancelled_exchange_keeps_none(redis: TestRedis) -> None:
    keeps, app = Keeps(redis), Halts(redis, fails)
    call = Call(GuardMiddleware(app, [passing(keeps)], redis=redis)).start()
    await app.here.wait()
    call.task.cancel()
    await asyncio.wait([call.task])
    assert (keeps.kinds, keeps.at_the_end, len(redis.leases)) == (["cancelled"], [0], 0)


async def test_a_websocket_keeps_it_until_it_is_closed(redis: TestRedis) -> None:
    keeps = Keeps(redis)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    call = Call(GuardMiddleware(app, [passing(keeps)], redis=redis), websocket()).start()
    await call.sees("websocket.accept")
    assert len(redis.leases) == 1
    call.feed({"type": "websocket.disconnect", "code": 1001})
    await call.task
    assert (keeps.at_the_end, len(redis.leases)) == ([0], 0)


async def test_a_background_task_after_the_last_byte_keeps_none_and_one_that_comes_late_is_not_kept(
    redis: TestRedis,
) -> None:
    keeps = Keeps(redis)
    kept: list[int] = []

    async def after() -> None:
        kept.append(len(redis.leases))
        keeps.keep()
        kept.append(len(redis.leases))

    await Call(GuardMiddleware(responding(after=after), [passing(keeps)], redis=redis)).run()
    assert (kept, keeps.at_the_end) == ([0, 0], [0])


async def test_several_responders_may_keep_several(redis: TestRedis) -> None:
    keeps = [Keeps(redis), Keeps(redis)]
    app = Halts(redis, responding())
    app.go_on.set()
    await Call(GuardMiddleware(app, [passing(keep) for keep in keeps], redis=redis)).run()
    assert (app.kept, [keep.at_the_end for keep in keeps]) == (2, [[0], [0]])
