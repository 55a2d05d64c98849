"""Sockets whose messages are counted: an app that keeps what it receives, and a client that says things."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, MessageLimit, RedisManager
from asgi_redis_guard.core.asgi import Message, Receive, Scope, Send
from asgi_redis_guard.middleware import receiving
from tests.middleware.calls import CONNECT, Call, websocket
from tests.redis.tools import PATIENCE

LEAVES: Message = {"type": "websocket.disconnect", "code": 1001}


def says(said: str | bytes) -> Message:
    """A message from the client."""
    return {"type": "websocket.receive", "text" if isinstance(said, str) else "bytes": said}


class Chat:
    """Accepts, keeps what it receives, and answers each message with "heard"."""

    def __init__(self) -> None:
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        assert await receive() == CONNECT
        await send({"type": "websocket.accept"})
        while True:
            self.received.append(await receive())
            if self.received[-1]["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": "heard"})

    @property
    def heard(self) -> list[Any]:
        """What was said, as far as it came through."""
        return [one.get("text", one.get("bytes")) for one in self.received if one["type"] == "websocket.receive"]

    @property
    def end(self) -> int:
        """The code that the socket was closed with, as the app saw it."""
        code: int = self.received[-1]["code"]
        return code


async def chat(redis: RedisManager, guard: MessageLimit, *said: str | bytes, **options: Any) -> tuple[Call, Chat]:
    """Open a socket, say all of it, and leave."""
    app = Chat()
    stack = GuardMiddleware(app, [guard], redis=redis, **options)
    return await Call(stack, websocket(), CONNECT, *map(says, said), LEAVES).run(), app


def closes(call: Call) -> list[tuple[int, str]]:
    """With what the client's socket was closed."""
    return [(one["code"], one["reason"]) for one in call.sent if one["type"] == "websocket.close"]


async def considered(call: Call) -> None:
    """Wait until all that was said has been let through or not: until somebody waits for more."""
    inbox: Any = call._inbox
    async with asyncio.timeout(PATIENCE):
        while not inbox.empty() or not inbox._getters:  # noqa: ASYNC110  (there is no event)
            await asyncio.sleep(0)


class Waits:
    """Stands for the waiting of messages: notes how long, and has the limits' keys gone afterwards, as time does."""

    def __init__(self, redis: RedisManager, monkeypatch: pytest.MonkeyPatch, forget: bool = True) -> None:
        self.seconds: list[float] = []
        self._redis, self._forget = redis, forget
        monkeypatch.setattr(receiving, "wait_for", self)

    async def __call__(self, step: Any) -> None:
        self.seconds.append(step.deadline)
        if self._forget:
            for key in await self._redis.execute("KEYS", "guard:l:*"):
                await self._redis.execute("DEL", key)
