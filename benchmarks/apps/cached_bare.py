"""The routes without a cache: what a hit has to beat."""

from fastapi import FastAPI

from . import work
from .work import Body

app = FastAPI()


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
