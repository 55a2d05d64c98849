"""Reading the Cookie header (RFC 6265 §5.4), bytes in, bytes out, no matter what is in it."""

from __future__ import annotations

import re
from functools import lru_cache

from .exchange import Exchange

#: Bytes of Cookie fields that are looked at; browsers stay far below, floods do not.
_MOST = 32_768


def cookie_values(exchange: Exchange, name: bytes) -> list[bytes]:
    """Return every value that the request gives for the cookie `name`, in order, without surrounding quotes."""
    fields = exchange.headers(b"cookie")
    if not fields:
        return fields
    field = fields[0] if len(fields) == 1 else b"; ".join(fields)
    if name not in field or len(field) > _MOST:
        return []
    found: list[bytes] = _pairs_of(name).findall(field)
    return [_bare(value) for value in found]


def _bare(value: bytes) -> bytes:
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value


@lru_cache(maxsize=64)
def _pairs_of(name: bytes) -> re.Pattern[bytes]:
    """Return what finds the pairs of that name. Nothing in it is tried twice: clients choose what it runs over."""
    return re.compile(rb"(?:^|;)\s*%b=([^;]*)" % re.escape(name))
