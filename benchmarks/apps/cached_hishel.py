"""hishel: its ASGI middleware on its Redis storage, by method and URL (`rfc=False`); it has no groups."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from hishel import AsyncRedisStorage
from hishel.asgi import ASGICacheMiddleware
from redis import asyncio as aioredis

from . import POOL_SIZE, REDIS_URL, work
from .work import TTL, Body

logging.getLogger("hishel").setLevel(logging.CRITICAL)  # a traceback for each of many who store the same entry at once
client = aioredis.from_url(REDIS_URL, max_connections=POOL_SIZE)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await client.aclose()


app = FastAPI(lifespan=lifespan)
app.add_middleware(ASGICacheMiddleware, storage=AsyncRedisStorage(client, default_ttl=TTL), rfc=False)


@app.post("/runs")
async def runs() -> int:
    return work.runs


@app.get("/small")
async def small() -> Body:
    return work.small()


@app.get("/large")
async def large() -> Body:
    return work.large()


@app.get("/tagged/{id}")
async def tagged(id: int) -> Body:
    return work.small()


@app.get("/slow/{id}")
async def slow(id: int) -> Body:
    return await work.slow(id)
