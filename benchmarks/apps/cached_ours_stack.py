"""Our cache behind JWT, blacklist and two limits: an entry for a user and a language, with a tag."""

from fastapi import FastAPI, Request

from asgi_redis_guard import (
    JWTAuthMiddleware,
    RateLimitMiddleware,
    RedisManager,
    ResponseCacheMiddleware,
    cached,
)

from . import LIMITS, REDIS_URL, SECRET, work
from .work import TAG, TTL, Body

redis = RedisManager(REDIS_URL)
app = FastAPI()
app.add_middleware(ResponseCacheMiddleware, redis=redis)
app.add_middleware(RateLimitMiddleware, *LIMITS, key="user", redis=redis)
app.add_middleware(JWTAuthMiddleware, key=SECRET, algorithms=["HS256"], redis=redis)


@app.post("/runs")
async def runs() -> int:
    return work.runs


@app.get("/small")
@cached(ttl=TTL, user_aware=True, vary=("Accept-Language",), tags=(TAG, "user:{user}"))
async def small(request: Request) -> Body:
    return {**work.small(), "user": request.user.identity}


@app.get("/large")
@cached(ttl=TTL, user_aware=True, vary=("Accept-Language",), tags=(TAG, "user:{user}"))
async def large(request: Request) -> Body:
    return {**work.large(), "user": request.user.identity}
