"""Users who log in with browsers of their own, at a site whose store the test asks.

Law: an app does with its session what the request says; nothing here knows what is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asgi_redis_guard import GuardMiddleware, RedisManager, Session, Sessions, SessionStore
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.sessions.ids import SessionId, SessionIds
from tests.drive import Response, get

Act = Callable[[Session], Any]


class Accounts:
    """A stack with sessions, and the store that belongs to it."""

    def __init__(self, redis: RedisManager, **options: Any) -> None:
        self.redis = redis
        self.guard = Sessions(**options)
        self.store = SessionStore(redis, guard=self.guard)
        self.stack = GuardMiddleware(self.app, [self.guard], redis=redis)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what the request says, wait for what it says, and answer."""
        done = scope["act"](scope["session"])
        if asyncio.iscoroutine(done):
            await done
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async def login(self, user: str = "alice", **more: Any) -> Visitor:
        """A browser after its login; it has no cookie if that was refused."""
        visitor = Visitor(self)
        await visitor.visit(lambda session: session.update(user_id=user), **more)
        return visitor

    async def made(self, user: str = "alice", **more: Any) -> Visitor:
        """A browser with a session that the store made."""
        _, cookie = await self.store.create(user, **more)
        visitor = Visitor(self)
        visitor.take(cookie)
        return visitor

    async def ids(self, user: str = "alice") -> set[str]:
        """The ids that the store lists."""
        return {info.id for info in await self.store.list(user)}

    async def keys(self) -> list[bytes]:
        """All keys that there are."""
        return sorted(await self.redis.execute("KEYS", "*"))

    async def noted(self, user: str = "alice") -> set[str]:
        """The ids that there are notes of."""
        _, notes, _ = SessionIds(self.guard._key, self.redis.keys).keys_of(user)
        return {handle.decode() for handle in await self.redis.execute("HKEYS", notes)}

    async def lapse(self, visitor: Visitor, *, record_only: bool = False) -> None:
        """Let a session end by itself, as if its time were over; or lose its record alone, as full servers do."""
        await self.redis.execute("DEL", visitor.id.record)
        if not record_only:
            index, _, _ = SessionIds(self.guard._key, self.redis.keys).keys_of("alice")
            await self.redis.execute("ZADD", index, "XX", "1", visitor.id.handle)

    async def shift(self, visitor: Visitor, *, created: int = 0, touched: int = 0) -> None:
        """Move the times of a record, in ms."""
        times = (await self.redis.execute("HGET", visitor.id.record, "m")).split(b":")
        times[0], times[3] = b"%d" % (int(times[0]) + created), b"%d" % (int(times[3]) + touched)
        await self.redis.execute("HSET", visitor.id.record, "m", b":".join(times))


class Visitor:
    """A browser with a cookie jar for one site."""

    def __init__(self, site: Accounts, cookie: str | None = None) -> None:
        self.site = site
        self.cookie = cookie
        self.response = Response()
        self.session = Session()

    @property
    def id(self) -> SessionId:
        """What the cookie means."""
        assert self.cookie is not None
        found = SessionIds(self.site.guard._key, self.site.redis.keys).read(self.cookie.encode())
        assert found is not None
        return found

    @property
    def handle(self) -> str:
        """The name of the session that may be shown."""
        return self.id.handle.decode()

    def take(self, field: str) -> None:
        """Keep what a Set-Cookie field gives."""
        self.cookie = field.partition("=")[2].partition(";")[0] or None

    async def visit(self, act: Act = lambda session: None, **more: Any) -> Session:
        """Send a request; return the session that the app saw."""

        def see(session: Session) -> Any:
            self.session = session
            return act(session)

        name = self.site.guard.policy.cookie.name.decode()
        headers = {"cookie": f"{name}={self.cookie}"} if self.cookie is not None else {}
        self.response = await get(self.site.stack, "/", headers | more.pop("headers", {}), act=see, **more)
        for field in self.response.all("set-cookie"):
            self.take(field)
        return self.session

    async def user(self) -> str | None:
        """Who the site takes this browser for."""
        found: str | None = (await self.visit()).get("user_id")
        return found
