"""What a cache answers by itself from a stored, complete response: 200, 206, 304, 416 (RFC 9110 §13, §14). Pure.

Preconditions are looked at in the order of RFC 9110 §13.2.2, for GET and HEAD and a stored 200 only; every other status
is answered as it was stored, for a condition means nothing there (§13.2.1). What is stored is never changed: each
answer has a list of header fields of its own.
"""

from __future__ import annotations

from ..core.asgi import Headers
from .dates import parse_date
from .etags import entity_tag, is_named, is_strong, make_etag, same_strongly, same_weakly
from .fields import OWS, lines, sole
from .ranges import is_unchanged, part_of, unsatisfiable, wanted

__all__ = [
    "CONDITIONAL_FIELDS",
    "answer_for",
    "is_preconditioned",
    "make_etag",
    "not_modified",
    "same_representation",
    "validators",
]

#: What a request that fills the cache must not carry: the app's answer has to be the whole.
CONDITIONAL_FIELDS = frozenset((b"if-none-match", b"if-modified-since", b"if-range", b"range"))
#: These ask for something of the origin itself; a cache cannot answer them (RFC 9111 §4.3.2).
_PRECONDITIONS = frozenset((b"if-match", b"if-unmodified-since"))

_SIZE = b"content-length"
#: What says how long a message is: here always `Content-Length`, of what is really there.
_FRAMING = frozenset((_SIZE, b"transfer-encoding"))
#: RFC 9110 §8.6: these have no content, and say nothing of its length.
_WITHOUT_LENGTH = frozenset((204, 304))

Sent = tuple[int, Headers, bytes]


def is_preconditioned(request_headers: Headers) -> bool:
    """Tell whether a request has to reach the app as it is: it carries If-Match or If-Unmodified-Since."""
    return any(name in _PRECONDITIONS for name, _ in request_headers)


def answer_for(
    request_headers: Headers,
    method: str,
    status: int,
    headers: Headers,
    body: bytes,
    *,
    now: float,
    received: float | None = None,
    ranges: bool = True,
) -> Sent:
    """Return status, fields and content that a request gets from a stored response, whose body is `body`.

    `now` and `received`: the time and when the response came to be, in seconds since the epoch by the clock that HTTP
    dates go by; the latter stands for a missing Date. `ranges`: parts are served, and announced, unless the app says
    `Accept-Ranges: none`. A HEAD gets no content, but the length of the whole. `Age` and `Cache-Status` are the
    caller's, before or after.
    """
    if status != 200 or method not in ("GET", "HEAD"):
        return _whole(method, status, headers, body)
    asked: dict[bytes, list[bytes]] = {}
    for name, value in request_headers:
        if name in CONDITIONAL_FIELDS:
            asked.setdefault(name, []).append(value)
    if asked and _is_not_modified(asked, headers, now, received):
        return not_modified(headers)
    if not ranges or _refuses_ranges(headers):
        return _whole(method, status, headers, body)
    headers = [*(field for field in headers if field[0] != b"accept-ranges"), (b"accept-ranges", b"bytes")]
    if method == "GET" and b"range" in asked and is_unchanged(asked.get(b"if-range", []), headers, now, received):
        part = wanted(asked[b"range"], len(body))
        if part is not None:
            return part_of(headers, body, part) if part else unsatisfiable(headers, len(body))
    return _whole(method, status, headers, body)


def not_modified(headers: Headers) -> Sent:
    """Return a 304 for a stored response (RFC 9110 §15.4.5).

    It keeps ETag, Cache-Control, Content-Location, Date, Expires, Vary and whatever does not describe the
    representation; Last-Modified only where there is no ETag. Never Set-Cookie: a 304 is no new answer.
    """
    tagged = entity_tag(headers) is not None
    return 304, [field for field in headers if not _describes(field[0]) and not (tagged and field[0] == _MODIFIED)], b""


_MODIFIED = b"last-modified"
_DESCRIBING = frozenset((b"digest", b"repr-digest", b"set-cookie", b"trailer", b"transfer-encoding"))


def _describes(name: bytes) -> bool:
    if name.startswith(b"content-"):
        return name != b"content-location" and not name.startswith(b"content-security-policy")
    return name in _DESCRIBING


def _is_not_modified(asked: dict[bytes, list[bytes]], headers: Headers, now: float, received: float | None) -> bool:
    """Evaluate If-None-Match, and only where there is none If-Modified-Since (RFC 9110 §13.1.3, RFC 9111 §4.3.2)."""
    tags = asked.get(b"if-none-match")
    if tags is not None:
        return is_named(tags, entity_tag(headers))
    dates = asked.get(b"if-modified-since")
    since = parse_date(dates[0].strip(OWS), now) if dates is not None and len(dates) == 1 else None
    if since is None:
        return False
    modified = _last_modified(headers, now, received)
    return modified is not None and modified <= since


def _last_modified(headers: Headers, now: float, received: float | None) -> float | None:
    """Last-Modified; without one Date, and without that one the time of receipt. None for what is not well-formed."""
    for name in (_MODIFIED, b"date"):
        found = lines(headers, name)
        if found:
            return parse_date(found[0].strip(OWS), now) if len(found) == 1 else None
    return received


def _refuses_ranges(headers: Headers) -> bool:
    return any(name == b"accept-ranges" and value.strip(OWS).lower() != b"bytes" for name, value in headers)


def _whole(method: str, status: int, headers: Headers, body: bytes) -> Sent:
    fields = [field for field in headers if field[0] not in _FRAMING]
    if status in _WITHOUT_LENGTH:
        return status, fields, b""
    fields.append((_SIZE, b"%d" % len(body)))
    return status, fields, b"" if method == "HEAD" else body


def validators(headers: Headers) -> Headers:
    """Return the fields that ask the app whether a stored response still holds (RFC 9111 §4.3.1); perhaps none."""
    fields: Headers = []
    tag = entity_tag(headers)
    if tag is not None:
        fields.append((b"if-none-match", tag))
    modified = sole(headers, _MODIFIED)
    if modified is not None and parse_date(modified, 0.0) is not None:  # which century it is in is the app's to know
        fields.append((b"if-modified-since", modified))
    return fields


def same_representation(stored_headers: Headers, new_headers: Headers) -> bool:
    """Tell whether a 304 with `new_headers`, the answer to `validators`, is about the stored response.

    RFC 9111 §4.3.4: a strong tag of the 304 has to be the stored one, strongly; a weak one weakly; without a tag the
    dates have to be equal. A 304 that names nothing can only mean what was asked for: one response's validators.
    """
    new, old = entity_tag(new_headers), entity_tag(stored_headers)
    if new is not None and old is not None:
        return same_strongly(new, old) if is_strong(new) else same_weakly(new, old)
    for name in (b"etag", _MODIFIED):
        said = lines(new_headers, name)
        if said:
            return said == lines(stored_headers, name)
    return True
