"""Entity tags: telling whether a stored response is the one that is meant (RFC 9110 §8.8.3). Pure.

A value of `ETag` that is not well-formed never makes a strong validator. One without quotation marks, as some apps
send it, still serves those who send it back as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..core.asgi import Headers
from ..core.keys import digest
from .fields import OWS, sole

#: Bytes of If-None-Match that are looked at; a longer one names nothing, and so is answered in full.
_MOST = 16_384

_TAG = re.compile(rb'(?:W/)?"[!#-~\x80-\xff]*"')
#: What apps send for a tag that have forgotten the quotation marks.
_BARE = re.compile(rb"(?!\*\Z)[!#-+\--~\x80-\xff]+")
_LIST = re.compile(rb'[ \t,]*+(?:(?:W/)?"[!#-~\x80-\xff]*+"[ \t]*+(?:,[ \t,]*+|\Z))*')
_QUOTED = re.compile(rb'"[^"]*"')


def make_etag(body: bytes) -> bytes:
    """Return a weak entity tag made of a digest of `body`; weak, for it says nothing of how the body is encoded."""
    return b'W/"%b"' % digest(body)


def entity_tag(headers: Headers) -> bytes | None:
    """Return the entity tag of a response; None if it has none, several, or one that nothing could match."""
    tag = sole(headers, b"etag")
    return tag if tag is not None and (_TAG.fullmatch(tag) or _BARE.fullmatch(tag)) else None


def is_strong(tag: bytes) -> bool:
    """Tell whether equal tags mean equal bytes."""
    return tag[:1] == b'"'


def same_strongly(one: bytes, other: bytes) -> bool:
    """Compare two tags where bytes count (RFC 9110 §8.8.3.2): both strong, and equal."""
    return one == other and is_strong(one)


def same_weakly(one: bytes, other: bytes) -> bool:
    """Compare two tags where the meaning counts (RFC 9110 §8.8.3.2): equal but for the mark of a weak one."""
    return _opaque(one) == _opaque(other)


def is_named(lines: Sequence[bytes], tag: bytes | None) -> bool:
    """Tell whether the lines of If-None-Match name the representation with that tag (RFC 9110 §13.1.2), weakly.

    `*` names any. A list that is not well-formed names nothing.
    """
    field = b",".join(lines).strip(OWS)
    if field == b"*":
        return True
    if tag is None or len(field) > _MOST:
        return False
    opaque = _opaque(tag)
    if opaque not in field:
        return False
    if field == tag:
        return True
    return _LIST.fullmatch(field) is not None and opaque in _QUOTED.findall(field)


def _opaque(tag: bytes) -> bytes:
    return tag[2:] if tag[:3] == b'W/"' else tag
