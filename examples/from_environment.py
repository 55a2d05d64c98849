"""Guards from the environment alone: the code names none of them, the deployment does.

    export REDIS_URL=embedded:// GUARD_STACK=jwt,ratelimit GUARD_EXEMPT=/login
    export GUARD_JWT_KEY='a secret of at least 32 bytes, from a secret store'
    export GUARD_LIMITS=10/minute,100/hour GUARD_LIMIT_KEY=user
    uvicorn --lifespan on examples.from_environment:app

A stack that is empty or half configured is a `ConfigurationError` when the app starts, never an open door.
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

from asgi_redis_guard import GuardMiddleware, RedisManager, RevocationList


async def login(request: Request) -> JSONResponse:
    """Give out a token, signed with the key that the guard verifies with."""
    claims = {"sub": request.query_params["user"], "jti": uuid4().hex, "exp": int(time.time()) + 900}
    return JSONResponse({"access_token": jwt.encode(claims, os.environ["GUARD_JWT_KEY"])})


async def me(request: Request) -> JSONResponse:
    """Tell who is asking."""
    return JSONResponse({"user": request.user.identity})


async def logout(request: Request) -> Response:
    """Revoke the token that the request came with, on the manager that the middleware uses as well."""
    await RevocationList(RedisManager.shared()).revoke_token(request.user)
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/login", login, methods=["POST"]),
        Route("/me", me),
        Route("/logout", logout, methods=["POST"]),
    ],
    middleware=[Middleware(GuardMiddleware)],
)
