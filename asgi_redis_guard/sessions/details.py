"""What may stand in a security event: small JSON, and nothing that opens a door. Pure.

Clients choose much of it (a user agent is a text of theirs), and whoever attacks would gain by an event that cannot be
recorded: so what is too long is cut, and what looks like a credential is left out, instead of an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from ..errors import SessionDataError

#: Bytes of an event's details as JSON.
MOST_BYTES = 1024

#: Characters of a string that are looked at; credentials are shorter.
_MOST_SEARCHED = 8192

#: What our cookies hold, and JSON Web Tokens.
_SECRET = re.compile(r"(?<![\w-])(?:[\w-]{51}(?![\w-])|eyJ[\w-]+\.[\w.-]*)", re.ASCII)


def pack_details(details: Mapping[str, Any]) -> bytes:
    """Return `details` as JSON of at most `MOST_BYTES`; long strings are cut, credentials become `[secret]`.

    Raises `SessionDataError` for what JSON has no name for, and where there is too much but in strings.
    """
    said = {name: _cleaned(value) for name, value in details.items() if value is not None}
    while True:
        try:
            text = orjson.dumps(said)
        except (TypeError, ValueError, RecursionError) as error:
            raise SessionDataError(f"details of a security event cannot be kept: {error}") from None
        if len(text) <= MOST_BYTES:
            return text
        longest = max(said, key=lambda name: len(said[name]) if isinstance(said[name], str) else 0)
        if not isinstance(said[longest], str) or len(said[longest]) < 4:
            raise SessionDataError(f"details of a security event take {len(text)} bytes; allowed are {MOST_BYTES}")
        said[longest] = said[longest][: len(said[longest]) // 2] + "…"


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        text = value[:_MOST_SEARCHED].encode("utf-8", "replace").decode()  # lone surrogates are no JSON
        return _SECRET.sub("[secret]", text)[:MOST_BYTES]
    if isinstance(value, list) or value.__class__ is tuple:
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {name: _cleaned(item) for name, item in value.items()}
    return value
