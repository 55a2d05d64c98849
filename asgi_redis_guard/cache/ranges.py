"""Parts of a stored response: Range and If-Range (RFC 9110 §13.1.5, §14), for single ranges of bytes. Pure.

A client that gets the whole where it has asked for a part loses time; one that gets a wrong part has a broken file. So
whatever is in doubt is the whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..core.asgi import Headers
from .dates import parse_date
from .etags import entity_tag, is_strong, same_strongly
from .fields import OWS, lines, sole

#: A position beyond all that can be stored; longer numbers than its own are not even read.
_BEYOND = 10**18

_RANGE = re.compile(rb"bytes=[ \t]*+([0-9]*+)-([0-9]*+)", re.IGNORECASE)
#: How far Date must lie behind Last-Modified for nothing to have changed unseen in between, whoever's clocks they are
#: (RFC 9110 §8.8.2.2 leaves the number to the cache; it was 60 s in RFC 7232).
_STRONG_AFTER = 60.0

#: Fields of a 416 that come from the stored response: it is about the request, not about the representation.
_ABOUT_REQUEST = frozenset((b"date", b"server", b"strict-transport-security", b"timing-allow-origin", b"vary"))
#: What is not the same of a part: its length, and digests of the content (RFC 9530 §2; `Repr-Digest` is of the whole).
_OF_CONTENT = frozenset((b"content-digest", b"content-length", b"content-md5", b"content-range", b"transfer-encoding"))


def wanted(field: Sequence[bytes], length: int) -> range | None:
    """Return the bytes that the lines of Range ask for, of a representation of `length` bytes.

    An empty range where there are no such bytes (416); None where the field is to be ignored: several ranges, another
    unit, not well-formed, a last position before the first, repeated lines.
    """
    match = _RANGE.fullmatch(field[0].strip(OWS)) if len(field) == 1 else None
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return _suffix(_number(last), length) if last else None
    begin = _number(first)
    end = _number(last) if last else _BEYOND
    if end < begin or (last and begin >= _BEYOND):
        return None
    return range(min(begin, length), min(end + 1, length))


def _suffix(size: int, length: int) -> range | None:
    if not size:
        return range(0)
    return range(max(0, length - size), length) if length else None  # no 206 can say that it has the last 5 of 0 bytes


def _number(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= 18 else _BEYOND


def is_unchanged(field: Sequence[bytes], headers: Headers, now: float, received: float | None) -> bool:
    """Tell whether the condition of the lines of If-Range holds for a stored response (RFC 9110 §13.1.5).

    A tag has to be the same strongly. A date has to be exactly that of Last-Modified, and that one at least a minute
    older than the response, for what changed twice in a second has one date (§8.8.2.2).
    """
    if len(field) != 1:
        return not field
    value = field[0].strip(OWS)
    tag = entity_tag(headers)
    if tag is not None and same_strongly(value, tag):
        return True
    if is_strong(value) or value != sole(headers, b"last-modified"):
        return False
    modified, born = parse_date(value, now), _date(headers, now, received)
    return modified is not None and born is not None and born - modified >= _STRONG_AFTER


def _date(headers: Headers, now: float, received: float | None) -> float | None:
    date = lines(headers, b"date")
    return parse_date(date[0].strip(OWS), now) if len(date) == 1 else received if not date else None


def part_of(headers: Headers, body: bytes, part: range) -> tuple[int, Headers, bytes]:
    """Return a 206 with `part`, which is not empty, of a stored 200 (RFC 9110 §15.3.7)."""
    content = body[part.start : part.stop]
    fields = [field for field in headers if field[0] not in _OF_CONTENT]
    fields.append((b"content-range", b"bytes %d-%d/%d" % (part.start, part.stop - 1, len(body))))
    fields.append((b"content-length", b"%d" % len(content)))
    return 206, fields, content


def unsatisfiable(headers: Headers, length: int) -> tuple[int, Headers, bytes]:
    """Return a 416 (RFC 9110 §15.5.17), which nobody may keep in place of the representation."""
    fields = [field for field in headers if field[0] in _ABOUT_REQUEST or field[0].startswith(b"access-control-")]
    fields.append((b"cache-control", b"no-store"))
    fields.append((b"content-range", b"bytes */%d" % length))
    fields.append((b"content-length", b"0"))
    return 416, fields, b""
