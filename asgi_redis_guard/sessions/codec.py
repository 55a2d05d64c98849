"""Session values as JSON text, which is exact (`exact.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..errors import SessionDataError
from ..exact import from_json, to_json


def encode(name: str, value: Any) -> bytes:
    """Return `value` as JSON text; raises `SessionDataError` that names the key for what cannot be kept."""
    if name.__class__ is not str:
        raise SessionDataError(f"session[{name!r}] cannot be kept: the keys of a session are strings")
    try:
        name.encode()
        return to_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise SessionDataError(f"session[{name!r}] cannot be kept: {error}") from None


def decode(text: bytes) -> Any:
    """Return the value of `text`; raises ValueError for what `encode` never makes."""
    return from_json(text)


def decode_all(fields: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the values of all fields, as `decode` does one by one, for less where none carries a tag."""
    texts = b",".join(fields.values())
    if b'"$' in texts:
        return {name: decode(text) for name, text in fields.items()}
    return dict(zip(fields, orjson.loads(b"[%b]" % texts), strict=True))
