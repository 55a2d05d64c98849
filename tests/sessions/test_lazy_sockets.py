"""WebSockets with lazy sessions: their origin is checked, they load when they like, and end with their session."""

from math import inf
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, Session, SessionMiddleware, SessionNotLoaded
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import App
from tests.middleware.calls import CONNECT, Call, TestRedis, websocket
from tests.redis.tools import PATIENCE, within
from tests.sessions.test_keeping_websockets import Socket, open_socket
from tests.sessions.test_sockets import app as logins
from tests.sessions.test_sockets import get, opened
from tests.sessions.visits import Site, put


async def test_it_is_loaded_whenever_the_socket_likes_and_saved_as_always(redis: RedisManager) -> None:
    site = Site(redis, lazy=True)
    browser = await site.signed_in(a=1)

    async def listen(session: Session) -> None:
        with pytest.raises(SessionNotLoaded):
            session["a"] = 2
        await session.load()
        assert session == {"a": 1}
        session["b"] = 2
        await session.save()
        await Site(redis).browser(browser.cookie).visit(put(c=3))
        await session.load()
        assert session == {"a": 1, "b": 2, "c": 3}

    response = await open_socket(site, Socket(after=listen), browser)
    assert (response.status, response.all("set-cookie")) == (101, [])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://app.example.com"}, 101),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_another_origin_does_not_get_in_with_the_cookie(
    memory: TestRedis, headers: dict[str, str], status: int
) -> None:
    site = Site(memory, lazy=True)
    browser = await site.signed_in(a=1)
    memory.rounds.clear()
    inner = App()
    response = await open_socket(site, inner, browser, headers=headers)
    assert (response.status, len(inner.scopes), memory.rounds) == (status, int(status == 101), [])


async def test_a_handshake_costs_no_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as redis:
        site = Site(redis, lazy=True)
        browser = await site.signed_in(a=1)
        counter.reset()
        await open_socket(site, App(), browser)
        assert b"EVALSHA" not in counter.commands  # the rest is the connection on which ends are told


async def test_after_the_acceptance_loading_lets_the_session_live_on(redis: RedisManager) -> None:
    site = Site(redis, lazy=True, idle=1000, max_age=5000)
    browser = await site.signed_in(a=1)
    key = browser.id.record
    await site.age(key, 500)
    touched = (await site.times(key))[3]
    await open_socket(site, Socket(after=Session.load), browser)
    assert (await site.times(key))[3] >= touched + 400_000


def listening(loads: bool) -> ASGIApp:
    """`/login` and `/logout`, and a socket that loads its session, or not."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if loads or scope["type"] == "http":
            await scope["session"].load()
        await logins(scope, receive, send)

    return app


@pytest.mark.parametrize("loads", [True, False])
async def test_a_socket_is_closed_when_its_session_ends(redis: RedisManager, loads: bool) -> None:
    stack = SessionMiddleware(listening(loads), lazy=True, redis=redis)
    mine, other = await get(stack, "/login"), await get(stack, "/login")
    socket, stays = await opened(stack, redis, mine), await opened(stack, redis, other)
    await get(stack, "/logout", mine)
    assert (await within(socket.sees("websocket.close")))["code"] == 4401
    assert stays.kinds == ["websocket.accept"]
    for call in (socket, stays):
        call.feed({"type": "websocket.disconnect", "code": 1005})
        await within(call.task)
    assert repr(redis.pubsub.feed).endswith("0 keys watched>")


@pytest.mark.parametrize("loads", [True, False])
async def test_after_a_gap_only_a_socket_whose_session_has_ended_is_closed(redis: RedisManager, loads: bool) -> None:
    stack = SessionMiddleware(listening(loads), lazy=True, redis=redis)
    cookie = await get(stack, "/login")
    cookies = (cookie, b"__Host-session=" + b"A" * 51)
    calls = [Call(stack, handshake_with(value), CONNECT).start() for value in cookies]
    for call in calls:
        await within(call.sees("websocket.accept"))
    feed: Any = redis.pubsub.feed
    watches = [watch for found in feed._watches.values() for watch in found]
    left = sorted([await watch.lives(watch.key) for watch in watches])
    assert (0 < left[0] < inf, left[1]) == (True, inf)  # one that never was has not ended either
    await redis.execute("FLUSHALL")
    assert sorted([await watch.lives(watch.key) for watch in watches]) == [0, inf]
    for call in calls:
        call.feed({"type": "websocket.disconnect", "code": 1005})
        await within(call.task)


def handshake_with(cookie: bytes) -> Scope:
    """A handshake from the site itself."""
    return websocket(headers=[(b"host", b"test"), (b"cookie", cookie)])
