"""A response that is sent as a whole, in place of the app's: over HTTP, or instead of accepting a WebSocket."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.asgi import Headers, Message, Scope


def whole(scope: Scope, status: int, headers: Headers, body: bytes) -> Sequence[Message]:
    """Return its messages: head and body, and for a server that cannot refuse a WebSocket with a response its close."""
    prefix = "http.response"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope.get("extensions", {}):
            return ({"type": "websocket.close", "code": 1008, "reason": ""},)
        prefix = "websocket.http.response"
    body = b"" if scope.get("method") == "HEAD" else body
    return (
        {"type": f"{prefix}.start", "status": status, "headers": headers},
        {"type": f"{prefix}.body", "body": body, "more_body": False},  # some test clients insist on `more_body`
    )
