"""Drives an ASGI app in this process, without a server: requests with bearer tokens from many callers at once.

What it measures is the app's own work and its Redis traffic; a refused request ends the benchmark.
"""

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[..., Awaitable[None]]


def load_app(name: str, redis_url: str, limits: Sequence[str] = ("1000000/minute", "10000000/hour")) -> Application:
    """`apps/<name>.py` imported anew with these settings."""
    os.environ.update(REDIS_URL=redis_url, BENCH_LIMITS=";".join(limits))
    for module in ("apps", f"apps.{name}"):
        sys.modules.pop(module, None)
    app: Application = importlib.import_module(f"apps.{name}").app
    return app


def scope_of(bearer: str, path: str = "/items/7") -> dict[str, Any]:
    """The scope that a server makes of a GET with this token, or with none if it is empty."""
    credentials = [(b"authorization", b"Bearer " + bearer.encode())] if bearer else []
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), *credentials],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


async def receive() -> Message:
    """An empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def request(app: Application, bearer: str, path: str = "/items/7") -> int:
    """One request; its status."""
    status = 0

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]

    await app(scope_of(bearer, path), receive, send)
    return status


async def drive(app: Application, bearers: Iterable[str], callers: int = 64) -> tuple[int, float]:
    """Send one request for every token, `callers` at a time: how many, and in how many seconds."""
    waiting: Iterator[str] = iter(bearers)

    async def caller() -> int:
        count = 0
        for bearer in waiting:
            status = await request(app, bearer)
            if status != 200:
                raise SystemExit(f"a request got {status}")
            count += 1
        return count

    started = time.perf_counter()
    counts = await asyncio.gather(*(caller() for _ in range(callers)))
    return sum(counts), time.perf_counter() - started


@asynccontextmanager
async def running(app: Any) -> Any:
    """The app between its lifespan's startup and shutdown."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    await inbox.put({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    task = asyncio.create_task(app(scope, inbox.get, outbox.put))
    started = await outbox.get()
    if started["type"] != "lifespan.startup.complete":
        raise SystemExit(f"the app does not start: {started}")
    try:
        yield app
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        await outbox.get()
        await task
