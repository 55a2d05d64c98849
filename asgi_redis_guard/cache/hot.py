"""What one process has answered lately, so that the same request asks the same and is answered by what is there. Pure.

Redis is asked each time and says whether the stored response is still that one: nothing here is served on trust. What
is saved is the making of the question, the bytes of the reply, their reading, and the conditions of the request.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import lru_cache
from typing import Any

from ..core.exchange import Exchange
from ..core.steps import Answer, Ask
from .conditional import CONDITIONAL_FIELDS, Sent
from .entry import Entry
from .found import Found
from .request_key import FIELDS
from .status import hit
from .tags import read_tags

#: Fields that say what is asked for, or how, before any variant is known.
_ALWAYS = FIELDS | CONDITIONAL_FIELDS
_ALWAYS |= {b"host", b"cache-control", b"pragma", b"upgrade", b"if-match", b"if-unmodified-since", b"origin"}
_ALWAYS |= {b"content-length", b"transfer-encoding"}

#: Fields that variants go by that are looked at; of more nothing is remembered.
_MOST_NAMES = 64

#: Bytes that an entry takes beside its body and its fields.
_OVERHEAD = 2048

#: Bytes of a request's key beyond which nothing is remembered of it: clients choose what is in it.
_LONGEST_KEY = 4096

#: Stands under the key of a request whose answer is its user's: there is another one, with the user in it.
BY_USER = object()


class Hot:
    """One request and its answer: what to ask, the entry that was there, and what was made of it."""

    __slots__ = ("answered", "ask", "confirmed", "digests", "entry", "names", "place", "size")

    def __init__(self, found: Found, ask: Ask, entry: Entry, answered: Sent) -> None:
        self.place = found.place
        self.names = found.names
        self.ask = ask
        #: Those of the tags that are asked about, in that order.
        self.digests = tuple(dict(read_tags(entry.tags)))
        self.entry = entry
        #: Status, fields and body of the answer without what changes with the time.
        self.answered = answered
        #: For the first level: when Redis said last that it is right.
        self.confirmed: tuple[int, int, float] | None = None
        self.size = len(entry.body) + sum(len(name) + len(value) for name, value in entry.headers) + _OVERHEAD
        ask.about = self

    def stamps(self, mark: bytes) -> list[tuple[bytes, bytes]]:
        """Return the generations that the answer rests on where the resource has that mark, each with its digest."""
        return [(self.place.resource, mark[:33]), *read_tags(self.entry.tags)]

    def answer(self, clock: int, cache: str | None) -> Answer:
        """Return the answer at `clock`, the server's µs."""
        entry = self.entry
        status, fields, body = self.answered
        age = _age_field((clock - entry.born) // 1_000_000)
        if cache is None:
            return Answer(status, [*fields, age], body, reason="hit")
        return Answer(
            status,
            [*fields, age, _hit_field(cache, (entry.fresh_until - clock) // 1_000_000)],
            body,
            reason="hit",
        )


class Hots:
    """The answers that are remembered, up to `most` bytes."""

    __slots__ = ("_found", "_most", "_names", "_size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._found: dict[Hashable, Any] = {}
        self._names: frozenset[bytes] = frozenset(_ALWAYS)

    def key(self, exchange: Exchange) -> Hashable:
        """Return what a request goes by."""
        scope, names = exchange.scope, self._names
        return (
            exchange.keys.salt,
            exchange.method,
            scope["path"],
            scope.get("raw_path"),
            scope.get("query_string"),
            scope.get("root_path"),
            scope.get("scheme"),
            *[field for field in scope["headers"] if field[0] in names],
        )

    def get(self, key: Hashable, exchange: Exchange) -> Hot | None:
        """Return what is remembered of a request."""
        hot = self._found.get(key)
        if hot is BY_USER:
            who = _who(exchange)
            return None if who is None else self._found.get((key, who))
        found: Hot | None = hot
        return found

    def put(self, key: Hashable, exchange: Exchange, hot: Hot) -> None:
        """Remember an answer; what was remembered longest ago goes."""
        names = {name for name in hot.names.split(b",") if name}
        if b":key" in names or not self._takes(names):
            return
        hot.size += (length := _length(exchange, self._names))
        if hot.size > self._most // 8 or length > _LONGEST_KEY:
            return
        if not self._names.issuperset(names - {b":user"}):
            return
        if b":user" in names:
            if (who := _who(exchange)) is None:
                return
            self._set(key, BY_USER)
            key = (key, who)
        self.drop(key)
        self._set(key, hot)
        self._size += hot.size
        while self._size > self._most and self._found:
            self.drop(next(iter(self._found)))

    def _takes(self, names: Iterable[bytes]) -> bool:
        """Look at these fields from now on; false where there would be too many. What was remembered stays right."""
        more = self._names | {name for name in names if name[:1] != b":"}
        if len(more) > _MOST_NAMES + len(_ALWAYS):
            return False
        was, self._names = self._names, more
        return was == more  # a key that was made without them does not tell requests apart

    def _set(self, key: Hashable, value: Any) -> None:
        self._found[key] = value

    def drop(self, key: Hashable) -> None:
        """Forget one."""
        hot = self._found.pop(key, None)
        if isinstance(hot, Hot):
            self._size -= hot.size

    def forget(self, key: Hashable, exchange: Exchange, hot: Hot) -> None:
        """Forget what was not there any more."""
        if self._found.get(key) is BY_USER:
            key = (key, _who(exchange))
        if self._found.get(key) is hot:
            self.drop(key)


def _length(exchange: Exchange, names: frozenset[bytes]) -> int:
    """Return how many bytes a request's key can have at the most."""
    scope = exchange.scope
    line = len(scope["path"]) + len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    return line + sum(len(name) + len(value) for name, value in scope["headers"] if name in names)


def _who(exchange: Exchange) -> Hashable | None:
    """Return what stands for a verified user; None as long as there is none: guards may still find one."""
    user, auth = exchange.fact("user"), exchange.fact("auth")
    try:
        if user is None or not user.is_authenticated:
            return None
        return (
            user.namespace if hasattr(user, "namespace") else None,
            type(user.identity),
            user.identity,
            tuple(auth.scopes),
        )
    except Exception:  # a session that was not loaded; a user that is not like that
        return None


@lru_cache(maxsize=4096)
def _age_field(seconds: int) -> tuple[bytes, bytes]:
    return (b"age", b"%d" % max(0, seconds))


@lru_cache(maxsize=4096)
def _hit_field(cache: str, ttl: int) -> tuple[bytes, bytes]:
    return (b"cache-status", hit(cache, ttl))
