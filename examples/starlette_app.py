"""Starlette: verified, revocable, rate-limited requests at one Redis round trip each.

Run it with `uvicorn examples.starlette_app:app`, on `REDIS_URL` or else on an embedded server.
"""

import os
import time
from uuid import uuid4

import jwt
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi_redis_guard import JWTAuthMiddleware, RateLimitMiddleware, RedisManager, RevocationList

SECRET = os.environ.get("JWT_SECRET", "a secret of at least 32 bytes, from a secret store")

redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
revoked = RevocationList(redis)


async def login(request: Request) -> JSONResponse:
    """Give out a token; this is where an app checks a password."""
    claims = {"sub": request.query_params["user"], "jti": uuid4().hex, "exp": int(time.time()) + 900}
    return JSONResponse({"access_token": jwt.encode(claims, SECRET)})


async def me(request: Request) -> JSONResponse:
    """Tell who is asking."""
    return JSONResponse({"user": request.user.identity})


async def logout(request: Request) -> Response:
    """Revoke the token that the request came with."""
    await revoked.revoke_token(request.user)
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/login", login, methods=["POST"]),
        Route("/me", me),
        Route("/logout", logout, methods=["POST"]),
    ],
    middleware=[  # the first is the outermost; neighbours become one stack
        Middleware(JWTAuthMiddleware, key=SECRET, exempt=["/login"], redis=redis),
        Middleware(RateLimitMiddleware, "10/minute", key="user", redis=redis),
    ],
)
