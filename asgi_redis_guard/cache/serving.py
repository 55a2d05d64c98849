"""Answering from what is stored: the fields, the part and the status that one request gets of it. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..core.exchange import Exchange
from ..core.responder import Responder
from ..core.steps import Answer, RequestEdits
from .age import put_age
from .conditional import Sent, answer_for
from .entry import Entry
from .outside import sent
from .status import Reason, append, forward, hit
from .telling import Telling


class Reuse(NamedTuple):
    """How a stored response came to be an answer.

    `hit` and `stale`: it was found. `joined`: another request's fill brought it. `validated`: the app said that it
    still holds. `reason` and `status`: why the app was asked before, if it was, and what it has said; `stored`: that
    is kept.
    """

    kind: Literal["hit", "stale", "joined", "validated"]
    reason: Reason | None = None
    status: int | None = None
    stored: bool = False

    def member(self, name: str, ttl: int) -> bytes:
        """Return what the cache `name` says of it in `Cache-Status`."""
        if self.reason is not None:
            return forward(name, self.reason, fwd_status=self.status, ttl=ttl, stored=self.stored)
        if self.kind == "joined":
            return forward(name, "miss", ttl=ttl, collapsed=True)
        return hit(name, ttl, "stale" if self.kind == "stale" else None)


HIT = Reuse("hit")
STALE = Reuse("stale")
JOINED = Reuse("joined")


class Serving:
    """Makes answers of stored responses. `ranges`: parts of them are served."""

    __slots__ = ("_ranges", "_telling")

    def __init__(self, telling: Telling, *, ranges: bool) -> None:
        self._telling = telling
        self._ranges = ranges

    def answer(
        self,
        exchange: Exchange,
        entry: Entry,
        clock: int,
        reuse: Reuse = HIT,
        *,
        background: Responder | None = None,
        edits: RequestEdits | None = None,
    ) -> Answer:
        """Return what is sent of a stored response at `clock`, the server's µs."""
        age = max(0, (clock - entry.born) // 1_000_000)
        status, headers, body = self.timeless(exchange, entry, age)
        put_age(headers, age)
        telling = self._telling
        if telling.field is not None:
            append(headers, reuse.member(telling.field, (entry.fresh_until - clock) // 1_000_000))
        if reuse.kind != "validated":  # of that one the fill tells
            telling.event(exchange, reuse.kind, status=status, size=len(body))
        reason = "stale" if reuse.kind == "stale" else "hit"
        return Answer(status, headers, body, reason=reason, background=background, edits=edits)

    def timeless(self, exchange: Exchange, entry: Entry, age: int = 0) -> Sent:
        """Return status, fields and content without `Age` and `Cache-Status`, which change with the time."""
        return answer_for(
            exchange.scope["headers"],
            exchange.method,
            entry.status,
            sent(entry.headers, age),
            entry.body,
            now=exchange.now,
            ranges=self._ranges,
        )

    def not_cached(self) -> Answer:
        """Return what a client gets that wants nothing but what is stored (RFC 9111 §5.2.1.7)."""
        headers = [(b"content-length", b"0"), (b"cache-control", b"no-store")]
        if self._telling.field is not None:
            append(headers, hit(self._telling.field).replace(b"; hit", b"") + b"; detail=not-cached")
        return Answer(504, headers, reason="not_cached")
