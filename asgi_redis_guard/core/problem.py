"""Refusals as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from .asgi import Headers
from .steps import Answer

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    409: "Conflict",
    413: "Content Too Large",
    422: "Unprocessable Content",
    423: "Locked",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def problem(
    status: int,
    reason: str,
    detail: str,
    *,
    type: str = "about:blank",
    title: str | None = None,
    headers: Headers | None = None,
    members: Mapping[str, Any] | None = None,
) -> Answer:
    """Return an answer with a problem document; `members` are extension members of it."""
    document = {"type": type, "title": title or _TITLES.get(status, "Error"), "status": status, "detail": detail}
    body = orjson.dumps({**document, **(members or {})})
    fields = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *(headers or ()),
    ]
    return Answer(status, fields, body, reason=reason)


def retry_field(seconds: float) -> tuple[bytes, bytes]:
    """Return the `Retry-After` field that says when to come back: whole seconds, at least 1."""
    return b"retry-after", b"%d" % max(1, math.ceil(seconds))


def nobody() -> Answer:
    """Nothing says whose request it is, and the guard refuses those of nobody."""
    return problem(400, "unidentified", "The request does not tell whose it is.")


def foreign_cookie() -> Answer:
    """A cookie came along with a request from another site."""
    return problem(403, "cross_origin", "Cookies are not accepted from another origin.")


#: What a client is told where there is nothing better to say.
AWAY = "A service that this request depends on is away."


def unavailable(detail: str, *, retry_after: float = 1.0) -> Answer:
    """Return a 503 with `Retry-After` (whole seconds, at least 1), for a guard that is closed while Redis is away."""
    return problem(503, "unavailable", detail, headers=[retry_field(retry_after)])
