"""A WebSocket lives no longer than the session it was opened with."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, SessionMiddleware, Sessions, SessionStore
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from tests.middleware.calls import CONNECT, Call, http, websocket
from tests.redis.tools import PATIENCE, within


@pytest.fixture
async def manager(backend: str) -> AsyncIterator[RedisManager]:
    """A manager on each kind of store in turn."""
    async with RedisManager(backend, timeout=PATIENCE) as manager:
        yield manager


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """`/login` and `/logout`, `/rotate`, and a socket that listens until it is closed."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    session = scope["session"]
    if scope["path"] == "/login":
        session["user_id"] = 7
    elif scope["path"] == "/logout":
        session.clear()
    elif scope["path"] == "/rotate":
        session.rotate()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def get(app: ASGIApp, path: str, cookie: bytes = b"") -> bytes:
    """One request; the cookie that it sets."""
    headers = [(b"host", b"test"), *([(b"cookie", cookie)] if cookie else [])]
    call = await Call(app, http(path=path, headers=headers)).run()
    assert call.status == 200
    return next((value.partition(b";")[0] for name, value in call.headers if name == b"set-cookie"), b"")


async def opened(app: ASGIApp, manager: RedisManager, cookie: bytes) -> Call:
    """Open a socket and wait until word of its session would reach it."""
    call = Call(app, websocket(headers=[(b"host", b"test"), (b"cookie", cookie)]), CONNECT).start()
    await within(call.sees("websocket.accept"))
    feed: Any = manager.pubsub.feed
    for listener in feed._listeners.values():
        await within(listener.ready())
    return call


async def stamp(manager: RedisManager) -> int:
    """The server's time, in milliseconds as sessions have it."""
    seconds, micros = await manager.execute("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


@pytest.mark.parametrize("way", ["revoked", "evicted"])
async def test_a_socket_is_closed_when_its_session_is_ended_by_others(manager: RedisManager, way: str) -> None:
    guard = Sessions(max_sessions=2)
    stack, store = SessionMiddleware(app, guard=guard, redis=manager), SessionStore(manager, guard=guard)
    mine = await get(stack, "/login")
    socket = await opened(stack, manager, mine)
    if way == "revoked":
        assert await store.revoke_all(7) == 1
    else:
        began = await stamp(manager)
        while await stamp(manager) == began:  # of two that began in one millisecond, either may go
            pass
        await get(stack, "/login")
        await get(stack, "/login")
    assert (await within(socket.sees("websocket.close")))["code"] == 4401
    socket.feed({"type": "websocket.disconnect", "code": 1005})
    await within(socket.task)


async def test_a_socket_is_closed_when_its_session_ends(manager: RedisManager) -> None:
    stack = SessionMiddleware(app, redis=manager)
    mine, other = await get(stack, "/login"), await get(stack, "/login")
    socket, stays = await opened(stack, manager, mine), await opened(stack, manager, other)
    await get(stack, "/logout", mine)
    closed = await within(socket.sees("websocket.close"))
    assert (closed["code"], closed["reason"]) == (4401, "session ended")
    assert stays.kinds == ["websocket.accept"]
    for call in (socket, stays):
        call.feed({"type": "websocket.disconnect", "code": 1005})
        await within(call.task)
    assert repr(manager.pubsub.feed).endswith("0 keys watched>")


async def test_a_socket_outlives_the_rotation_of_its_session(manager: RedisManager) -> None:
    stack = SessionMiddleware(app, redis=manager)
    cookie = await get(stack, "/login")
    socket = await opened(stack, manager, cookie)
    assert await get(stack, "/rotate", cookie) != cookie
    last = await get(stack, "/login")
    witness = await opened(stack, manager, last)
    await get(stack, "/logout", last)
    await within(witness.sees("websocket.close"))  # word comes in order: none was there for the first
    assert socket.kinds == ["websocket.accept"]
    for call in (socket, witness):
        call.feed({"type": "websocket.disconnect", "code": 1005})
        await within(call.task)


async def test_a_socket_without_a_session_watches_nothing(manager: RedisManager) -> None:
    stack = SessionMiddleware(app, redis=manager)
    call = Call(stack, websocket(), CONNECT).start()
    await within(call.sees("websocket.accept"))
    call.feed({"type": "websocket.disconnect", "code": 1005})
    await within(call.task)
    assert repr(manager.pubsub.feed) == "<Feed of nothing, 0 keys watched>"


@pytest.mark.parametrize("way", ["revoked", "logged out"])
async def test_a_socket_follows_its_session_to_a_new_id_and_ends_with_it(manager: RedisManager, way: str) -> None:
    guard = Sessions()
    stack, store = SessionMiddleware(app, guard=guard, redis=manager), SessionStore(manager, guard=guard)
    mine = await get(stack, "/login")
    socket = await opened(stack, manager, mine)
    for _ in range(2):
        mine = await get(stack, "/rotate", mine)
    if way == "revoked":
        assert await store.revoke_all(7) == 1
    else:
        await get(stack, "/logout", mine)
    assert (await within(socket.sees("websocket.close")))["code"] == 4401
    socket.feed({"type": "websocket.disconnect", "code": 1005})
    await within(socket.task)


async def test_a_socket_is_closed_when_its_session_ends_by_its_time(manager: RedisManager) -> None:
    stack = SessionMiddleware(app, max_age=1, redis=manager)
    socket = await opened(stack, manager, await get(stack, "/login"))
    assert (await within(socket.sees("websocket.close")))["code"] == 4401
    socket.feed({"type": "websocket.disconnect", "code": 1005})
    await within(socket.task)


async def test_a_socket_whose_session_was_revoked_during_the_handshake_is_closed(manager: RedisManager) -> None:
    guard = Sessions()
    store = SessionStore(manager, guard=guard)

    async def meanwhile(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            assert await store.revoke_all(7) == 1  # the record was loaded, and nobody listens yet
        await app(scope, receive, send)

    stack = SessionMiddleware(meanwhile, guard=guard, redis=manager)
    mine = await get(stack, "/login")
    call = Call(stack, websocket(headers=[(b"host", b"test"), (b"cookie", mine)]), CONNECT).start()
    assert (await within(call.sees("websocket.close")))["code"] == 4401
    call.feed({"type": "websocket.disconnect", "code": 1005})
    await within(call.task)
