"""cashews: its decorator on its Redis backend, without its middlewares; `guarded` with its lock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cashews import cache
from fastapi import FastAPI

from . import POOL_SIZE, REDIS_URL, work
from .work import TAG, TTL, Body

cache.setup(REDIS_URL, max_connections=POOL_SIZE)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await cache.init()
    yield
    await cache.close()


app = FastAPI(lifespan=lifespan)


@app.post("/runs")
async def runs() -> int:
    return work.runs


@app.get("/small")
@cache(ttl=TTL, key="small")
async def small() -> Body:
    return work.small()


@app.get("/large")
@cache(ttl=TTL, key="large")
async def large() -> Body:
    return work.large()


@app.get("/tagged/{id}")
@cache(ttl=TTL, key="tagged:{id}", tags=[TAG])
async def tagged(id: int) -> Body:
    return work.small()


@app.get("/slow/{id}")
@cache(ttl=TTL, key="slow:{id}")
async def slow(id: int) -> Body:
    return await work.slow(id)


@app.get("/guarded/{id}")
@cache(ttl=TTL, key="guarded:{id}", lock=True)
async def guarded(id: int) -> Body:
    return await work.slow(id)


async def evict() -> None:
    """Forget what `tagged` has answered."""
    await cache.delete_tags(TAG)
