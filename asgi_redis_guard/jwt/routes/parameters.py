"""The parameters of a request to the routes of a token service, out of its body. Pure: bytes in, text out.

Law: what one reader takes for one thing and another for something else is refused, never guessed at. Parameters in the
URL are not read: they would stand in logs (RFC 6749 §2.3.1).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from ...core.documents import Unclear, parsed, text_at
from ...core.exchange import Exchange
from .answers import malformed

FORM, JSON = b"application/x-www-form-urlencoded", b"application/json"

#: All that any of the routes knows; others are ignored (RFC 6749 §3.2).
_KNOWN = (
    "grant_type",
    "refresh_token",
    "scope",
    "client_id",
    "client_secret",
    "token",
    "token_type_hint",
    "everywhere",
)

#: RFC 6749 appendix A: what any of these may be made of.
_TEXT = re.compile(r"[ -~]*")

_MOST_FIELDS = 100

Parameters = Mapping[str, str]


def check_type(exchange: Exchange, *, json: bool, optional: bool) -> bytes:
    """Return the media type of the body, empty for none where that is `optional`; raises `Refused` (415)."""
    fields = exchange.headers(b"content-type")
    kind = fields[0].partition(b";")[0].strip().lower() if len(fields) == 1 else b""
    coding = exchange.header(b"content-encoding") or b"identity"
    allowed = (FORM, JSON) if json else (FORM,)
    if coding.strip().lower() != b"identity" or not (kind in allowed or (optional and not fields)):
        accept = b", ".join(allowed)
        text = f"The body must be {accept.decode()}, and not compressed"
        raise malformed(text, 415, [(b"accept", accept)])
    return kind


def parameters_of(kind: bytes, body: bytes) -> Parameters:
    """Return the parameters of a body; one without a value counts as omitted (RFC 6749 §3.1). Raises `Refused`."""
    found = _of_json(body) if kind == JSON and body else _of_form(body) if kind == FORM else _of_nothing(body)
    for name, value in found.items():
        if not _TEXT.fullmatch(value):
            raise malformed(f"The parameter {name} has characters that are not allowed")
    return {name: value for name, value in found.items() if value}


def needed(parameters: Parameters, name: str) -> str:
    """Return a parameter; raises `Refused` where it was omitted."""
    if name not in parameters:
        raise malformed(f"The parameter {name} is missing")
    return parameters[name]


def flag(parameters: Parameters, name: str) -> bool:
    """Return a parameter that is yes or no, no where it was omitted; raises `Refused` for anything else."""
    value = parameters.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise malformed(f"The parameter {name} must be true or false")
    return value in ("true", "1")


def _of_nothing(body: bytes) -> dict[str, str]:
    if body:
        raise malformed("The body has no content type", 415)
    return {}


def _of_form(body: bytes) -> dict[str, str]:
    """Read a form as the URL standard does (§5.1), in UTF-8 (RFC 6749 appendix B)."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise malformed("The form cannot be read") from None
    if any(count > 1 for count in Counter(name for name, _ in pairs).values()):
        raise malformed("A parameter is given more than once")
    return {name: value for name, value in pairs if name in _KNOWN}


def _of_json(body: bytes) -> dict[str, str]:
    document = parsed(body)
    if not isinstance(document, dict):
        raise malformed("The body is not a JSON object")
    return {name: text for name in _KNOWN if (text := _field(document, name)) is not None}


def _field(document: dict[str, Any], name: str) -> str | None:
    try:
        return text_at(document, (name,))
    except Unclear:
        raise malformed(f"The parameter {name} is given more than once, or is not text") from None
