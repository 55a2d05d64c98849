"""Reading the Cookie header (RFC 6265 §5.4), bytes in, bytes out, no matter what is in it."""

from __future__ import annotations

import re

from .documents import Unclear
from .exchange import Exchange

#: Bytes of Cookie fields that are looked at; browsers stay far below, floods do not.
_MOST = 32_768

_SPACE = b" \t"

#: Values that all readers take as they stand: no quotes or escapes, and nothing that some take for white space.
_CLEAR = re.compile(rb"[ !#-\[\]-~]*+")


def cookie_values(exchange: Exchange, name: bytes) -> list[bytes]:
    """Return every value that the request gives for the cookie `name`, in order, without surrounding quotes."""
    fields = exchange.headers(b"cookie")
    if not fields:
        return fields
    field = fields[0] if len(fields) == 1 else b"; ".join(fields)
    if name not in field or len(field) > _MOST:
        return []
    values = []
    for pair in field.split(b";"):
        key, found, value = pair.strip(_SPACE).partition(b"=")
        if found and key == name:
            value = value.strip(_SPACE)
            values.append(value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value)
    return values


def clear_cookies(exchange: Exchange, name: bytes) -> list[bytes]:
    """Return the same; raises `Unclear` where an app may read another value, or any at all, for that cookie."""
    field = b"; ".join(exchange.headers(b"cookie"))
    if len(field) > _MOST or (not field.isascii() and name in field):
        raise Unclear("cookies")
    values = cookie_values(exchange, name)
    if not all(map(_CLEAR.fullmatch, values)):
        raise Unclear("cookies")
    return values
