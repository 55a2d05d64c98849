"""Sockets that were opened with a token, held open until they are closed or their client leaves.

Law: a socket that was opened here has looked once, and words reach it; what closes it is what a test does then.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.core.keys import Keys
from tests.jwt.tokens import NOW, SECRET, bearer
from tests.middleware.calls import CONNECT, Call, settled, websocket
from tests.redis.tools import eventually, within

LEAVES = {"type": "websocket.disconnect", "code": 1005}

#: The topic on which revocations are told.
TOPIC = "tokens"


async def listens(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept a socket and listen until it is over; answer a request."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def stack(
    redis: RedisManager, app: ASGIApp = listens, clock: Callable[[], float] = lambda: NOW, **options: Any
) -> GuardMiddleware:
    """A guard in front of an app that listens."""
    return GuardMiddleware(app, [JWTAuth(SECRET, **options)], redis=redis, clock=clock)


def begin(app: ASGIApp, token: bytes | str, **scope: Any) -> Call:
    """Begin a handshake with a token."""
    encoded = token.encode() if isinstance(token, str) else token
    headers = [(b"host", b"test"), *((name.encode(), value) for name, value in bearer(encoded).items())]
    return Call(app, websocket(**{"headers": headers, **scope}), CONNECT).start()


async def opened(app: ASGIApp, redis: RedisManager, *tokens: bytes | str) -> list[Call]:
    """Open a socket with each token and wait until all have looked."""
    calls = [begin(app, token) for token in tokens]
    for call in calls:
        await within(call.sees("websocket.accept"))
    await looked(redis)
    assert {tuple(call.kinds) for call in calls} == {("websocket.accept",)}
    return calls


async def looked(redis: RedisManager) -> None:
    """Wait until words are heard, and nobody looks any more."""
    await eventually(lambda: redis.pubsub.feed.hears(TOPIC))
    await within(settled(redis))
    assert redis.pubsub.feed.suspects(TOPIC)._later == {}


async def closed(call: Call) -> tuple[int, str]:
    """Wait until it is closed; return code and reason."""
    message = await within(call.sees("websocket.close"))
    return message["code"], message["reason"]


async def leave(*calls: Call) -> None:
    """Let clients leave."""
    for call in calls:
        call.feed(LEAVES)
    await within(asyncio.gather(*[call.task for call in calls]))


def words(keys: Keys, *named: bytes) -> list[bytes]:
    """What is said of marks and cutoffs, given as their keys."""
    return [key[-20:] for key in named]


def is_quiet(redis: RedisManager) -> bool:
    """True if nothing is watched."""
    feed = redis.pubsub.feed
    return repr(feed).endswith(" 0 keys watched>") and not feed._waiting
