"""Whose session it is, for Starlette, for limits by user, and beside a token."""

from collections.abc import AsyncIterator

import pytest
from starlette.authentication import UnauthenticatedUser

from asgi_redis_guard import GuardMiddleware, JWTAuth, RateLimit, Sessions
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.core.guard import Guard
from tests.jwt.tokens import NOW, SECRET, sign
from tests.middleware.calls import Call, TestRedis, http, noting


@pytest.fixture
async def redis() -> AsyncIterator[TestRedis]:
    """A store in this process that notes its rounds."""
    async with noting() as redis:
        yield redis


class App:
    """Logs in on `/login`; keeps the last scope."""

    scope: Scope = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        if scope["path"] == "/login":
            scope["session"]["user_id"] = 7
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def get(app: ASGIApp, path: str = "/", *headers: tuple[bytes, bytes]) -> Call:
    call = await Call(app, http(path=path, headers=[(b"host", b"test"), *headers])).run()
    assert call.status == 200
    return call


async def logged_in(app: ASGIApp) -> tuple[bytes, bytes]:
    """Log in; the cookie as a header."""
    call = await get(app, "/login")
    return (b"cookie", dict(call.headers)[b"set-cookie"].partition(b";")[0])


def stack(app: App, redis: TestRedis, *guards: Guard) -> GuardMiddleware:
    return GuardMiddleware(app, guards, redis=redis, clock=lambda: NOW)


async def test_the_user_of_a_session_is_the_request_s(redis: TestRedis) -> None:
    app = App()
    guarded = stack(app, redis, Sessions())
    await get(guarded)
    assert isinstance(app.scope["user"], UnauthenticatedUser)
    assert app.scope["auth"].scopes == []
    await get(guarded, "/", await logged_in(guarded))
    assert (app.scope["user"].identity, app.scope["user"].is_authenticated) == ("7", True)
    assert app.scope["auth"].scopes == ["authenticated"]


async def test_without_a_principal_a_session_says_nothing_of_users(redis: TestRedis) -> None:
    app = App()
    await get(stack(app, redis, Sessions(principal=())))
    assert "user" not in app.scope


async def test_a_verified_token_counts_more_than_a_session(redis: TestRedis) -> None:
    app = App()
    guarded = stack(app, redis, JWTAuth(SECRET, optional=True), Sessions())
    cookie = await logged_in(guarded)
    await get(guarded, "/", cookie, (b"authorization", b"Bearer " + sign()))
    assert app.scope["user"].identity == "alice"
    await get(guarded, "/", cookie)
    assert app.scope["user"].identity == "7"


async def test_a_limit_by_user_waits_for_the_session_and_for_nothing_where_there_is_none(redis: TestRedis) -> None:
    app = App()
    guarded = stack(app, redis, Sessions(), RateLimit("10/minute", key="user"))
    cookie = await logged_in(guarded)
    redis.rounds.clear()
    await get(guarded, "/", cookie)
    assert redis.rounds == [["sessions.load"], ["ratelimit.gcra"]]
    redis.rounds.clear()
    await get(guarded)
    assert redis.rounds == [["ratelimit.gcra"]]


async def test_with_a_token_the_session_and_the_limit_by_user_share_one_round(redis: TestRedis) -> None:
    app = App()
    guarded = stack(app, redis, JWTAuth(SECRET), Sessions(), RateLimit("10/minute", "100/hour", key="user"))
    bearer = (b"authorization", b"Bearer " + sign())
    call = await get(guarded, "/login", bearer)
    cookie = (b"cookie", dict(call.headers)[b"set-cookie"].partition(b";")[0])
    redis.rounds.clear()
    await get(guarded, "/", bearer, cookie)
    assert redis.rounds == [["jwt.mark", "jwt.not_after", "sessions.load", "ratelimit.gcra", "ratelimit.gcra"]]
