"""`@locked`: a guard where a request runs, a lock around the call elsewhere, and the same lock in both."""

import asyncio
import threading
from typing import Any

import pytest

from asgi_redis_guard import (
    PASS,
    ConfigurationError,
    GuardMiddleware,
    LockBusy,
    LockLost,
    RouteGuards,
    Wait,
    guarded,
)
from asgi_redis_guard import RedisManager as Manager
from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.locks.decorator import locked
from asgi_redis_guard.locks.guard import RouteLock
from asgi_redis_guard.middleware.routed import DECLARED
from tests.drive import call, get, http_scope
from tests.guards import Does
from tests.locks.test_route_lock_lost import Event
from tests.locks.work import held, seize
from tests.middleware.calls import Call, TestRedis, settled
from tests.middleware.site import routing
from tests.redis.tools import PATIENCE, eventually


@pytest.fixture(autouse=True)
def decorated_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)
    monkeypatch.setattr(DECLARED, "reads_body", 0)


class Gate:
    """What a function does: it runs until it may go on."""

    def __init__(self) -> None:
        self.started, self.open = asyncio.Event(), asyncio.Event()
        self.running = self.most = self.cancelled = 0

    async def work(self, *_: Any) -> bytes:
        self.running += 1
        self.most = max(self.most, self.running)
        self.started.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return b"done"


async def test_a_function_with_redis_runs_once_at_a_time_for_each_key(manager: Manager) -> None:
    gate = Gate()

    @locked("import:{user_id}", redis=manager)
    async def load(user_id: int, source: str = "a") -> bytes:
        return await gate.work()

    first = asyncio.ensure_future(load(7))
    await gate.started.wait()
    with pytest.raises(LockBusy) as busy:
        await load(user_id=7, source="b")
    assert 0 < busy.value.retry_after <= 30
    other = asyncio.ensure_future(load(8))
    await eventually(lambda: gate.running == 2)
    gate.open.set()
    assert (await first, await other) == (b"done", b"done")
    assert await held(manager) == 0


async def test_calls_may_wait_for_their_turn(manager: Manager) -> None:
    gate = Gate()

    @locked("import", wait=PATIENCE, redis=manager)
    async def load() -> bytes:
        return await gate.work()

    calls = [asyncio.ensure_future(load()) for _ in range(5)]
    await gate.started.wait()
    gate.open.set()
    assert await asyncio.gather(*calls) == [b"done"] * 5
    assert gate.most == 1


@pytest.mark.parametrize("names", [("x",), ("x", "y")])
async def test_a_semaphore_around_calls(manager: Manager, names: tuple[str, ...]) -> None:
    gate = Gate()

    @locked(*names, permits=2, redis=manager)
    async def load() -> bytes:
        return await gate.work()

    calls = [asyncio.ensure_future(load()) for _ in range(2)]
    await eventually(lambda: gate.running == 2)
    with pytest.raises(LockBusy):
        await load()
    gate.open.set()
    await asyncio.gather(*calls)
    assert await held(manager) == 0


async def test_a_call_that_loses_its_lock_is_cancelled(manager: Manager) -> None:
    gate = Gate()

    @locked("import", ttl=1, redis=manager)
    async def load() -> bytes:
        return await gate.work()

    running = asyncio.ensure_future(load())
    await gate.started.wait()
    await seize(manager)
    with pytest.raises(LockLost):
        await running
    assert gate.cancelled == 1


async def test_what_a_function_raises_comes_out_and_its_lock_is_free(manager: Manager) -> None:
    @locked("import", redis=manager)
    async def load() -> None:
        raise LookupError("no such file")

    for _ in range(2):
        with pytest.raises(LookupError):
            await load()
    assert await held(manager) == 0


async def test_a_plain_function_runs_in_a_thread(manager: Manager) -> None:
    @locked("import", redis=manager)
    def load() -> int:
        return threading.get_ident()

    assert await load() != threading.get_ident()


async def test_while_redis_is_away_a_call_fails_or_runs_without(memory: TestRedis) -> None:
    @locked("x", redis=memory)
    async def closed() -> str:
        return "ran"

    @locked("x", redis=memory, on_outage="open")
    async def lax() -> str:
        return "ran"

    @locked("x", redis=memory, on_outage="open")
    async def fails() -> str:
        raise RedisUnavailable("the function's own")

    memory.away = RedisUnavailable("away")
    with pytest.raises(RedisUnavailable, match="away"):
        await closed()
    assert await lax() == "ran"
    memory.away = None
    with pytest.raises(RedisUnavailable, match="own"):
        await fails()


