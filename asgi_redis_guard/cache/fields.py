"""Looking up header fields of a message. Pure; it never changes what it is given."""

from __future__ import annotations

import re

from ..core.asgi import Headers

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

#: Optional whitespace (RFC 9110 §5.6.3); nothing else may be stripped from a field.
OWS = b" \t"


def lines(headers: Headers, name: bytes) -> list[bytes]:
    """Return the values of every line of the field with that lower-case `name`, in order."""
    return [value for key, value in headers if key == name]


def sole(headers: Headers, name: bytes) -> bytes | None:
    """Return the value of a field that may have one line only; None if it is absent or repeated."""
    found = lines(headers, name)
    return found[0].strip(OWS) if len(found) == 1 else None


def is_token(name: object) -> bool:
    """Tell whether a text can be the name of a field (RFC 9110 §5.1)."""
    return isinstance(name, str) and _TOKEN.fullmatch(name) is not None
