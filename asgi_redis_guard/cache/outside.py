"""What a response says to browsers and caches further out, beyond what the app has said. Pure.

What is one user's is private there, and where the app says nothing of how long clients may keep it, the cache does:
how long from the moment that it is sent, so that what is stored stands for it until then.
"""

from __future__ import annotations

from ..core.asgi import Headers
from .conditional import make_etag
from .entry import Entry
from .plan import Plan
from .policy import CachePolicy
from .vary import vary_names

#: Stands first in what is stored of a response: whether it is private, and the seconds that clients may keep it for.
_CLIENT_TTL = b"guard-client-ttl"


class ClientFields:
    """The fields that the cache adds to what is stored for clients, where something is declared of the response.

    With `marks`, as in `http`, each is told from the app's own by its mark: that one may say `no-cache` itself.
    """

    __slots__ = ("_marks",)

    def __init__(self, *, marks: bool) -> None:
        self._marks = marks

    def stored(self, plan: Plan, status: int, body: bytes) -> Headers:
        """Return the fields that are stored of a response: those of the plan, and what clients may do.

        With an entity tag where the app gives none, so that clients that ask get a 304.
        """
        headers = plan.headers
        if plan.client_ttl is None:
            return headers
        if status == 200 and not any(name == b"etag" for name, _ in headers):
            headers = [*headers, (b"etag", make_etag(body))]
        if self._marks or plan.client_ttl >= 1:
            return [(_CLIENT_TTL, b"%d %d" % (plan.private, plan.client_ttl)), *headers]
        return [*headers, (b"cache-control", client_control(0, plan.private, 0))]

    def given(self, entry: Entry) -> Headers:
        """Return the fields of a stored response without what `stored` has added."""
        if self._marks:
            return [field for field in entry.headers if field[0] != _CLIENT_TTL]
        ours = (b"cache-control", client_control(0, entry.private, 0))
        return [field for field in entry.headers if field[0] != _CLIENT_TTL and field != ours]


def is_timed(headers: Headers) -> bool:
    """Tell whether stored fields change with the time that they are sent at."""
    return bool(headers) and headers[0][0] == _CLIENT_TTL


def sent(headers: Headers, age: int) -> Headers:
    """Return stored fields as they are sent `age` seconds after the response was made."""
    if not is_timed(headers):
        return headers
    private, seconds = headers[0][1].split()
    return [*headers[1:], (b"cache-control", client_control(age, private == b"1", int(seconds)))]


def outside(headers: Headers, policy: CachePolicy) -> Headers:
    """Return the fields as they are told to the outside.

    What is one user's is private, whatever the app says; what the route depends on by its declaration stands in `Vary`.
    """
    if policy.vary:
        said = vary_names(headers) or frozenset()
        missing = [name for name in policy.vary if name not in said]
        headers = [*headers, (b"vary", b", ".join(missing))] if missing else headers
    if not policy.user_aware:
        return headers
    return [
        (name, _private(value) if name == b"cache-control" else value)
        for name, value in headers
        if not _is_for_caches(name)
    ]


def _is_for_caches(name: bytes) -> bool:
    """Whether a field speaks to caches further out over the head of Cache-Control (RFC 9213), or their forerunners."""
    return name.endswith(b"-cache-control") or name == b"surrogate-control"


def _private(value: bytes) -> bytes:
    said = value.lower()
    if b"public" in said or b"s-maxage" in said:
        return b"private, no-cache"
    return value if b"private" in said else b"private, " + value


def client_control(age: int, private: bool, client_ttl: float) -> bytes:
    """Return `Cache-Control` for clients and caches further out, where the app has said none.

    They may keep it for `client_ttl` seconds from now on, else ask each time and mostly get a 304.
    """
    head = b"private, " if private else b""
    return head + (b"max-age=%d" % (age + int(client_ttl)) if client_ttl >= 1 else b"no-cache")