async def test_elsewhere_it_is_the_shared_manager_s_lock_and_the_same_as_in_a_request(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    @locked("item:{number}", "all")
    async def work(number: int) -> bytes:
        return await gate.work()

    monkeypatch.setattr(Manager, "shared", classmethod(lambda cls, *_: memory))
    running = asyncio.ensure_future(work(7))
    await gate.started.wait()
    app = GuardMiddleware(routing(work, 7), [RouteGuards()], redis=memory)
    assert (await get(app)).status == 409
    gate.open.set()
    await running
    gate.open.clear()
    gate.started.clear()
    request = Call(app).start()
    await gate.started.wait()
    with pytest.raises(LockBusy):
        await work(number=7)
    async with asyncio.timeout(PATIENCE):
        assert not await memory.lock("all", wait=0).acquire(), "text alone is the name of a lock like others"
    gate.open.set()
    await request.task
    assert (request.status, await held(memory)) == (200, 0)


async def test_with_redis_it_is_around_the_call_within_requests_too(memory: TestRedis) -> None:
    async with TestRedis(timeout=PATIENCE) as other:

        @locked("x", redis=other)
        async def work() -> bytes:
            assert await held(other) == 1
            return b"done"

        @guarded_by("x")
        async def route() -> bytes:
            return await work()

        app = GuardMiddleware(routing(route), [RouteGuards()], redis=memory)
        assert (await get(app)).body == b"done"
        await settled(other)


def guarded_by(key: str) -> Any:
    """A decorator of routes that is a guard and nothing else."""
    return lambda function: guarded(function, [RouteLock(key)])


async def test_a_field_of_the_body_and_an_argument_make_the_key_of_a_route(memory: TestRedis) -> None:
    gate = Gate()

    @locked("{json:order}:{kind}", wait=0)
    async def route(kind: str) -> bytes:
        return await gate.work()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["body"]
        await routing(route, scope["path"])(scope, receive, send)

    site = GuardMiddleware(app, [RouteGuards()], redis=memory)
    first = asyncio.ensure_future(call(site, http_scope("/a"), b'{"order": 1}'))
    await gate.started.wait()
    assert (await call(site, http_scope("/a"), b'{"order": 1}')).status == 409
    assert (await call(site, http_scope("/a"), b"{}")).status == 400
    others = [
        asyncio.ensure_future(call(site, http_scope(path), body))
        for path, body in (("/b", b'{"order": 1}'), ("/a", b'{"order": 2}'))
    ]
    await eventually(lambda: gate.running == 3)
    gate.open.set()
    assert [response.status for response in await asyncio.gather(first, *others)] == [200] * 3


@pytest.mark.parametrize("in_a_task", [False, True])
async def test_a_function_whose_lock_is_lost_while_guards_behind_wait_does_not_run(
    memory: TestRedis, in_a_task: bool
) -> None:
    what, gate = Event(), Gate()

    def admit(exchange: Any) -> Any:
        yield Wait(what, PATIENCE)
        return PASS

    route: Any = guarded(gate.work, [RouteLock("x", ttl=1), Does(admit)])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inner = routing(route)(scope, receive, send)
        await (asyncio.ensure_future(inner) if in_a_task else inner)

    request = Call(GuardMiddleware(app, [RouteGuards()], redis=memory)).start()
    await what.waiting.wait()
    await seize(memory)
    await eventually(lambda: not len(memory.leases))
    what.event.set()
    await request.task
    assert (request.status, gate.started.is_set()) == (503, False)


async def test_faults_are_told_when_the_function_is_decorated(memory: TestRedis) -> None:
    async def load(number: int) -> None: ...

    async def items(number: int) -> Any:
        yield number

    for keys, options, words in (
        ((), {}, "key"),
        (("x",), {"ttl": 0}, "ttl"),
        (("x",), {"redis": memory, "on_busy": 423}, "on_busy: given together with redis"),
        (("{user}",), {"redis": memory}, "{user}, which only a request has"),
        (("{nobody}",), {"redis": memory}, "nobody"),
    ):
        with pytest.raises(ConfigurationError, match=words.replace("{", r"\{")):
            locked(*keys, **options)(load)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="generator"):
        locked("x", redis=memory)(items)
    with pytest.raises(ConfigurationError, match="same key"):
        locked("x")(locked("x")(load))


async def test_a_key_that_only_a_request_tells_is_an_error_elsewhere(memory: TestRedis) -> None:
    @locked("{user}")
    async def load() -> None: ...

    with pytest.raises(ConfigurationError, match="only a request has"):
        await load()
