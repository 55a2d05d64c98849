"""uvicorn in the test's own loop, on a unix socket that belongs to the test."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from asgi_redis_guard.core.asgi import ASGIApp

#: Where a socket's name is not too long for the system, as it may be in the default folder.
SHORT = "/tmp" if Path("/tmp").is_dir() else None


class Server(uvicorn.Server):
    """Leaves the signals to the test run."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Client(httpx.AsyncClient):
    """A client of one server; `path` is its socket."""

    def __init__(self, path: str) -> None:
        super().__init__(transport=httpx.AsyncHTTPTransport(uds=path), base_url="http://test", timeout=30)
        self.path = path


def server_of(app: ASGIApp, **options: Any) -> Server:
    """Return a server that logs nothing of its own."""
    return Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5, **options))  # type: ignore[arg-type]


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[socket.socket, str]]:
    """A unix socket that connections can wait on before the server is up."""
    with tempfile.TemporaryDirectory(prefix="guard-", dir=SHORT) as folder:
        path = f"{folder}/http"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
            sock.listen()
            yield sock, path


@asynccontextmanager
async def served(app: ASGIApp, **options: Any) -> AsyncIterator[Client]:
    """Serve the app for as long as the block lasts."""
    server = server_of(app, **options)
    async with listening() as (sock, path):
        serving = asyncio.ensure_future(server.serve([sock]))
        async with Client(path) as client:
            yield client
        server.should_exit = True
        await serving
