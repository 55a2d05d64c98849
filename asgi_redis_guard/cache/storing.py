"""What a shared cache may store (RFC 9111 §3), and what of it: whether, which fields, and how a 304 renews them. Pure.

Whatever is in doubt is not stored.
"""

from __future__ import annotations

from typing import Literal

from ..core.asgi import Headers
from .conditional import validators
from .directives import CacheControl
from .fields import OWS, lines
from .freshness import Freshness, is_heuristic_status
from .vary import vary_names

#: Why a response is not stored.
Refusal = Literal[
    "status",
    "request_no_store",
    "no_store",
    "private",
    "vary",
    "set_cookie",
    "authorization",
    "content_range",
    "no_freshness",
]

#: RFC 6585 §3–6: "MUST NOT be stored by a cache", whatever their fields say.
_NEVER_STORED = frozenset((428, 429, 431, 511))

#: Final statuses whose meaning for caches is known (RFC 9110 §15 and the registry): all but 206 and 304, which only a
#: cache that puts parts together and freshens entries understands, and those that are never stored.
UNDERSTOOD = frozenset(
    (
        *range(200, 206),
        *(300, 301, 302, 303, 305, 307, 308),
        *range(400, 418),
        *(421, 422, 423, 424, 425, 426, 451),
        *range(500, 509),
        510,
    )
)

#: Fields of one connection (RFC 9110 §7.6.1, RFC 9111 §3.1), and those that tell one client how it stands.
#: A Cache-Status that is there is from another cache further in, and stays: it tells how that one got the response
#: (RFC 9211 §2). Proxy-Status stays as well, for the same reason.
_UNSTORED = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"age",
        b"retry-after",
        b"ratelimit",
    )
)
_UNSTORED_PREFIXES = (b"ratelimit-", b"x-ratelimit-", b"x-rate-limit-")
_COOKIES = frozenset((b"set-cookie", b"set-cookie2"))

#: What describes the stored body, which a 304 does not bring (RFC 9111 §3.2).
_OF_THE_BODY = frozenset((b"content-length", b"content-encoding", b"content-type", b"content-range"))


def refusal(
    request_headers: Headers,
    request_control: CacheControl,
    status: int,
    headers: Headers,
    control: CacheControl,
    *,
    credentials: frozenset[bytes],
    targeted: bool = False,
    store_cookies: bool = False,
    understood: frozenset[int] = UNDERSTOOD,
) -> Refusal | None:
    """Return why a shared cache must not store a response, None where it may.

    `credentials`: lower-case names of request fields that say who asks. `targeted`: `control` is from a targeted field,
    so that Expires does not count. `understood`: statuses that the caller can handle; with 206 or 304 added, these are
    not refused as such. The method is the caller's business.
    """
    if not _is_status_fit(status, control, understood):
        return "status"
    if request_control.no_store:
        return "request_no_store"
    if control.no_store and not control.must_understand:  # §5.2.2.3: what is understood overrides it
        return "no_store"
    if control.private:
        return "private"
    if vary_names(headers) is None:
        return "vary"
    if not store_cookies and _sets_cookies(headers, control):
        return "set_cookie"
    if _is_personal(request_headers, control, credentials):
        return "authorization"
    if status != 206 and lines(headers, b"content-range"):  # a part that does not say so
        return "content_range"
    return None if _has_freshness(status, headers, control, targeted) else "no_freshness"


def _is_status_fit(status: int, control: CacheControl, understood: frozenset[int]) -> bool:
    if not 200 <= status <= 599 or status in _NEVER_STORED:
        return False
    return status in understood or not (status in (206, 304) or control.must_understand)


def _sets_cookies(headers: Headers, control: CacheControl) -> bool:
    """Return whether cookies would be stored: not those that a qualified `no-cache` or `private` keeps out."""
    kept_out = control.no_cache_fields | control.private_fields
    return any(name in _COOKIES and name not in kept_out for name, _ in headers)


def _is_personal(request_headers: Headers, control: CacheControl, credentials: frozenset[bytes]) -> bool:
    """Return whether the request says who asks and the response does not say that it is for all (§3.5).

    `must-revalidate` and `s-maxage` say so for Authorization alone: the standard knows no other such field.
    """
    shown = {name for name, _ in request_headers if name in credentials}
    if not shown or control.public:
        return False
    return shown != {b"authorization"} or not (control.must_revalidate or control.s_maxage is not None)


def _has_freshness(status: int, headers: Headers, control: CacheControl, targeted: bool) -> bool:
    if control.max_age is not None or control.s_maxage is not None or control.public or is_heuristic_status(status):
        return True
    return not targeted and bool(lines(headers, b"expires"))


def is_of_use(headers: Headers, found: Freshness) -> bool:
    """Return whether a stored response could ever serve: fresh for a while, to be validated, or stale for a while."""
    if not found.must_validate and found.lifetime + max(found.swr, found.sie) > found.age:
        return True
    return bool(validators(headers))


def storable_headers(headers: Headers, control: CacheControl, *, store_cookies: bool = False) -> Headers:
    """Return the fields that are stored (§3.1): not those of a connection, of one client, or kept out by `control`."""
    without = _UNSTORED | control.no_cache_fields | control.private_fields
    without |= {name.strip(OWS).lower() for line in lines(headers, b"connection") for name in line.split(b",")}
    if not store_cookies:
        without |= _COOKIES
    return [(name, value) for name, value in headers if name not in without and not name.startswith(_UNSTORED_PREFIXES)]


def freshened(stored: Headers, new: Headers) -> Headers:
    """Return the fields of a stored response that a 304 confirmed (§3.2, §4.3.4).

    `new` are the storable fields of the 304: all lines of a name that it has replace all that were stored, except what
    describes the body. What it does not have stays, but for Date: a 304 without one is dated by its receipt
    (RFC 9110 §6.6.1), else what it confirms would be as old as before.
    """
    renewed = [(name, value) for name, value in new if name not in _OF_THE_BODY]
    replaced = {b"date"} | {name for name, _ in renewed}
    return [(name, value) for name, value in stored if name not in replaced] + renewed
