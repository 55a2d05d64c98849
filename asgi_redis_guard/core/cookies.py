"""Reading the Cookie header (RFC 6265 §5.4), bytes in, bytes out, no matter what is in it."""

from __future__ import annotations

from .exchange import Exchange

#: Bytes of Cookie fields that are looked at; browsers stay far below, floods do not.
_MOST = 32_768

_SPACE = b" \t"


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
