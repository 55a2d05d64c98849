"""Guards on routes that want the body and the arguments, in each framework, however it reads them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import Body as FastAPIBody
from fastapi import FastAPI
from litestar import Litestar
from litestar import Request as LitestarRequest
from litestar import post as litestar_post
from litestar.params import FromPath, JSONBody
from pydantic import BaseModel
from quart import Quart
from quart import request as quart_request
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from asgi_redis_guard import Answer, Body, BodyTooLarge, Exchange, GuardMiddleware
from asgi_redis_guard.core.asgi import ASGIApp
from asgi_redis_guard.core.client_ip import TrustedProxies
from asgi_redis_guard.core.key_template import KeyTemplate
from asgi_redis_guard.core.steps import PASS, Admission
from asgi_redis_guard.middleware.routed import DECLARED
from asgi_redis_guard.middleware.routes import RouteGuards, guarded
from tests.frameworks.decorated import timed
from tests.guards import Does
from tests.middleware.calls import GONE, Call, TestRedis, http, noting

BODY = b'{"order": 7, "words": "' + b"x" * 200 + b'"}'
LIMIT = 1000


class Order(BaseModel):
    order: int
    words: str


class Keyed(Does):
    """Reads the body and keeps what its template makes of it."""

    def __init__(self, template: str) -> None:
        self.template = KeyTemplate(template, TrustedProxies(()), option="key")
        self.bodies: list[bytes] = []
        self.keys: list[Any] = []
        super().__init__(self.look, name="keyed", reads_body=LIMIT, reads_arguments=True)

    def look(self, exchange: Exchange) -> Admission:
        try:
            body = yield Body(LIMIT)
        except BodyTooLarge:
            return Answer(413, [])
        self.bodies.append(body)
        self.keys.append(self.template.of(exchange, body))
        return PASS


@pytest.fixture(autouse=True)
def declared_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)
    monkeypatch.setattr(DECLARED, "reads_body", 0)


@pytest.fixture
async def redis() -> AsyncIterator[TestRedis]:
    """An empty store in memory."""
    async with noting() as redis:
        yield redis


Decorate = Callable[[Any], Any]


def fastapi(decorate: Decorate, ran: list[Any]) -> Any:
    app = FastAPI()

    @app.post("/{shop}")
    @decorate
    async def pay(shop: str, order: Order) -> None:
        ran.append(order.words)

    return app


def fastapi_in_thread(decorate: Decorate, ran: list[Any]) -> Any:
    app = FastAPI()

    @app.post("/{shop}")
    @decorate
    def pay(shop: str, words: Annotated[str, FastAPIBody(embed=True)]) -> None:
        ran.append(words)

    app.add_middleware(BaseHTTPMiddleware, dispatch=timed)
    return app


def starlette(decorate: Decorate, ran: list[Any]) -> Any:
    @decorate
    async def pay(request: Request) -> JSONResponse:
        ran.append((await request.json())["words"])
        return JSONResponse(None)

    return Starlette(routes=[Mount("/", routes=[Route("/{shop}", pay, methods=["POST"])])])


def starlette_whose_middleware_reads(decorate: Decorate, ran: list[Any]) -> Any:
    async def reading(request: Request, call_next: Any) -> Any:
        await request.body()
        return await call_next(request)

    app = starlette(decorate, ran)
    app.add_middleware(BaseHTTPMiddleware, dispatch=reading)
    return app


def quart(decorate: Decorate, ran: list[Any]) -> Any:
    app = Quart(__name__)

    @app.post("/<shop>")
    @decorate
    async def pay(shop: str) -> dict[str, str]:
        ran.append((await quart_request.get_json(force=True))["words"])
        return {}

    return app


def litestar(decorate: Decorate, ran: list[Any]) -> Any:
    @litestar_post("/{shop:str}", status_code=200)
    @decorate
    async def pay(shop: FromPath[str], data: JSONBody[Order]) -> None:
        ran.append(data.words)

    return Litestar([pay], logging_config=None)


def litestar_that_reads_itself(decorate: Decorate, ran: list[Any]) -> Any:
    @litestar_post("/{shop:str}", status_code=200)
    @decorate
    async def pay(shop: FromPath[str], request: LitestarRequest[Any, Any, Any]) -> None:
        ran.append((await request.json())["words"])

    return Litestar([pay], logging_config=None)


APPS = [
    fastapi,
    fastapi_in_thread,
    starlette,
    starlette_whose_middleware_reads,
    quart,
    litestar,
    litestar_that_reads_itself,
]
each = pytest.mark.parametrize("make", APPS, ids=lambda make: make.__name__)


def behind(make: Any, guard: Does, ran: list[Any], redis: TestRedis) -> ASGIApp:
    return GuardMiddleware(make(lambda function: guarded(function, [guard]), ran), [RouteGuards()], redis=redis)


def call(app: ASGIApp, body: bytes, *, whole: bool = True) -> Call:
    """A request whose body comes in three pieces; without the last of them if it is not whole."""
    headers = [(b"host", b"test"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    pieces = [body[:50], body[50:100], body[100:]]
    messages: list[Any] = [
        {"type": "http.request", "body": piece, "more_body": number < 3} for number, piece in enumerate(pieces, start=1)
    ]
    scope = http(
        method="POST",
        path="/north",
        raw_path=b"/north",
        root_path="",
        scheme="http",
        http_version="1.1",
        server=("test", 80),
        headers=headers,
    )
    return Call(app, scope, *(messages if whole else [*messages[:2], GONE]))


@each
async def test_the_guard_and_the_function_both_get_all_of_the_body_and_the_arguments(
    redis: TestRedis, make: Any
) -> None:
    ran: list[Any] = []
    keyed = Keyed("{shop}:{json:order}")
    done = await call(behind(make, keyed, ran, redis), BODY).run()
    assert (done.status, ran, keyed.bodies) == (200, ["x" * 200], [BODY])
    assert keyed.keys == [("param:shop", "north", "", ":", "json:order", "7")]


@each
async def test_a_body_that_is_longer_than_the_guard_wants_is_told_as_such(redis: TestRedis, make: Any) -> None:
    ran: list[Any] = []
    body = BODY.replace(b"x" * 200, b"x" * LIMIT)
    assert (await call(behind(make, Keyed("{shop}"), ran, redis), body).run()).status == 413
    assert ran == []


@each
async def test_no_function_runs_for_a_client_that_leaves_in_the_middle(redis: TestRedis, make: Any) -> None:
    ran: list[Any] = []
    keyed = Keyed("{shop}")
    ended = call(behind(make, keyed, ran, redis), BODY, whole=False).start()
    await asyncio.wait([ended.task])
    ended.task.exception()
    assert (ran, keyed.keys) == ([], [])


@each
async def test_routes_are_told_by_their_template_and_function(redis: TestRedis, make: Any) -> None:
    keyed = Keyed("{route}")
    app = behind(make, keyed, [], redis)
    await call(app, BODY).run()
    await call(app, BODY).run()
    assert keyed.keys[0] == keyed.keys[1] is not None
