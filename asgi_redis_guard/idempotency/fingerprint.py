"""What tells one request from another that comes with the same key: method, target and body. Pure."""

from __future__ import annotations

import re

from ..core.asgi import Scope
from ..core.keys import digest

_MULTIPART = re.compile(rb'multipart/[^;]*;(?:.*;)?\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)

#: Parts of a form that are looked at; one of more is compared as it was sent.
_MOST_PARTS = 256


def fingerprint_of(scope: Scope, body: bytes) -> bytes:
    """Return 20 characters that stand for a request; its header fields are left out, for proxies change them.

    So is the boundary between the parts of a form (RFC 2046, section 5.1.1): clients draw another one for each retry.
    """
    raw: bytes | None = scope.get("raw_path")
    path = scope["path"].encode("utf-8", "surrogatepass") if raw is None else raw.partition(b"?")[0]
    return digest(scope["method"], path, scope.get("query_string", b""), *_pieces(scope, body))


def _pieces(scope: Scope, body: bytes) -> list[bytes]:
    """What stands between the boundaries of a form with files; any other body as it is."""
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    match = _MULTIPART.match(types[0]) if len(types) == 1 else None
    if match is None:
        return [body]
    pieces = (b"\r\n" + body).split(b"\r\n--" + (match[1] or match[2]), _MOST_PARTS + 1)
    return pieces if len(pieces) <= _MOST_PARTS else [body]
