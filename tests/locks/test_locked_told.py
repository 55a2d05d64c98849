"""What those are told who have made a mistake with `@locked` and keys: which option, which part, and what to do."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware, LockBusy, RouteGuards
from asgi_redis_guard.idempotency.decorator import idempotent
from asgi_redis_guard.locks.decorator import locked
from asgi_redis_guard.locks.guard import RouteLock
from asgi_redis_guard.middleware.routed import DECLARED
from tests.drive import App, call, get, http_scope
from tests.locks.work import held, stack
from tests.middleware.calls import TestRedis
from tests.middleware.site import routing


@pytest.fixture(autouse=True)
def decorated_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)
    monkeypatch.setattr(DECLARED, "reads_body", 0)


async def test_a_request_that_does_not_tell_the_key_is_told_which_part_it_lacks(memory: TestRedis) -> None:
    lock = RouteLock(["{path}:{header:x-tenant|json:tenant}", "{query:page}:{user}"])
    refused = await call(stack(App(), memory, lock), http_scope(method="POST"), b"{}")
    assert refused.json()["detail"].endswith("; needed: header:x-tenant|json:tenant, query:page.")
    scope = http_scope(method="POST", query_string=b"page=1")
    refused = await call(stack(App(), memory, lock), scope, b'{"tenant": "a", "tenant": "b"}')
    assert (refused.status, refused.json()["detail"].endswith("; needed: header:x-tenant|json:tenant.")) == (400, True)


async def test_a_name_in_a_key_that_nothing_has_is_told_once_to_the_app(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    @locked("order:{oder_id}:{order_id}")
    async def ship(order_id: str | None) -> None: ...

    app = GuardMiddleware(routing(lambda: ship(None)), [RouteGuards()], redis=memory)
    for _ in range(2):
        refused = await get(app)
        assert (refused.status, "needed: oder_id, order_id." in refused.json()["detail"]) == (400, True)
    (told,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "has a parameter called oder_id;" in told
    assert "order:{oder_id}" in told


async def test_a_key_with_a_part_of_the_path_in_front_of_an_app_is_told_to_belong_on_the_route(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await get(stack(App(), memory, RouteLock("order:{order_id}")))).status == 400
    assert "such a key is for @locked on the route" in caplog.text


async def test_a_route_without_a_middleware_around_its_app_is_told_to_have_one() -> None:
    @locked("order:{order_id}")
    async def ship(request: object) -> None: ...

    with pytest.raises(ConfigurationError, match=r"@locked: .* wants order_id; .* guards=\[RouteGuards\(\)\]"):
        await ship(None)


async def test_a_call_that_finds_others_at_work_is_told_which_function_it_was(memory: TestRedis) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    @locked("import:{param:user}", redis=memory, ttl=20)
    async def load(user: str) -> str:
        begun.set()
        await may_end.wait()
        return user

    first = asyncio.create_task(load("ann"))
    await begun.wait()
    with pytest.raises(LockBusy, match=r"test_locked_told\..*load: its key is held by others") as busy:
        await load("ann")
    assert 0 < busy.value.retry_after <= 20
    may_end.set()
    assert await first == "ann"
    assert await held(memory) == 0


@pytest.mark.parametrize("redis", [object(), b"redis://localhost", 6379])
def test_what_is_no_redis_is_told_when_the_function_is_decorated(redis: Any) -> None:
    async def load() -> None: ...

    with pytest.raises(ConfigurationError, match=f"redis: a {type(redis).__name__} given"):
        locked("x", redis=redis)(load)
    with pytest.raises(ConfigurationError, match=f"redis: a {type(redis).__name__} given"):
        idempotent("x", redis=redis)(load)


@pytest.mark.parametrize("options", [{"key": "charge:{order}"}, {"template": "charge:{order}"}, {"redis": "memory://"}])
def test_a_key_of_arguments_that_does_not_stand_first_is_told_to(options: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"{next(iter(options))}: .*@idempotent\('charge:{{order_id}}', …\)"):
        idempotent(**options)


def test_a_lock_without_a_key_is_told_what_one_looks_like() -> None:
    with pytest.raises(ConfigurationError, match=r"key \(GUARD_LOCK_KEY\): none given; .*import:{user}"):
        RouteLock([])


def test_what_is_decorated_keeps_its_kind_at_run_time_and_for_type_checkers() -> None:
    @idempotent()
    @locked("x")
    async def load(number: int) -> str:
        return str(number)

    @locked("x")
    def load_in_thread(number: int) -> str:
        return str(number)

    @locked("x")
    async def items(number: int) -> AsyncIterator[str]:
        yield str(number)

    decorated: list[Callable[[int], Coroutine[object, None, str]]] = [load, load_in_thread]
    streaming: Callable[[int], AsyncIterator[str]] = items
    assert [inspect.iscoroutinefunction(function) for function in (*decorated, streaming)] == [True, True, False]
