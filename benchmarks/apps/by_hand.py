"""PyJWT, redis-py and `limits` put together by hand: one pool, the strategy that costs least (fixed windows)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Request
from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.asyncio import ConnectionPool, Redis

from . import LIMITS, POOL_SIZE, REDIS_URL, SECRET, TOKEN_LIFE

pool = ConnectionPool.from_url(REDIS_URL, max_connections=POOL_SIZE)
redis = Redis(connection_pool=pool)
limiter = FixedWindowRateLimiter(RedisStorage("async+redis://", implementation="redispy", connection_pool=pool))
rates = [parse(rate) for rate in LIMITS]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await pool.aclose()


app = FastAPI(lifespan=lifespan)


async def authenticate(request: Request) -> dict[str, Any]:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp", "sub", "jti"]})
    except jwt.InvalidTokenError:
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None
    if await redis.exists(f"revoked:{claims['jti']}"):
        raise HTTPException(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return claims


Claims = Annotated[dict[str, Any], Depends(authenticate)]


async def limited(claims: Claims) -> None:
    for rate in rates:
        if not await limiter.hit(rate, "items", claims["sub"]):
            raise HTTPException(429, headers={"Retry-After": str(rate.get_expiry())})


@app.get("/items/{id}", dependencies=[Depends(limited)])
async def item(id: int, claims: Claims) -> dict[str, object]:
    return {"id": id, "user": claims["sub"]}


@app.post("/logout")
async def logout(claims: Claims) -> None:
    await redis.set(f"revoked:{claims['jti']}", 1, ex=TOKEN_LIFE)
