"""`guarded(…, outside=…)`: what is called where no exchange runs that the guards could refuse."""

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.errors import NoExchange
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.guards import asking, count, passing
from tests.middleware.calls import Call, TestRedis, responding
from tests.middleware.site import hello, routing


def marking(mark: str, made: list[str] | None = None) -> Any:
    """Makes functions whose result carries a mark."""

    def outside(function: Callable[..., Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
        if made is not None:
            made.append(mark)

        @functools.wraps(function)
        async def marked(*args: Any, **kwargs: Any) -> bytes:
            return mark.encode() + await function(*args, **kwargs)

        return marked

    return outside


async def test_outside_of_requests_its_stand_in_is_called_and_within_the_guards_decide(redis: TestRedis) -> None:
    made: list[str] = []
    function = guarded(hello, [asking(count("a"))], outside=marking("out ", made))
    assert await function() == await function() == b"out hello"
    assert (await Call(GuardMiddleware(routing(function), [RouteGuards()], redis=redis)).run()).body == b"hello"
    assert (made, await redis.value("a")) == (["out "], b"1")


async def test_a_plain_function_runs_in_a_thread_there_too() -> None:
    threads: list[int] = []

    def plain(word: bytes, more: bytes = b"") -> bytes:
        threads.append(threading.get_ident())
        return word + more

    function = guarded(plain, [passing()], outside=marking("out "))
    assert inspect.signature(function) == inspect.signature(plain)
    assert await function(b"a", more=b"b") == b"out ab"
    assert threading.get_ident() not in threads


async def test_a_function_that_is_called_after_its_response_is_outside(redis: TestRedis) -> None:
    function = guarded(hello, [asking(count("a"))], outside=marking("out "))
    through, later = asyncio.Event(), []

    async def after() -> None:
        await through.wait()
        later.append(await function())

    tasks = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.ensure_future(after()))
        await responding(await function())(scope, receive, send)

    assert (await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()).body == b"hello"
    through.set()
    await tasks[0]
    assert later == [b"out hello"]


async def test_beside_guards_that_have_nothing_for_it_the_function_is_for_requests_alone() -> None:
    with_one = guarded(hello, [passing(name="a")], outside=marking("a "))
    for function in (
        guarded(with_one, [passing(name="b")]),
        guarded(guarded(hello, [passing(name="b")]), [passing(name="a")], outside=marking("a ")),
    ):
        with pytest.raises(NoExchange):
            await function()
    assert await with_one() == b"a hello"


async def test_two_that_have_something_for_it_are_one_within_the_other() -> None:
    inner = guarded(hello, [passing(name="a")], outside=marking("a "))
    assert await guarded(inner, [passing(name="b")], outside=marking("b "))() == b"b a hello"


async def test_what_is_forced_is_called_always_and_the_guards_of_others_decide_still(redis: TestRedis) -> None:
    limited = guarded(hello, [asking(count("a"))])
    forced = guarded(limited, [asking(count("never"))], outside=marking("out "), forced_outside=True)
    upper = guarded(forced, [asking(count("b"))])
    assert (await Call(GuardMiddleware(routing(upper), [RouteGuards()], redis=redis)).run()).body == b"out hello"
    assert [await redis.value(key) for key in ("a", "b", "never")] == [b"1", b"1", None]
    alone = guarded(hello, [passing()], outside=marking("out "), forced_outside=True)
    assert await alone() == b"out hello"


async def test_generators_are_for_requests_alone() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    def plain() -> Iterator[int]:
        yield 1

    for function in (numbers, plain):
        with pytest.raises(NoExchange):
            guarded(function, [passing()], outside=marking("out "))()
        with pytest.raises(ConfigurationError, match="is a generator"):
            guarded(function, [passing()], outside=marking("out "), forced_outside=True)
