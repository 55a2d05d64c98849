"""The `Age` field of a response from the cache (RFC 9111 §5.1). Pure."""

from __future__ import annotations

from ..core.asgi import Headers

#: RFC 9111 §1.2.2: what a number of seconds is capped at.
_LARGEST = 2_147_483_648


def put_age(headers: Headers, seconds: float) -> None:
    """Set `Age` to whole seconds, rounded down, in place of every line that was stored with the response."""
    headers[:] = [field for field in headers if field[0] != b"age"]
    headers.append((b"age", b"%d" % max(0, min(int(seconds), _LARGEST))))
