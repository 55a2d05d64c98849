"""Tokens, keys and passwords stand in no event, repr, log line or error, whatever happens to them."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest

from asgi_redis_guard import (
    ConfigurationError,
    Decision,
    GuardMiddleware,
    JWTAuth,
    RateLimit,
    RedisManager,
    RevocationList,
    Settings,
)
from tests.drive import App, get, handshake
from tests.redis.tools import PATIENCE
from tests.servers import Server

KEY = "a key of at least 32 bytes that nobody may see"
PASSWORD = "a-password-that-nobody-may-see"
NOW = 1_800_000_000


def token(**claims: Any) -> str:
    """A token for alice."""
    return jwt.encode({"sub": "alice", "jti": "the-id-of-a-token", "iat": NOW, "exp": NOW + 60, **claims}, KEY)


@pytest.fixture
async def redis(make_server: Any) -> AsyncIterator[RedisManager]:
    """A server with a password."""
    server: Server = make_server(requirepass=PASSWORD)
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        yield redis


async def test_no_token_key_or_password_is_ever_told(redis: RedisManager, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[Decision] = []
    guards = [
        JWTAuth(KEY, cookie="session", query="token", subprotocol="bearer"),
        RateLimit("2/minute", key="header:authorization"),
    ]
    app = App()
    stack = GuardMiddleware(app, guards, redis=redis, hooks=[told.append], clock=lambda: NOW)
    good, expired = token(), token(exp=NOW - 1)
    forged = jwt.encode({"sub": "alice", "exp": NOW + 60}, "another key that is as long as 32 bytes")
    responses = [
        *[await get(stack, headers={"authorization": f"Bearer {good}"}) for _ in range(3)],
        await get(stack, headers={"authorization": f"Bearer {expired}"}),
        await get(stack, headers={"authorization": f"Bearer {forged}"}),
        await get(stack, headers={"authorization": f"Bearer {good}", "cookie": f"session={good}"}),
        await get(stack, headers={"cookie": f"session={good}", "origin": "https://elsewhere.example"}, method="POST"),
        await handshake(stack, query_string=f"token={expired}".encode()),
        await handshake(stack, subprotocols=[f"bearer.{forged}"]),
    ]
    assert [response.status for response in responses] == [200, 200, 429, 401, 401, 400, 403, 401, 401]
    user = app.scopes[0]["user"]
    await RevocationList(redis).revoke_token(user)
    responses.append(await get(stack, headers={"authorization": f"Bearer {good}"}))
    assert responses[-1].status == 401

    shown = [caplog.text, repr(told), repr(stack), repr(redis), repr(redis.links), repr(user), repr(user.token)]
    shown += [repr(guard) for guard in guards]
    shown += [f"{response.headers} {response.body!r}" for response in responses]
    for secret in (good, expired, forged, KEY, PASSWORD, *good.split(".")[1:]):
        assert not [text for text in shown if secret in text]


async def test_a_guard_that_raises_with_a_token_in_hand_does_not_log_it(
    redis: RedisManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def broken(exchange: Any, answer: Any) -> Any:
        raise LookupError

    stack = GuardMiddleware(App(), [JWTAuth(KEY, on_refused=broken)], redis=redis)
    forged = jwt.encode({"sub": "alice"}, "another key that is as long as 32 bytes")
    with pytest.raises(LookupError) as caught:
        await get(stack, headers={"authorization": f"Bearer {forged}"})
    assert forged not in caplog.text
    assert forged not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Settings(url=f"redis://:{PASSWORD}@localhost", jwt_leeway=-1, jwt_key=KEY),
        lambda: RedisManager(f"redis://:{PASSWORD}@["),
        lambda: RedisManager(f"nonsense://:{PASSWORD}@localhost"),
    ],
)
def test_options_that_cannot_work_are_named_without_what_was_given_in_secret(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert PASSWORD not in str(caught.value)
    assert KEY not in str(caught.value)


async def test_a_wrong_password_is_logged_as_refused_and_not_spelled_out(
    make_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server: Server = make_server(requirepass="right")
    async with RedisManager(server.url.replace("right", PASSWORD)) as redis:
        stack = GuardMiddleware(App(), [JWTAuth(KEY)], redis=redis, clock=lambda: NOW)
        response = await get(stack, headers={"authorization": f"Bearer {token()}"})
        assert response.status == 503
        shown = [caplog.text, repr(redis), repr(redis.links), str(response.body)]
    assert "is away" in caplog.text
    assert not [text for text in shown if PASSWORD in text or KEY in text or token() in text]
