"""fastapi-alcazaba: its limiter and its TokenBlocklist on its Redis backend, with PyJWT in a dependency before them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi_alcazaba import Cache
from fastapi_alcazaba.backends.redis import RedisBackend
from fastapi_alcazaba.limiter import FastAPIRateLimiter
from fastapi_alcazaba.tokens import TokenBlocklist
from redis import asyncio as aioredis
from starlette.requests import HTTPConnection

from . import LIMITS, POOL_SIZE, REDIS_URL, SECRET

client = aioredis.from_url(REDIS_URL, max_connections=POOL_SIZE)
cache = Cache(RedisBackend(client), prefix="bench", metrics=False, tracing=False)
blocklist = TokenBlocklist(cache)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await client.aclose()


app = FastAPI(lifespan=lifespan)
cache.install(app)


async def authenticate(request: Request) -> dict[str, Any]:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub", "jti"]})
    except jwt.InvalidTokenError:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None
    if await blocklist.is_revoked(claims["jti"]):
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    request.state.user = claims["sub"]
    return claims


def user_of(connection: HTTPConnection) -> str:
    return connection.state.user


def limiter(rate: str) -> FastAPIRateLimiter:
    times, _, unit = rate.partition("/")
    hours = {"hour": 1, "day": 24, "month": 720}.get(unit, 0)
    return FastAPIRateLimiter(int(times), minutes=unit == "minute", hours=hours, identifier=user_of, cache=cache)


Claims = Annotated[dict[str, Any], Depends(authenticate)]
limits = [Depends(limiter(rate)) for rate in LIMITS]


@app.get("/items/{id}", dependencies=[Depends(authenticate), *limits])
async def item(id: int, claims: Claims) -> dict[str, object]:
    return {"id": id, "user": claims["sub"]}


@app.post("/logout")
async def logout(claims: Claims) -> None:
    await blocklist.revoke(claims["jti"], expires_at=claims["exp"])
