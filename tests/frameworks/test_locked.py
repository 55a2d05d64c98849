"""`@locked` in every framework: one call at a time, the lock in the function's hands, and word of its loss."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI, WebSocket

from asgi_redis_guard import ResponseAborted
from asgi_redis_guard.core.asgi import ASGIApp
from asgi_redis_guard.locks.decorator import locked
from asgi_redis_guard.middleware.routed import DECLARED
from tests.drive import handshake, http_scope, websocket_scope
from tests.frameworks.locked import APPS, Site, around
from tests.locks.work import held, seize
from tests.middleware.calls import GONE, Call, TestRedis, noting
from tests.redis.tools import PATIENCE, eventually


@pytest.fixture(autouse=True)
def decorated_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let routes be guarded here, whatever other tests have set."""
    monkeypatch.setattr(DECLARED, "any", True)


@pytest.fixture
async def redis() -> AsyncIterator[TestRedis]:
    """An empty store in memory."""
    async with noting() as redis:
        yield redis


@pytest.fixture
async def site() -> Site:
    """What the functions of an app do."""
    return Site()


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest, site: Site, redis: TestRedis) -> ASGIApp:
    """An app of each framework in turn."""
    return around(APPS[request.param](site), redis)


async def finished(call: Call) -> None:
    """Wait for the last byte, and leave: some frameworks wait for that at the end of a stream."""
    await call.sees("http.response.start")
    while "status" in call.sent[-1] or call.sent[-1].get("more_body"):
        await call.sees("http.response.body", call.kinds.count("http.response.body") + 1)
    call.feed(GONE)
    await call.task


@pytest.mark.parametrize("kind", ["items", "plain", "streams"])
async def test_one_call_at_a_time_for_each_argument(app: ASGIApp, site: Site, redis: TestRedis, kind: str) -> None:
    call = Call(app, http_scope(f"/{kind}/7")).start()
    lock = await site.runs()
    assert (lock.fence > 0, lock.remaining() > 0) == (True, True)
    refused = await Call(app, http_scope(f"/{kind}/7")).run()
    assert (refused.status, dict(refused.headers)[b"retry-after"]) == (409, b"1")
    assert await held(redis) == 1
    site.go_on()
    other = Call(app, http_scope(f"/{kind}/8")).start()
    for each in (call, other):
        await finished(each)
    assert (call.status, other.status, b"done" in call.body) == (200, 200, True)
    assert await held(redis) == 0


async def test_a_function_whose_lock_is_lost_is_cancelled_and_the_client_told(
    app: ASGIApp, site: Site, redis: TestRedis
) -> None:
    call = Call(app, http_scope("/items/7")).start()
    lock = await site.runs()
    await seize(redis)
    async with asyncio.timeout(PATIENCE):
        await call.task
    assert (call.status, dict(call.headers)[b"retry-after"]) == (503, b"1")
    await eventually(lambda: site.ended == ["cancelled"])
    assert lock.lost.is_set()


async def test_a_function_in_a_thread_is_told(app: ASGIApp, site: Site, redis: TestRedis) -> None:
    call = Call(app, http_scope("/plain/7")).start()
    await site.runs()
    await seize(redis)
    await call.task
    assert call.status == 503
    await eventually(lambda: site.ended == ["told"])


async def test_a_stream_whose_lock_is_lost_is_cut_off(app: ASGIApp, site: Site, redis: TestRedis) -> None:
    call = Call(app, http_scope("/streams/7")).start()
    await site.runs()
    await seize(redis)
    with pytest.raises(ResponseAborted):
        await call.task
    await eventually(lambda: site.ended == ["cancelled"])
    assert call.body == b"begun, "
    assert call.sent[-1]["more_body"], "never a clean end"


async def test_a_websocket_route_holds_its_lock_until_it_is_closed_and_others_are_denied(redis: TestRedis) -> None:
    app = FastAPI()

    @app.websocket("/rooms/{name}")
    @locked("room:{name}")
    async def room(socket: WebSocket, name: str) -> None:
        await socket.accept()
        await socket.send_text(str(socket.scope["lock"].fence))
        await socket.receive_text()

    guarded = around(app, redis)  # type: ignore[arg-type]
    first = Call(guarded, websocket_scope("/rooms/a"), {"type": "websocket.connect"}).start()
    assert int((await first.sees("websocket.send"))["text"]) > 0
    denied = await handshake(guarded, "/rooms/a")
    assert (denied.status, 0 < int(denied["retry-after"]) <= 30) == (409, True)
    assert (await handshake(guarded, "/rooms/a", denial=False)).status == 403
    other = Call(guarded, websocket_scope("/rooms/b"), {"type": "websocket.connect"}).start()
    await other.sees("websocket.send")
    assert await held(redis) == 2
    for call in (first, other):
        call.feed({"type": "websocket.receive", "text": "bye"})
        await call.task
    assert await held(redis) == 0


async def test_a_websocket_route_whose_lock_is_lost_is_cut_off(redis: TestRedis) -> None:
    app = FastAPI()

    @app.websocket("/rooms/{name}")
    @locked("room:{name}", ttl=1)
    async def room(socket: WebSocket, name: str) -> None:
        await socket.accept()
        await socket.receive_text()

    call = Call(around(app, redis), websocket_scope("/rooms/a"), {"type": "websocket.connect"}).start()  # type: ignore[arg-type]
    await call.sees("websocket.accept")
    await seize(redis)
    with pytest.raises(ResponseAborted):
        await call.task
    assert call.kinds == ["websocket.accept"]
