"""`@idempotent` on routes, in frameworks: the guard decides when the function is called, and reads the body before."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from litestar import Litestar
from litestar import post as litestar_post
from litestar.params import JSONBody
from quart import Quart
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from asgi_redis_guard import Answer, GuardMiddleware
from asgi_redis_guard.errors import NoExchange
from asgi_redis_guard.idempotency.decorator import idempotent
from asgi_redis_guard.idempotency.guard import Idempotency
from asgi_redis_guard.middleware.routed import DECLARED
from asgi_redis_guard.middleware.routes import RouteGuards
from asgi_redis_guard.middleware.routes import guarded as with_guards
from tests.guards import answering as guard_answering
from tests.idempotency.shop import post, posting, record, scope_of
from tests.middleware.calls import Call, TestRedis, settled


@pytest.fixture(autouse=True)
def declared_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)
    monkeypatch.setattr(DECLARED, "reads_body", 0)


def starlette(charges: list[Any], **options: Any) -> Any:
    @idempotent(**options)
    async def charge(request: Request) -> JSONResponse:
        charges.append(await request.json())
        return JSONResponse({"number": len(charges)}, status_code=201)

    return Starlette(routes=[Route("/charges", charge, methods=["POST"])])


def fastapi(charges: list[Any], **options: Any) -> Any:
    app = FastAPI()

    @app.post("/charges", status_code=201)
    @idempotent(**options)
    async def charge(body: dict[str, int]) -> dict[str, int]:
        charges.append(body)
        return {"number": len(charges)}

    return app


def fastapi_in_threads(charges: list[Any], **options: Any) -> Any:
    app = FastAPI()

    @app.post("/charges", status_code=201)
    @idempotent(**options)
    def charge(body: dict[str, int]) -> dict[str, int]:
        charges.append(body)
        return {"number": len(charges)}

    return app


def litestar(charges: list[Any], **options: Any) -> Any:
    @litestar_post("/charges")
    @idempotent(**options)
    async def charge(data: JSONBody[dict[str, int]]) -> dict[str, int]:
        charges.append(data)
        return {"number": len(charges)}

    return Litestar([charge])


def quart(charges: list[Any], **options: Any) -> Any:
    app = Quart(__name__)

    @app.post("/charges")
    @idempotent(**options)
    async def charge() -> tuple[dict[str, int], int]:
        charges.append(1)
        return {"number": len(charges)}, 201

    return app


def one_route(function: Any, redis: TestRedis) -> GuardMiddleware:
    """An app with a route that is guarded by itself."""
    app = Starlette(routes=[Route("/charges", function, methods=["POST"])])
    return GuardMiddleware(app, [RouteGuards()], redis=redis)


FRAMEWORKS = [starlette, fastapi, fastapi_in_threads, litestar, quart]


@pytest.mark.parametrize("make", FRAMEWORKS)
async def test_a_route_takes_effect_once_in_each_framework(memory: TestRedis, make: Any) -> None:
    charges: list[Any] = []
    app = GuardMiddleware(make(charges), [RouteGuards()], redis=memory)
    answers = [await send(app, b'{"amount": 5}') for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201], answers
    assert answers[0].body == answers[1].body
    assert dict(answers[1].headers)[b"idempotent-replayed"] == b"true"
    assert (await send(app, b'{"amount": 6}')).status == 422
    assert len(charges) == 1


async def send(app: Any, body: bytes, key: str | None = "k") -> Call:
    """Send a request of a client that stays."""
    scope = scope_of(key)
    length = (b"content-length", b"%d" % len(body))
    scope["headers"] += [(b"content-type", b"application/json"), length, (b"host", b"test")]
    return await Call(app, scope, {"type": "http.request", "body": body, "more_body": False}).run()


@pytest.mark.parametrize("make", FRAMEWORKS)
async def test_a_key_that_is_required_is_told_by_the_route(memory: TestRedis, make: Any) -> None:
    charges: list[Any] = []
    app = GuardMiddleware(make(charges, required=True), [RouteGuards()], redis=memory)
    assert ((await send(app, b'{"amount": 5}', None)).status, charges) == (400, [])


async def test_two_routes_have_keys_of_their_own(memory: TestRedis) -> None:
    @idempotent()
    async def one(request: Request) -> JSONResponse:
        return JSONResponse("one")

    @idempotent()
    async def other(request: Request) -> JSONResponse:
        return JSONResponse("other")

    routes = [Route("/one", one, methods=["POST"]), Route("/other", other, methods=["POST"])]
    app = GuardMiddleware(Starlette(routes=routes), [RouteGuards()], redis=memory)
    for _ in range(2):
        assert (await post(app, path="/one")).body == b'"one"'
        assert (await post(app, path="/other")).body == b'"other"'


async def test_a_route_may_have_it_behind_a_middleware_that_has_it_too(memory: TestRedis) -> None:
    charges: list[Any] = []
    app = GuardMiddleware(starlette(charges), [Idempotency()], redis=memory)
    answers = [await post(app, body=b"{}") for _ in range(2)]
    assert [answer.status for answer in answers] == [201, 201]
    assert len(charges) == 1


async def test_what_another_guard_of_the_route_refuses_is_not_recorded(memory: TestRedis) -> None:
    async def charge(request: Request) -> JSONResponse:
        raise AssertionError("the route must not run")

    refusing = guard_answering(Answer(423, [], b"", reason="locked"))
    routed = idempotent()(with_guards(charge, [refusing]))
    app = GuardMiddleware(
        Starlette(routes=[Route("/charges", routed, methods=["POST"])]), [RouteGuards()], redis=memory
    )
    for _ in range(2):
        response = await post(app)
        assert (response.status, response.all("idempotent-replayed")) == (423, [])
        assert await record(memory) is None


async def test_a_stream_of_a_route_leaves_as_it_comes_and_is_not_run_again(memory: TestRedis) -> None:
    more = asyncio.Event()

    @idempotent()
    async def export(request: Request) -> StreamingResponse:
        async def lines() -> Any:
            yield b"a"
            await more.wait()
            yield b"b"

        return StreamingResponse(lines())

    app = GuardMiddleware(
        Starlette(routes=[Route("/charges", export, methods=["POST"])]), [RouteGuards()], redis=memory
    )
    first = posting(app)
    await first.sees("http.response.body")
    more.set()
    await first.task
    assert (first.status, first.body, dict(first.headers)[b"idempotent-stored"]) == (200, b"ab", b"false")
    assert (await post(app)).status == 409


async def test_a_route_that_fails_leaves_its_key_free(memory: TestRedis) -> None:
    @idempotent()
    async def fails(request: Request) -> JSONResponse:
        raise RuntimeError("boom")

    app = one_route(fails, memory)
    with pytest.raises(RuntimeError):
        await post(app)
    assert await record(memory) is None
    await settled(memory)


async def test_outside_of_a_request_a_route_s_function_has_no_key() -> None:
    @idempotent()
    async def charge(request: Any) -> None:
        raise AssertionError("the route must not run")

    with pytest.raises(NoExchange):
        await charge(None)
