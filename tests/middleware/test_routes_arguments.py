"""`middleware/deciding.py`: guards of a route see what its function is called with, if one of them looks at it."""

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asgi_redis_guard import Exchange, GuardMiddleware
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.steps import PASS, Admission
from asgi_redis_guard.middleware import deciding
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.guards import Does
from tests.middleware.calls import Call, TestRedis, responding
from tests.middleware.site import routing


class Looks(Does):
    """Keeps the arguments and the name of the route that it sees."""

    def __init__(self, reads_arguments: bool = True) -> None:
        self.found: list[Any] = []
        self.routes: list[str] = []
        super().__init__(self.look, name="looks", reads_arguments=reads_arguments)

    def look(self, exchange: Exchange) -> Admission:
        self.found.append(dict(exchange.arguments))
        self.routes.append(exchange.route)
        return PASS
        yield


async def item(number: int, words: str = "none", *rest: int, **more: str) -> bytes:
    """A route function."""
    return f"{number} {words} {rest} {more}".encode()


def item_in_thread(number: int, words: str = "none", *rest: int, **more: str) -> bytes:
    return f"{number} {words} {rest} {more}".encode()


@pytest.mark.parametrize("function", [item, item_in_thread])
async def test_arguments_are_known_by_their_parameters_with_defaults_and_those_of_no_parameter(
    redis: TestRedis, function: Any
) -> None:
    looks = Looks()
    wrapped = guarded(function, [looks, Looks(False)])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await wrapped(7)
        body = await wrapped(8, "two", 3, word="four")
        await responding(body)(scope, receive, send)

    call = await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()
    assert call.body == b"8 two (3,) {'word': 'four'}"
    assert looks.found == [
        {"number": 7, "words": "none", "rest": ()},
        {"number": 8, "words": "two", "rest": (3,), "word": "four"},
    ]
    assert looks.routes == [f"{__name__}.{function.__name__}"] * 2


async def test_arguments_of_generator_functions_are_known_too(redis: TestRedis) -> None:
    looks = Looks()

    async def numbers(first: int) -> AsyncIterator[int]:
        yield first

    wrapped = guarded(numbers, [looks])

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async for number in wrapped(first=7):
            await responding(b"%d" % number)(scope, receive, send)

    assert (await Call(GuardMiddleware(app, [RouteGuards()], redis=redis)).run()).body == b"7"
    assert looks.found == [{"first": 7}]


async def test_no_arguments_are_looked_at_where_no_guard_does(
    redis: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        pytest.fail("they were")

    monkeypatch.setattr(deciding, "by_name", never)
    looks = Looks(False)
    await Call(GuardMiddleware(routing(guarded(item, [looks]), 7), [RouteGuards()], redis=redis)).run()
    assert looks.found == [{}]


async def test_a_call_that_the_function_would_not_take_fails_as_that_does(redis: TestRedis) -> None:
    looks = Looks()
    stack = GuardMiddleware(routing(guarded(item, [looks]), 7, "words", {}), [RouteGuards()], redis=redis)
    await Call(stack).run()
    with pytest.raises(TypeError, match="number"):
        await Call(GuardMiddleware(routing(guarded(item, [looks])), [RouteGuards()], redis=redis)).run()
    assert len(looks.found) == 1
