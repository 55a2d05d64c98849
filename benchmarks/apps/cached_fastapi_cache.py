"""fastapi-cache2: its decorator on its Redis backend; a group is a namespace. Its JSON coder is its README's orjson."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi_cache import Coder, FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis import asyncio as aioredis

from . import POOL_SIZE, REDIS_URL, work
from .work import TAG, TTL, Body


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    client = aioredis.from_url(REDIS_URL, max_connections=POOL_SIZE)
    FastAPICache.init(RedisBackend(client), prefix="fastapi-cache")
    yield
    FastAPICache.reset()
    await client.aclose()


class ORJsonCoder(Coder):
    @classmethod
    def encode(cls, value: Any) -> bytes:
        return orjson.dumps(value, default=jsonable_encoder, option=orjson.OPT_NON_STR_KEYS)

    @classmethod
    def decode(cls, value: bytes) -> Any:
        return orjson.loads(value)


app = FastAPI(lifespan=lifespan)


@app.post("/runs")
async def runs() -> int:
    return work.runs


@app.get("/small")
@cache(expire=TTL, coder=ORJsonCoder)
async def small() -> Body:
    return work.small()


@app.get("/large")
@cache(expire=TTL, coder=ORJsonCoder)
async def large() -> Body:
    return work.large()


@app.get("/tagged/{id}")
@cache(expire=TTL, coder=ORJsonCoder, namespace=TAG)
async def tagged(id: int) -> Body:
    return work.small()


@app.get("/slow/{id}")
@cache(expire=TTL, coder=ORJsonCoder)
async def slow(id: int) -> Body:
    return await work.slow(id)


async def evict() -> None:
    """Forget what `tagged` has answered."""
    await FastAPICache.clear(namespace=TAG)
