"""What tells one request from another that comes with the same key: method, target and body. Pure."""

from __future__ import annotations

from ..core.asgi import Scope
from ..core.keys import digest


def fingerprint_of(scope: Scope, body: bytes) -> bytes:
    """Return 20 characters that stand for a request; its header fields are left out, for proxies change them."""
    raw: bytes | None = scope.get("raw_path")
    path = scope["path"].encode("utf-8", "surrogatepass") if raw is None else raw.partition(b"?")[0]
    return digest(scope["method"], path, scope.get("query_string", b""), body)
