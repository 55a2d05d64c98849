"""Browsers that visit a site with sessions, and a way to make records older.

Law: a visit does with its session what the test says; nothing here knows what is right.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Self

from asgi_redis_guard import GuardMiddleware, RedisManager, Session, Sessions
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.sessions.ids import SessionId, SessionIds
from tests.drive import Response, call, http_scope

Act = Callable[[Session], Any]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do with the session what the visit says, and answer as it says."""
    act, results = scope["visit"]
    result = act(scope["session"])
    results.append(await result if inspect.isawaitable(result) else result)
    await send({"type": "http.response.start", "status": scope["answers"], "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


class Site:
    """A stack with sessions, whose keys are below the store's prefix."""

    def __init__(self, redis: RedisManager, **options: Any) -> None:
        self.redis = redis
        self.guard = Sessions(**options)
        self.stack = GuardMiddleware(app, [self.guard], redis=redis)

    def browser(self, cookie: str | None = None) -> Browser:
        """A browser that has this cookie."""
        return Browser(self, cookie)

    async def signed_in(self, **values: Any) -> Browser:
        """A browser with a session that holds `values`."""
        browser = self.browser()
        await browser.visit(lambda session: session.update(values or {"user_id": "alice"}))
        assert browser.cookie is not None
        return browser

    async def keys(self) -> list[bytes]:
        """All keys that there are."""
        return sorted(await self.redis.execute("KEYS", "*"))

    async def fields(self, key: bytes) -> dict[bytes, bytes]:
        """A hash, whatever the protocol."""
        flat = await self.redis.execute("HGETALL", key)
        return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))

    async def times(self, key: bytes) -> tuple[int, int, int, int, int]:
        """When a record was made, ends at the latest, may be unused, was last used; its version. In ms."""
        created, ends, idle, touched, version = map(int, (await self.fields(key))[b"m"].split(b":"))
        return created, ends, idle, touched, version

    async def age(self, key: bytes, seconds: float) -> None:
        """Let a record have been there for so much longer."""
        created, ends, idle, touched, version = await self.times(key)
        ms = round(seconds * 1000)
        left = await self.redis.execute("PTTL", key)
        await self.redis.execute("HSET", key, "m", f"{created - ms}:{ends - ms}:{idle}:{touched - ms}:{version}")
        await self.redis.execute("PEXPIRE", key, left - ms)


class Browser:
    """Keeps the cookie of a site as browsers do."""

    def __init__(self, site: Site, cookie: str | None = None) -> None:
        self.site = site
        self.cookie = cookie
        self.response = Response()

    @property
    def id(self) -> SessionId:
        """What the cookie means."""
        found = SessionIds(self.site.guard._key, self.site.redis.keys).read(self.token)
        assert found is not None
        return found

    @property
    def token(self) -> bytes:
        """The cookie's value."""
        assert self.cookie is not None
        return self.cookie.encode()

    def twin(self) -> Browser:
        """Another tab, with a cookie jar of its own."""
        return Browser(self.site, self.cookie)

    async def visit(self, act: Act = dict, *, status: int = 200, **more: Any) -> Any:
        """Send a request, keep the cookie that comes, return what `act` has returned; None if it was not called."""
        results: list[Any] = []
        name = self.site.guard.policy.cookie.name.decode()
        headers = {"cookie": f"{name}={self.cookie}"} if self.cookie is not None else {}
        scope = http_scope("/", headers, visit=(act, results), answers=status, **{"scheme": "https"} | more)
        self.response = await call(self.site.stack, scope)
        for field in self.response.all("set-cookie"):
            value = field.partition("=")[2].partition(";")[0]
            self.cookie = value or None
        return results[0] if results else None

    @property
    def told(self) -> list[str]:
        """The Set-Cookie fields of the last response."""
        return self.response.all("set-cookie")


class Slow:
    """A visit that has its session and does the rest when it is told to."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, session: Session) -> Any:
        self.begun.set()
        await self.go.wait()
        result = self.act(session)
        return await result if inspect.isawaitable(result) else result

    async def start(self, browser: Browser, **more: Any) -> Self:
        """Begin, and return when the session was loaded."""
        self.task = asyncio.ensure_future(browser.visit(self, **more))
        await self.begun.wait()
        return self

    async def finish(self) -> Any:
        """Go on to the end."""
        self.go.set()
        return await self.task


def put(**values: Any) -> Act:
    """A visit that assigns."""
    return lambda session: session.update(values)


async def loaded(session: Session) -> dict[str, Any]:
    """A visit that loads, and tells what is there."""
    await session.load()
    return dict(session)
