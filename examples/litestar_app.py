"""Litestar: its middlewares stand around each route, so the guards are made once and the lifespan is given by itself.

Run it with `uvicorn examples.litestar_app:app`, on `REDIS_URL` or else on an embedded server. Around the whole app, as
`app = GuardMiddleware(Litestar(...), guards, redis=redis)`, they also see the requests that no route matches.
"""

import os
import time
from typing import Any
from uuid import uuid4

import jwt
from litestar import Litestar, Request, get, post
from litestar.middleware import DefineMiddleware

from asgi_redis_guard import GuardMiddleware, JWTAuth, RateLimit, RedisManager, RevocationList, VerifiedUser

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
revoked = RevocationList(redis)
guards = [JWTAuth(SECRET, exempt=["/login"]), RateLimit("10/minute", key="user")]  # the first is the outermost


@post("/login", status_code=200)
async def login(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Give out a token; this is where an app checks a password."""
    claims = {"sub": request.query_params["user"], "jti": uuid4().hex, "exp": int(time.time()) + 900}
    return {"access_token": jwt.encode(claims, SECRET)}


@get("/me")
async def me(request: Request[VerifiedUser, Any, Any]) -> dict[str, str]:
    """Tell who is asking."""
    return {"user": request.user.identity}


@post("/logout", status_code=204)
async def logout(request: Request[VerifiedUser, Any, Any]) -> None:
    """Revoke the token that the request came with."""
    await revoked.revoke_token(request.user)


app = Litestar(
    [login, me, logout],
    middleware=[DefineMiddleware(GuardMiddleware, guards=guards, redis=redis)],
    lifespan=[redis.lifespan],
)
