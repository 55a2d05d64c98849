"""The members of `Cache-Status` (RFC 9211). Pure.

A member either says `hit` or why the request went forward, never both. What a cache further in has said stays in front:
the list is ordered from the origin to the client (§2).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from ..core.asgi import Headers
from ..core.structured import quote, token_or_string
from .fields import OWS

#: Why a request went to the app (§2.2).
Reason = Literal["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]

_FIELD = b"cache-status"
_UNPRINTABLE = re.compile(r"[^ -~]")
#: RFC 9651 §3.3.1: integers have at most 15 digits.
_LARGEST = 999_999_999_999_999


def hit(name: str, ttl: int | None = None, detail: str | None = None, key: str | None = None) -> bytes:
    """Return a member for what the cache `name` has answered by itself, a 304 or a 206 too.

    `ttl`: seconds for which it stays fresh, negative where it is stale (§2.4). `key` is for debugging (§2.7).
    """
    return _with(_hit(name), ttl, detail, key)


def forward(
    name: str,
    reason: Reason,
    *,
    fwd_status: int | None = None,
    ttl: int | None = None,
    stored: bool = False,
    collapsed: bool | None = None,
    detail: str | None = None,
    key: str | None = None,
) -> bytes:
    """Return a member for what has come from the app, for a `reason`.

    `fwd_status`: what the app has answered, where it is not what the client gets (304 after a validation, §2.3).
    `stored`: it is kept (§2.5). `collapsed`: whether the request was answered together with another one; None where no
    attempt was made (§2.6).
    """
    return _with(_forward(name, reason, fwd_status, stored, collapsed), ttl, detail, key)


def append(headers: Headers, member: bytes) -> None:
    """Add a member to a response's list, behind all that is there."""
    for place in range(len(headers) - 1, -1, -1):
        if headers[place][0] == _FIELD:
            said = headers[place][1].strip(OWS)
            headers[place] = (_FIELD, said + b", " + member if said else member)
            return
    headers.append((_FIELD, member))


@lru_cache(maxsize=64)
def _hit(name: str) -> bytes:
    return _item(name) + b"; hit"


@lru_cache(maxsize=512)
def _forward(name: str, reason: str, fwd_status: int | None, stored: bool, collapsed: bool | None) -> bytes:
    text = _item(name) + b"; fwd=" + reason.encode("ascii")
    if fwd_status is not None:
        text += b"; fwd-status=%d" % fwd_status
    if stored:
        text += b"; stored"
    if collapsed is not None:
        text += b"; collapsed" if collapsed else b"; collapsed=?0"
    return text


def _with(text: bytes, ttl: int | None, detail: str | None, key: str | None) -> bytes:
    if ttl is not None:
        text += b"; ttl=%d" % max(-_LARGEST, min(ttl, _LARGEST))
    if detail is not None:
        text += b"; detail=" + _known(detail)
    if key is not None:
        text += b"; key=" + quote(_printable(key)).encode("ascii")
    return text


def _item(text: str) -> bytes:
    return token_or_string(_printable(text)).encode("ascii")


_known = lru_cache(maxsize=256)(_item)


def _printable(text: str) -> str:
    """Return `text` with all that may not stand in a string (RFC 9651 §3.3.3) percent-encoded, as UTF-8."""
    return _UNPRINTABLE.sub(
        lambda match: "".join(map("%{:02X}".format, match[0].encode("utf-8", "surrogatepass"))), text
    )
