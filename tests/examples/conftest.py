"""Loads an example as it stands in the repository and drives it over ASGI, lifespan included.

Law: an example is never changed for its test; it gets its Redis from the environment, as its reader would give it.
"""

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import Any

import httpx
import pytest

from asgi_redis_guard import GuardMiddleware
from tests.pace import Pace


class Visitor(httpx.AsyncClient):
    """A client of an example, and the story that all examples with tokens share."""

    async def log_in(self, user: str) -> dict[str, str]:
        """Return header fields with a new token."""
        response = await self.post("/login", params={"user": user})
        assert response.status_code == 200
        return {"authorization": f"Bearer {response.json()['access_token']}"}

    async def walk(self) -> None:
        """No token, a token, a log-out, another user, that one's limit."""
        await self._without_token()
        await self._revoked()
        await self._limited()

    async def _without_token(self) -> None:
        refused = await self.get("/me")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Bearer realm="api"'
        assert "ratelimit" not in refused.headers

    async def _revoked(self) -> None:
        alice = await self.log_in("alice")
        passed = await self.get("/me", headers=alice)
        assert (passed.status_code, passed.json()) == (200, {"user": "alice"})
        assert passed.headers["ratelimit-policy"].startswith('"minute";q=10;w=60')
        assert passed.headers["ratelimit"].startswith('"minute";r=9;t=6')
        assert (await self.post("/logout", headers=alice)).status_code == 204
        refused = await self.get("/me", headers=alice)
        assert refused.status_code == 401
        assert 'error_description="The access token was revoked"' in refused.headers["www-authenticate"]

    async def _limited(self) -> None:
        bob = await self.log_in("bob")
        pace = Pace(burst=10, every=6)
        while pace.lets_through((refused := await self.get("/me", headers=bob)).status_code):
            pass
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["violated-policies"] == ["minute"]
        assert refused.headers["ratelimit"].startswith('"minute";r=0;t=')
        assert 1 <= int(refused.headers["retry-after"]) <= 6


Load = Callable[..., ModuleType]
Serve = Callable[[Any], AbstractAsyncContextManager[Visitor]]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Load:
    """Import an example anew, on the shared Valkey or on a given URL."""

    def load(name: str, url: str = redis_url) -> ModuleType:
        monkeypatch.setenv("REDIS_URL", url)
        monkeypatch.setenv("REDIS_TIMEOUT", "20")  # nothing here is about a server that is slow
        monkeypatch.delitem(sys.modules, f"examples.{name}", raising=False)
        return importlib.import_module(f"examples.{name}")

    return load


@pytest.fixture
def serve() -> Serve:
    """Start an app as a server does, visit it, shut it down."""

    @asynccontextmanager
    async def serve(app: Any) -> AsyncIterator[Visitor]:
        async with _lifespan(app), Visitor(transport=httpx.ASGITransport(app), base_url="http://test") as visitor:
            yield visitor

    return serve


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    """Run the lifespan protocol; an app without it raises at once, which servers take as an answer."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.create_task(app(scope, to_app.get, from_app.put))
    to_app.put_nowait({"type": "lifespan.startup"})
    started = asyncio.create_task(from_app.get())
    await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
    if not started.done():
        started.cancel()
        if not isinstance(task.exception(), NotImplementedError):
            await task
        yield
        return
    if started.result()["type"] != "lifespan.startup.complete":
        await task  # raises what went wrong, or else:
        pytest.fail(f"the app did not start: {started.result()}")
    yield
    to_app.put_nowait({"type": "lifespan.shutdown"})
    assert await from_app.get() == {"type": "lifespan.shutdown.complete"}
    await task


def stack_of(app: Any) -> str:
    """Return how the outermost guard middleware at or behind `app` prints its rounds."""
    while not isinstance(app, GuardMiddleware):
        app = app.app
    return repr(app).partition(" around ")[0]
