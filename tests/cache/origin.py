"""A scripted app behind a `ResponseCache(profile="http")`, a client in front of it, and a clock moved by hand.

The clock is one for all of them: the engine's, and that of the fakeredis that the cache stores in. Fields are written
as one text, `cache-control: max-age=60 | expires: {+60}`, in which `{+60}` is the date 60 seconds from now.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, NamedTuple, Self
from unittest.mock import patch

import fakeredis._helpers
import fakeredis._socket._base
import fakeredis.commands_mixins.server_mixin

from asgi_redis_guard import RedisManager, ResponseCache
from asgi_redis_guard.core.asgi import Headers, Receive, Scope, Send
from asgi_redis_guard.middleware.engine import GuardMiddleware
from tests.cache.fixdate import fixdate
from tests.drive import Response, call, http_scope
from tests.middleware.calls import settled

_MODULES = (fakeredis._helpers, fakeredis._socket._base, fakeredis.commands_mixins.server_mixin)
_OFFSET = re.compile(r"\{([+-]?\d+)\}")


class Clock:
    """Seconds since the epoch; stands for the module `time` in fakeredis as well."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    time = __call__

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let fakeredis go by this clock."""
        with ExitStack() as stack:
            for module in _MODULES:
                stack.enter_context(patch.object(module, "time", self))
            yield

    def fields(self, text: str) -> Headers:
        """Return the fields that `text` stands for."""
        lines = [line.partition(":") for line in text.split(" | ") if line.strip()]
        return [
            (name.strip().lower().encode(), self._dated(value.strip(" ")).encode("latin-1")) for name, _, value in lines
        ]

    def _dated(self, value: str) -> str:
        return _OFFSET.sub(lambda found: fixdate(self.now + int(found[1])).decode(), value)


class Reply(NamedTuple):
    """What the app answers: after `takes` seconds, or it raises `error`. Without a body, one that tells its number."""

    fields: str = ""
    status: int = 200
    body: bytes | None = None
    takes: float = 0.0
    error: Exception | None = None


class App:
    """The app: gives `reply`, or what `choose` makes of a scope; keeps the scopes and the bodies of its answers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reply = Reply()
        self.choose: Callable[[Scope], Reply] | None = None
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = self.reply if self.choose is None else self.choose(scope)
        self.scopes.append(scope)
        self.clock.now += reply.takes
        if reply.error is not None:
            raise type(reply.error)(*reply.error.args)  # that of the table would hold the frames that it has passed
        body = b"this is answer %d" % len(self.scopes) if reply.body is None else reply.body
        if reply.status in (204, 304):
            body = b""
        else:
            self.bodies.append(body)
        sent = b"" if scope["method"] == "HEAD" else body
        headers = self.clock.fields(reply.fields)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": sent[:5], "more_body": True})
        await send({"type": "http.response.body", "body": sent[5:]})


class Sent(NamedTuple):
    """A response, how many requests the app got in front of it, and how many behind it."""

    response: Response
    asked: int
    behind: int


class Lab:
    """The app behind the cache, and its client. An asynchronous context."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.app = App(self.clock)
        #: Without refreshes before the time, which are at random.
        self.options = {"profile": "http", "early": 0.0, **options}

    async def __aenter__(self) -> Self:
        self._kept = self.clock.kept()
        self._kept.__enter__()
        self.redis = RedisManager("memory://")
        self.cache = ResponseCache(**self.options)
        self.stack = GuardMiddleware(self.app, [self.cache], redis=self.redis, clock=self.clock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.redis.aclose()
        self._kept.__exit__(kind, error, trace)

    async def send(self, method: str = "GET", path: str = "/", fields: str = "", **scope: Any) -> Sent:
        """Send a request, and wait until all is done behind its response."""
        before = len(self.app.scopes)
        headers = self.clock.fields(fields)
        if not any(name == b"host" for name, _ in headers):
            headers.append((b"host", b"a.example"))
        path, _, query = path.partition("?")
        scope = http_scope(path, headers, method=method, query_string=query.encode()) | scope
        response = await call(self.stack, scope)
        asked = len(self.app.scopes)
        await settled(self.redis)
        return Sent(response, asked - before, len(self.app.scopes) - asked)
