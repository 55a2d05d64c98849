"""What may stand in a security event: small JSON, and nothing that opens a door. Pure.

Clients choose much of it (a user agent is a text of theirs), and whoever attacks would gain by an event that cannot be
recorded: so what is too long is cut, and what looks like a credential is left out, instead of an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_letters, digits
from typing import Any
from urllib.parse import unquote

import orjson

from ..errors import SessionDataError

#: Bytes of an event's details as JSON.
MOST_BYTES = 1024

#: Characters of a string that are looked at; credentials are shorter.
_MOST_SEARCHED = 8192

#: What our cookies hold, and JSON Web Tokens.
_SECRET = re.compile(r"(?<![\w-])(?:[\w-]{51}(?![\w-])|eyJ[\w-]+\.[\w.-]*)", re.ASCII)

#: What they are made of, also percent-encoded.
_OF_SECRETS = ascii_letters + digits + "-_.%"

#: How often a text may have been percent-encoded for credentials to be found in it.
_MOST_LAYERS = 4

#: How deep lists and dictionaries may lie in one another.
_MOST_DEPTH = 16


def pack_details(details: Mapping[str, Any]) -> bytes:
    """Return `details` as JSON of at most `MOST_BYTES`; long strings are cut, credentials become `[secret]`.

    Raises `SessionDataError` for what JSON has no name for or lies deeper than 16, and where there is too much but in
    strings.
    """
    said = _cleaned({name: value for name, value in details.items() if value is not None}, 0)
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


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _without_secrets(value)
    if not isinstance(value, list | dict) and value.__class__ is not tuple:
        return value
    if depth > _MOST_DEPTH:
        raise SessionDataError(f"details of a security event lie too deep; allowed are {_MOST_DEPTH} in one another")
    if isinstance(value, dict):
        names = ((_without_secrets(name) if isinstance(name, str) else name, item) for name, item in value.items())
        return {name: _cleaned(item, depth + 1) for name, item in names}
    return [_cleaned(item, depth + 1) for item in value]


def _without_secrets(value: str) -> str:
    """Return the beginning of a text without credentials; where some were percent-encoded, all of it is decoded."""
    text = value[:_MOST_SEARCHED].encode("utf-8", "replace").decode()  # lone surrogates are no JSON
    plain = text
    for _ in range(_MOST_LAYERS):
        if "%" not in plain or (plain := unquote(plain)) == text:
            break
        if _SECRET.search(plain):
            text = plain
    text = _SECRET.sub("[secret]", text)
    if len(value) > _MOST_SEARCHED and len(text) <= MOST_BYTES:
        text = text.rstrip(_OF_SECRETS)  # where it was cut: half a credential would not be known for one
    return text[:MOST_BYTES]
