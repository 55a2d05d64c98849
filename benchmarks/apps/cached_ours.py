"""Our cache: one middleware, and `@cached` on the routes; one fill for a key in all processes is its default."""

from fastapi import FastAPI

from asgi_redis_guard import Cache, RedisManager, ResponseCacheMiddleware, cached

from . import MEMORY_TTL, REDIS_URL, work
from .work import TAG, TTL, Body

redis = RedisManager(REDIS_URL)
app = FastAPI()
app.add_middleware(ResponseCacheMiddleware, redis=redis, memory_ttl=MEMORY_TTL)


@app.post("/runs")
async def runs() -> int:
    return work.runs


@app.get("/small")
@cached(ttl=TTL)
async def small() -> Body:
    return work.small()


@app.get("/large")
@cached(ttl=TTL)
async def large() -> Body:
    return work.large()


@app.get("/tagged/{id}")
@cached(ttl=TTL, tags=(TAG,))
async def tagged(id: int) -> Body:
    return work.small()


@app.get("/slow/{id}")
@cached(ttl=TTL)
async def slow(id: int) -> Body:
    return await work.slow(id)


async def evict() -> None:
    """Forget what `tagged` has answered."""
    await Cache(redis).invalidate(tags=[TAG])
