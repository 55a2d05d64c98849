"""fastapi-alcazaba: its decorator, one entry for everybody; `guarded` with its distributed lock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_alcazaba import Cache
from fastapi_alcazaba.backends.redis import RedisBackend
from redis import asyncio as aioredis

from . import POOL_SIZE, REDIS_URL, work
from .work import TAG, TTL, Body

client = aioredis.from_url(REDIS_URL, max_connections=POOL_SIZE)
cache = Cache(RedisBackend(client), prefix="alcazaba", vary_headers=(), metrics=False, tracing=False)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await client.aclose()


app = FastAPI(lifespan=lifespan)
cache.install(app)


@app.post("/runs")
async def runs() -> int:
    return work.runs


@app.get("/small")
@cache.cached(expire=TTL)
async def small() -> Body:
    return work.small()


@app.get("/large")
@cache.cached(expire=TTL)
async def large() -> Body:
    return work.large()


@app.get("/tagged/{id}")
@cache.cached(expire=TTL, tags=[TAG])
async def tagged(id: int) -> Body:
    return work.small()


@app.get("/slow/{id}")
@cache.cached(expire=TTL)
async def slow(id: int) -> Body:
    return await work.slow(id)


@app.get("/guarded/{id}")
@cache.cached(expire=TTL, distributed_lock=True)
async def guarded(id: int) -> Body:
    return await work.slow(id)


async def evict() -> None:
    """Forget what `tagged` has answered."""
    await cache.invalidate_tags(TAG)
