"""`@rate_limit` on what else frameworks call a route: methods, dependencies, generators, WebSockets, and on none."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.sse import EventSourceResponse
from litestar import Controller, Litestar
from litestar import Request as LitestarRequest
from litestar import get as litestar_get
from quart import Quart, websocket
from quart import request as quart_request
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from asgi_redis_guard import ConfigurationError, Exchange, GuardMiddleware, Pass
from asgi_redis_guard.core.asgi import ASGIApp
from asgi_redis_guard.core.steps import Admission
from asgi_redis_guard.errors import NoExchange
from asgi_redis_guard.middleware.routed import DECLARED
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from asgi_redis_guard.ratelimit.decorator import rate_limit
from tests.frameworks.decorated import starlette
from tests.guards import Does, Lock
from tests.middleware.calls import Call, TestRedis, http, noting
from tests.middleware.calls import websocket as handshake


@pytest.fixture(autouse=True)
def decorated_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)


@pytest.fixture
async def redis() -> AsyncIterator[TestRedis]:
    """An empty store in memory."""
    async with noting() as redis:
        yield redis


def stack(app: Any, redis: TestRedis) -> ASGIApp:
    """Put an engine around `app` that guards nothing by itself."""
    return GuardMiddleware(app, [RouteGuards()], redis=redis)


async def statuses(app: ASGIApp, path: str, number: int = 3) -> list[tuple[int, str]]:
    """Send requests one after the other; return what came back."""
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        responses = [await client.get(path) for _ in range(number)]
    return [(response.status_code, response.text if response.is_success else "") for response in responses]


async def test_methods_of_classes(redis: TestRedis) -> None:
    class Page(HTTPEndpoint):
        @rate_limit("2/hour")
        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse(type(self).__name__)

    class Pages(Controller):
        path = "/"

        @litestar_get(media_type="text/plain")
        @rate_limit("2/hour")
        async def get(self) -> str:
            return type(self).__name__

    for app, text in (
        (Starlette(routes=[Route("/", Page)]), "Page"),
        (Litestar([Pages], logging_config=None), "Pages"),
    ):
        assert await statuses(stack(app, redis), "/") == [(200, text), (200, text), (429, "")]


async def test_dependencies_of_fastapi_also_those_that_yield(redis: TestRedis) -> None:
    app, notes = FastAPI(), []

    @rate_limit("3/hour")
    async def plain() -> str:
        return "plain"

    @rate_limit("2/hour")
    async def opened() -> AsyncIterator[str]:
        try:
            yield "opened"
        except LookupError:
            notes.append("lookup")
            raise
        finally:
            notes.append("closed")

    @rate_limit("5/hour")
    def in_thread() -> Iterator[str]:
        yield "thread"
        notes.append("left")

    @app.get("/")
    async def page(
        one: Annotated[str, Depends(plain)],
        two: Annotated[str, Depends(opened)],
        three: Annotated[str, Depends(in_thread)],
    ) -> str:
        return f"{one} {two} {three}"

    whole = (200, '"plain opened thread"')
    assert await statuses(stack(app, redis), "/", 4) == [whole, whole, (429, ""), (429, "")]
    assert notes == ["left", "closed"] * 2


@pytest.mark.parametrize("kind", ["lines", "events", "raw"])
@pytest.mark.parametrize("threaded", [False, True])
async def test_generator_functions_of_fastapi(redis: TestRedis, kind: str, threaded: bool) -> None:
    app = FastAPI()
    responses = {"events": EventSourceResponse, "raw": StreamingResponse}
    options: dict[str, Any] = {"response_class": responses[kind]} if kind in responses else {}

    async def numbers() -> Any:
        yield "1"
        yield "2"

    def plain() -> Any:
        yield "1"
        yield "2"

    numbers.__annotations__["return"] = plain.__annotations__["return"] = (
        Iterable[str] if threaded else AsyncIterator[str]
    )
    app.get("/", **options)(rate_limit("2/hour")(plain if threaded else numbers))
    found = await statuses(stack(app, redis), "/")
    assert [status for status, _ in found] == [200, 200, 429]
    assert "1" in found[0][1]
    assert found[0][1].index("1") < found[0][1].index("2")


@pytest.mark.parametrize("threaded", [False, True])
async def test_generator_functions_of_quart(redis: TestRedis, threaded: bool) -> None:
    app = Quart(__name__)

    async def numbers() -> AsyncIterator[str]:
        yield "1"
        yield "2"

    def plain() -> Iterator[str]:
        yield from ("1", "2")

    app.get("/")(rate_limit("2/hour")(plain if threaded else numbers))  # type: ignore[type-var]
    assert await statuses(stack(app, redis), "/") == [(200, "12"), (200, "12"), (429, "")]


async def test_what_a_guard_of_the_route_has_found_is_in_the_request_s_scope(redis: TestRedis) -> None:
    def admit(exchange: Exchange) -> Admission:
        return Pass(scope={"tenant": "t"})
        yield

    guards = [Does(admit)]

    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.scope["tenant"])

    async def quarts() -> str:
        return quart_request.scope["tenant"]  # type: ignore[typeddict-item, no-any-return]

    async def litestars(request: LitestarRequest[Any, Any, Any]) -> str:
        return request.scope["tenant"]  # type: ignore[typeddict-item, no-any-return]

    fastapi, quart = FastAPI(), Quart(__name__)
    fastapi.get("/", response_class=PlainTextResponse)(guarded(page, guards))
    quart.get("/")(guarded(quarts, guards))
    for app in (
        Starlette(routes=[Route("/", guarded(page, guards))]),
        fastapi,
        quart,
        Litestar([litestar_get("/", media_type="text/plain")(guarded(litestars, guards))], logging_config=None),
    ):
        assert await statuses(stack(app, redis), "/", 1) == [(200, "t")]


async def test_a_websocket_of_starlette_is_refused_at_its_handshake_and_a_message_closes_it(redis: TestRedis) -> None:
    app = starlette(redis)
    for status in (101, 101, 429):
        call = await Call(app, handshake(path="/socket")).run()
        assert call.head.get("status", 101) == status
        assert b"ratelimit" in dict(call.headers)
    call = Call(app, handshake(path="/words")).start()
    for number in (1, 2):
        call.feed({"type": "websocket.receive", "text": "x"})
        await call.sees("websocket.send", number)
    await call.task
    assert call.sent[-1] == {"type": "websocket.close", "code": 1008, "reason": ""}


async def test_a_websocket_of_quart_is_refused_at_its_handshake(redis: TestRedis) -> None:
    app = Quart(__name__)

    @app.websocket("/")
    @rate_limit("1/hour")
    async def talk() -> None:
        await websocket.accept()
        await websocket.send("hello")

    first, second = [await Call(stack(app, redis), handshake(http_version="1.1", scheme="ws")).run() for _ in range(2)]
    assert "websocket.send" in first.kinds
    assert second.status == 429


@pytest.mark.parametrize("how", ["cancelled by the server", "left by the client"])
async def test_quart_leaves_no_task_when_a_request_ends_while_its_route_is_decided(redis: TestRedis, how: str) -> None:
    app, ran = Quart(__name__), []

    async def page() -> str:
        ran.append(True)
        return ""

    app.get("/")(guarded(page, [Lock("lock")]))
    await redis.execute("PING")
    before = asyncio.all_tasks()
    redis.withhold()
    call = Call(stack(app, redis), http(http_version="1.1", scheme="http")).start()
    await redis.asked.wait()
    if how == "left by the client":
        call.feed({"type": "http.disconnect"})
        await call.task
    else:
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.task
        call.feed({"type": "http.disconnect"})
    redis.give()
    while others := asyncio.all_tasks() - before - {asyncio.current_task()}:
        await asyncio.wait(others)
    assert (call.sent, ran, await redis.value("lock")) == ([], [], None)


async def test_without_a_middleware_the_error_says_which_one_to_add() -> None:
    @rate_limit("2/hour")
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("")

    with pytest.raises(NoExchange, match=r"page has guards .* add GuardMiddleware\(app, guards=\[RouteGuards\(\)\]\)"):
        await statuses(Starlette(routes=[Route("/", page)]), "/")


def test_above_litestar_s_decorator_it_is_refused() -> None:
    @litestar_get("/")
    async def page() -> str:
        return ""

    with pytest.raises(ConfigurationError, match="beneath the framework's own decorator"):
        rate_limit("2/hour")(page)  # type: ignore[call-overload]
