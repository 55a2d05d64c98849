"""Drives an ASGI app as a server does, one exchange at a time, and checks every message that it sends.

Law: what the specification does not allow fails the test, whatever that was about.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asgi_redis_guard.core.asgi import ASGIApp, Message, Receive, Scope, Send

Fields = Mapping[str, str | bytes] | Iterable[tuple[bytes, bytes]]
ADDRESS = "203.0.113.7"


@dataclass
class Response:
    """What a client would see; for a WebSocket that was accepted the status is 101, for one that was closed 403."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    messages: list[Message] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        """Return the one field of that name."""
        (value,) = self.all(name)
        return value

    def all(self, name: str) -> list[str]:
        """Return all fields of that name."""
        return [value.decode("ascii") for key, value in self.headers if key == name.encode()]

    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self.body)


class App:
    """The app behind the guards: keeps the scopes that it gets, answers 200 or what it is told."""

    def __init__(self, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"ok") -> None:
        self.status, self.headers, self.body = status, list(headers), body
        self.scopes: list[Scope] = []

    @property
    def scope(self) -> Scope:
        """The scope of the last exchange."""
        return self.scopes[-1]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept", "headers": list(self.headers)})
            return
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.body})


def fields(given: Fields) -> list[tuple[bytes, bytes]]:
    """Return header fields as ASGI carries them."""
    if not isinstance(given, Mapping):
        return list(given)
    return [(k.encode("ascii"), v if isinstance(v, bytes) else v.encode("latin-1")) for k, v in given.items()]


def http_scope(path: str = "/", headers: Fields = (), *, method: str = "GET", **more: Any) -> Scope:
    """Return the scope of a request, as uvicorn makes it."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "query_string": b"",
        "root_path": "",
        "headers": fields(headers),
        "client": (ADDRESS, 40_000),
        "server": ("127.0.0.1", 80),
        "extensions": {},
    }
    return scope | more


def websocket_scope(path: str = "/", headers: Fields = (), *, denial: bool = True, **more: Any) -> Scope:
    """Return the scope of a handshake; `denial` says that the server can send a response instead of accepting."""
    extensions = {"websocket.http.response": {}} if denial else {}
    scope = http_scope(path, headers) | {
        "type": "websocket",
        "scheme": "ws",
        "subprotocols": [],
        "extensions": extensions,
    }
    del scope["method"]
    return scope | more


async def call(app: ASGIApp, scope: Scope, body: bytes = b"") -> Response:
    """Run one exchange to its end; the client leaves when it has been answered."""
    response, answered = Response(), asyncio.Event()
    first = {"type": "websocket.connect"} if scope["type"] == "websocket" else {"type": "http.request", "body": body}
    inbox: list[Message] = [first]

    async def receive() -> Message:
        if inbox:
            return inbox.pop()
        await answered.wait()
        return {"type": "websocket.disconnect" if scope["type"] == "websocket" else "http.disconnect", "code": 1006}

    async def send(message: Message) -> None:
        _take(response, message)
        answered.set()

    await app(scope, receive, send)
    assert response.status, "no response at all"
    length = response.all("content-length")
    assert not length or scope.get("method") == "HEAD" or length == [str(len(response.body))]
    return response


async def get(app: ASGIApp, path: str = "/", headers: Fields = (), **more: Any) -> Response:
    """Send one request."""
    return await call(app, http_scope(path, headers, **more))


async def handshake(app: ASGIApp, path: str = "/", headers: Fields = (), **more: Any) -> Response:
    """Try to open a WebSocket."""
    return await call(app, websocket_scope(path, headers, **more))


def _take(response: Response, message: Message) -> None:
    kind = message["type"]
    response.messages.append(message)
    if kind in ("http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close"):
        assert not response.status, f"a second head: {message}"
        response.status = message.get("status", 101 if kind == "websocket.accept" else 403)
        response.headers = list(message.get("headers", ()))
        for name, value in response.headers:
            assert name == name.lower().strip() != b"", name
            assert not {0, 10, 13} & {*value}, value
    else:
        assert kind in ("http.response.body", "websocket.http.response.body"), kind
        assert response.status, "a body without a head"
        response.body += message.get("body", b"")
