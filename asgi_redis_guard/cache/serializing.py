"""Values to bytes and back. Pure.

Text and bytes are kept as they are, anything else as JSON that is exact (`exact.py`). The entry's one field says
which, so that what was written under another serializer is never taken for something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.asgi import Headers
from ..errors import EntryUnreadable
from ..exact import from_json, to_json

#: Two functions: a value to bytes, and bytes to a value.
Serializer = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]

_FIELD = b"content-type"
_TEXT, _BYTES, _JSON, _OWN = b"text/plain", b"application/octet-stream", b"application/json", b"application/x-own"


class Serializing:
    """Makes bytes of values, by `serializer` where one is given."""

    __slots__ = ("_own",)

    def __init__(self, serializer: Serializer | None) -> None:
        self._own = serializer

    def dump(self, value: Any) -> tuple[Headers, bytes]:
        """Return the fields and the body of an entry; raises TypeError or ValueError for what cannot be kept."""
        if self._own is not None:
            data = self._own[0](value)
            if not isinstance(data, bytes):
                raise TypeError(f"serializer: its first function returned {type(data).__name__}; allowed is bytes")
            return [(_FIELD, _OWN)], data
        if value.__class__ is str:
            return [(_FIELD, _TEXT)], value.encode("utf-8", "surrogatepass")
        if value.__class__ is bytes:
            return [(_FIELD, _BYTES)], value
        try:
            return [(_FIELD, _JSON)], to_json(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(f"a value that cannot be cached: {error}; others need serializer=") from None

    def load(self, fields: Headers, body: bytes) -> Any:
        """Return the value; raises `EntryUnreadable` for what is none here."""
        kind = fields[0][1] if len(fields) == 1 and fields[0][0] == _FIELD else b""
        try:
            if kind == _OWN and self._own is not None:
                return self._own[1](body)
            if self._own is None and kind == _TEXT:
                return body.decode("utf-8", "surrogatepass")
            if self._own is None and kind == _BYTES:
                return body
            if self._own is None and kind == _JSON:
                return from_json(body)
        except Exception as error:  # an app's own function may raise anything at what an older version has written
            raise EntryUnreadable(f"a cached value that cannot be read: {type(error).__name__}") from error
        raise EntryUnreadable("a cached value of another serializer")
