"""Two requests that an app takes for the same never run together under one lock, however they are spelt."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_redis_guard import GuardMiddleware, RouteGuards, locked
from asgi_redis_guard.locks.guard import RouteLock
from tests.drive import call, http_scope
from tests.middleware.calls import TestRedis
from tests.redis.tools import PATIENCE


class Shop:
    """Works on an order until it is told to go on, and keeps what it took the order for."""

    def __init__(self) -> None:
        self.running, self.open = asyncio.Event(), asyncio.Event()
        self.seen: list[Any] = []

    async def work(self, request: Request) -> PlainTextResponse:
        document = await request.json() if await request.body() else None
        cookies = request.cookies.get("id")
        self.seen.append((dict(request.query_params), request.headers.get("x-id"), cookies, document))
        self.running.set()
        await self.open.wait()
        return PlainTextResponse("done")


def post(body: bytes = b"", **more: Any) -> tuple[dict[str, Any], bytes]:
    return http_scope(method="POST", **more), body


JSON = post(b'{"id": 7}')


@pytest.mark.parametrize(
    ("key", "plain", "dodging", "status", "options"),
    [
        ("{query:id}", post(query_string=b"id=7"), post(query_string=b"id=8&id=7"), 400, {}),
        ("{query:id|address}", post(query_string=b"id=7"), post(query_string=b"id=8&id=7"), 400, {}),
        ("{header:x-id}", post(headers={"x-id": "7"}), post(headers=[(b"x-id", b"7"), (b"x-id", b"8")]), 400, {}),
        ("{cookie:id}", post(headers={"cookie": "id=7"}), post(headers={"cookie": r'id="\067"'}), 400, {}),
        ("{cookie:id}", post(headers={"cookie": "id=7"}), post(headers={"cookie": "id=7\xa0"}), 400, {}),
        ("{cookie:id}", post(headers={"cookie": "id=7"}), post(headers={"cookie": 'id="7"'}), 409, {}),
        ("{json:id}", JSON, post(b'{"id": 7.0}'), 400, {"unidentified": "allow"}),
        ("{json:id}", JSON, post(b'{"id": 8, "id": 7}'), 400, {"unidentified": "allow"}),
        ("{json:id|address}", JSON, post(b'{"id": 8, "id": 7}'), 400, {}),
        ("{json:id}", JSON, post(b'\xef\xbb\xbf{"i\\u0064": 7}'), 409, {}),
        ("{json:id}", JSON, post('{"id": 7}'.encode("utf-16")), 409, {}),
        ("{path}", (http_scope(), b""), (http_scope(method="HEAD"), b""), 409, {"methods": ("GET",)}),
        ("{path}", (http_scope("/o/7"), b""), (http_scope("/api/o/7", root_path="/api"), b""), 409, {}),
    ],
)
async def test_another_spelling_of_the_same_does_not_get_past_the_lock(
    memory: TestRedis, key: str, plain: Any, dodging: Any, status: int, options: dict[str, Any]
) -> None:
    shop = Shop()
    routes = [Route(path, shop.work, methods=["GET", "POST"]) for path in ("/", "/o/7")]
    app = GuardMiddleware(Starlette(routes=routes), [RouteLock(key, **options)], redis=memory)
    first = asyncio.create_task(call(app, *plain))
    async with asyncio.timeout(PATIENCE):
        await shop.running.wait()
        assert (await call(app, *dodging)).status == status
    shop.open.set()
    assert (await first).status == 200
    assert len(shop.seen) == 1


async def test_a_body_that_is_no_json_tells_nothing_and_may_be_allowed(memory: TestRedis) -> None:
    shop = Shop()
    shop.open.set()
    routes = [Route("/", lambda _: PlainTextResponse("ran"), methods=["POST"])]
    app = GuardMiddleware(Starlette(routes=routes), [RouteLock("{json:id}", unidentified="allow")], redis=memory)
    assert [(await call(app, *post(body))).status for body in (b"", b"id=7", b"{}", b"{")] == [200, 200, 200, 400]


async def test_a_document_as_a_key_may_be_nested_as_deeply_as_a_client_likes(memory: TestRedis) -> None:
    api = FastAPI()

    @api.post("/")
    @locked("report:{settings}")
    async def report(settings: dict[str, Any]) -> str:
        return "done"

    app = GuardMiddleware(api, [RouteGuards()], redis=memory)
    headers = {"content-type": "application/json"}
    for depth, status in ((3, 200), (200, 400)):
        body = b'{"a":' * depth + b"1" + b"}" * depth
        assert (await call(app, *post(body, headers=headers))).status == status
