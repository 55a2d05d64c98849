"""One exchange with an app, held as a server holds it: messages go in when the test says so, what comes out is kept.

Law: nothing here waits for time; what a test waits for is a message, or the end of the app.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

from asgi_redis_guard.core.asgi import ASGIApp, Headers, Message, Receive, Scope, Send
from asgi_redis_guard.redis.links import Links
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Program

EMPTY: Message = {"type": "http.request", "body": b"", "more_body": False}
CONNECT: Message = {"type": "websocket.connect"}
GONE: Message = {"type": "http.disconnect"}


def http(**changes: Any) -> Scope:
    """The scope of a plain GET, with changes."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "client": ("203.0.113.9", 4000),
        **changes,
    }


def websocket(*, denial: bool = True, **changes: Any) -> Scope:
    """The scope of a handshake; `denial` says that the server can send a response instead of accepting."""
    extensions = {"websocket.http.response": {}} if denial else {}
    return {**http(), "type": "websocket", "subprotocols": [], "extensions": extensions, **changes}


class Call:
    """`await Call(app).run()` for one that needs nothing else; `start`, `feed` and `sees` for the others."""

    def __init__(self, app: ASGIApp, scope: Scope | None = None, *messages: Message) -> None:
        self.scope = http() if scope is None else scope
        self.sent: list[Message] = []
        self.fails: Exception | None = None
        self._app = app
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._news = asyncio.Event()
        for message in messages or ([CONNECT] if self.scope["type"] == "websocket" else [EMPTY]):
            self.feed(message)

    def feed(self, message: Message) -> None:
        """Let the app receive `message`."""
        self._inbox.put_nowait(message)

    async def receive(self) -> Message:
        await asyncio.sleep(0)
        return await self._inbox.get()

    async def send(self, message: Message) -> None:
        if self.fails is not None:
            raise self.fails
        self.sent.append(message)
        self._news.set()
        await asyncio.sleep(0)

    def app(self) -> Awaitable[None]:
        """Call the app, in the caller's task."""
        return self._app(self.scope, self.receive, self.send)

    def start(self) -> Self:
        """Call the app in a task of its own."""
        self.task = asyncio.ensure_future(self.app())
        self.task.add_done_callback(lambda _: self._news.set())
        return self

    async def run(self) -> Self:
        """Call the app and wait for its end; raises what it raises."""
        await self.start().task
        return self

    async def sees(self, kind: str, number: int = 1) -> Message:
        """Wait until the app has sent `number` messages of that type, and return the last of them."""
        while len(found := [message for message in self.sent if message["type"] == kind]) < number:
            assert not self.task.done(), f"no {kind}: the app has ended and sent {self.sent}"
            self._news.clear()
            await self._news.wait()
        return found[number - 1]

    @property
    def kinds(self) -> list[str]:
        """The types of what was sent."""
        return [message["type"] for message in self.sent]

    @property
    def head(self) -> Message:
        """The one head that was sent."""
        (head,) = [message for message in self.sent if "status" in message or message["type"] == "websocket.accept"]
        return head

    @property
    def status(self) -> int:
        """The status that was sent."""
        status: int = self.head["status"]
        return status

    @property
    def headers(self) -> Headers:
        """The header fields that were sent, but those of a problem document."""
        return list(self.head["headers"])

    @property
    def body(self) -> bytes:
        """All the bytes that were sent."""
        return b"".join(message.get("body", b"") for message in self.sent if message["type"].endswith(".body"))


def responding(
    *chunks: bytes, status: int = 200, headers: Headers | None = None, after: Callable[[], Awaitable[Any]] | None = None
) -> ASGIApp:
    """An app that answers with `chunks`, one message each, and then does what comes `after`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers or []})
        for number, chunk in enumerate(chunks or (b"ok",), start=1):
            await send({"type": "http.response.body", "body": chunk, "more_body": number < len(chunks)})
        if after is not None:
            await after()

    return app


@asynccontextmanager
async def noting() -> AsyncIterator[TestRedis]:
    """An empty store in this process that notes its rounds; what runs in the background has ended before it."""
    redis = TestRedis()
    yield redis
    await settled(redis)
    await redis.aclose()


async def settled(redis: RedisManager) -> None:
    """Wait for what runs in the background."""
    while tasks := redis.links._tasks:
        await asyncio.wait(tasks)


class TestRedis(RedisManager):
    """`memory://`, with a note of every round; can be away, or hold its replies back until it is told to give them."""

    __test__ = False

    def __init__(self, **options: Any) -> None:
        super().__init__("memory://", **options)
        self.rounds: list[list[str]] = []
        self.away: Exception | None = None
        self.withheld: list[tuple[asyncio.Future[Any], asyncio.Future[Any]]] | None = None
        self.asked = asyncio.Event()

    def _enter_loop(self, loop: asyncio.AbstractEventLoop) -> Links:
        links = super()._enter_loop(loop)
        if not isinstance(links.lane1, NotingLane):
            links.lane1 = NotingLane(self, links.lane1)  # type: ignore[assignment]
        return links

    def withhold(self) -> None:
        """Carry rounds out and keep the replies."""
        self.withheld = []
        self.asked.clear()

    def give(self) -> None:
        """Give the replies that were withheld, and those to come at once."""
        withheld, self.withheld = self.withheld or [], None
        for later, reply in withheld:
            if not later.done():
                later.set_result(reply.result())

    async def value(self, key: str) -> Any:
        """Read a key."""
        return await self.execute("GET", key)


class NotingLane:
    """A lane that tells a `TestRedis` of every round."""

    def __init__(self, redis: TestRedis, lane: Any) -> None:
        self._redis, self._lane = redis, lane

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lane, name)

    def evaluate(self, program: Program, *args: Any, **options: Any) -> asyncio.Future[Any]:
        redis = self._redis
        if redis.away is not None:
            raise redis.away
        reply: asyncio.Future[Any] = self._lane.evaluate(program, *args, **options)
        redis.rounds.append([line.split()[2] for line in program.source.splitlines() if line.startswith("do -- ")])
        redis.asked.set()
        if redis.withheld is None:
            return reply
        later: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        redis.withheld.append((later, reply))
        return later
