"""Plain ASGI, without a framework: a callable, and the guards around it.

Run it with `uvicorn examples.plain_asgi:app`, on `REDIS_URL` or else on an embedded server.
"""

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import jwt
import orjson

from asgi_redis_guard import GuardMiddleware, JWTAuth, RateLimit, RedisManager, RevocationList

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
revoked = RevocationList(redis)


async def api(scope: Message, receive: Receive, send: Send) -> None:
    """Answer requests; whoever gets here has passed the guards, and stands in `scope["user"]`."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # a server takes that as "no lifespan": Redis is reached when needed
    match scope["method"], scope["path"]:
        case "POST", "/login":  # this is where an app checks a password
            user = parse_qs(scope["query_string"].decode())["user"][0]
            claims = {"sub": user, "jti": uuid4().hex, "exp": int(time.time()) + 900}
            await respond(send, 200, {"access_token": jwt.encode(claims, SECRET)})
        case "GET", "/me":
            await respond(send, 200, {"user": scope["user"].identity})
        case "POST", "/logout":
            await revoked.revoke_token(scope["user"])
            await respond(send, 204)
        case _:
            await respond(send, 404, {"detail": "Not Found"})


async def respond(send: Send, status: int, content: object = None) -> None:
    """Send a whole response."""
    headers = [(b"content-type", b"application/json")] if content is not None else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(content) if content is not None else b""})


app = GuardMiddleware(
    api,
    [JWTAuth(SECRET, exempt=["/login"]), RateLimit("10/minute", key="user")],  # the first is the outermost
    redis=redis,
)
