"""fastapi-redis-sdk: its `cache` dependency; a group is its `eviction_group`."""

from fastapi import Depends, FastAPI
from redis import asyncio as aioredis
from redis_fastapi import CacheBackend, FastAPIRedis, cache, get_settings

from . import POOL_SIZE, REDIS_URL, work
from .work import TAG, TTL, Body

settings = get_settings()
settings.url, settings.max_connections = REDIS_URL, POOL_SIZE
client = aioredis.from_url(REDIS_URL)  # outside of requests the library's own is out of reach
app = FastAPI()
FastAPIRedis(app).lifespan().caching()


@app.post("/runs")
async def runs() -> int:
    return work.runs


@app.get("/small", dependencies=[Depends(cache(ttl=TTL))])
async def small() -> Body:
    return work.small()


@app.get("/large", dependencies=[Depends(cache(ttl=TTL))])
async def large() -> Body:
    return work.large()


@app.get("/tagged/{id}", dependencies=[Depends(cache(ttl=TTL, eviction_group=TAG))])
async def tagged(id: int) -> Body:
    return work.small()


@app.get("/slow/{id}", dependencies=[Depends(cache(ttl=TTL))])
async def slow(id: int) -> Body:
    return await work.slow(id)


async def evict() -> None:
    """Forget what `tagged` has answered."""
    await CacheBackend(client, eviction_group=TAG).delete_group()
