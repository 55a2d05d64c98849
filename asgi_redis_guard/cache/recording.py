"""The app's answer on its way to the client, seen by the cache: kept if it may be. Pure.

Nothing is held back: what is to be kept is copied as it goes by, and stored when it was whole (`deposit.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.asgi import Headers
from ..core.inside import hear_inside
from ..core.responder import Control, Head, Outcome, Responder
from ..core.steps import Answer, Asking
from .bare import warn_of_bare
from .conditional import same_representation
from .credentials import identity_of
from .declaring import is_made_by
from .deposit import Deposit
from .endpoints import is_of_another
from .entry import Entry
from .found import Miss
from .outside import client_control, outside
from .plan import Plan, Refusal, Ruling, fitting
from .policy import CachePolicy
from .rules import Answered
from .serving import Reuse
from .storing import freshened
from .variants import divided_tags

if TYPE_CHECKING:
    from .guard import ResponseCache

logger = logging.getLogger("asgi_redis_guard.cache")

#: The app failed, as far as stale-if-error is concerned (RFC 5861 §4).
FAILURES = frozenset((500, 502, 503, 504))


class Recording(Responder):
    """Keeps a response that nobody waits for: of a route that was not cacheable when it was last seen."""

    def __init__(self, cache: ResponseCache, miss: Miss) -> None:
        self._cache = cache
        self._miss = miss
        self._exchange = miss.exchange
        self._found = miss.found
        self._deposit = Deposit(cache, miss)
        self._received_at = self._deposit.asked_at
        self._policy: CachePolicy | None = None
        self._tags: tuple[str, ...] = ()
        self._ruling: Ruling | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._whole = False
        self._status = 0
        self._scope: Any = None
        self._inside: tuple[Mapping[str, Any], ...] = ()
        self._refreshed: Entry | None = None
        self._rescued = False
        self.over = False

    # What the route declares.

    def declare(self, policy: CachePolicy, tags: tuple[str, ...]) -> None:
        """Take what is to be kept; of several declarations, what all of them allow."""
        self._policy = policy if self._policy is None else self._policy.joined(policy)
        self._tags = (*self._tags, *tags)

    def invalidate(self, tags: tuple[str, ...]) -> None:
        """A request that only reads invalidates nothing."""

    def bind(self, control: Control) -> None:
        """Be found by the route's declaration, and keep the fill."""
        is_made_by(self)
        hear_inside(self._hear)
        self._deposit.bind(control)

    def _hear(self, facts: Mapping[str, Any]) -> None:
        """Take what a stack further in knows."""
        if not self.over:
            self._inside = (*self._inside, facts)

    # The head.

    def start(self, head: Head) -> None:
        """Decide what is to be kept, or answer from what is stored: where it still holds, and where the app failed."""
        if self._rescued:
            return
        entry = self._found.entry
        self._status, self._scope = head.status, head.scope
        if head.status == 304 and self._miss.validated and entry is not None:
            head.replace(self._revalidated(head, entry))
        elif head.status in FAILURES and (answer := self._instead(head.status)) is not None:
            head.replace(answer)
        else:
            self._take(head)

    def _take(self, head: Head) -> None:
        """Decide, once, and tell the client."""
        if self._ruling is None:
            self._received_at = self._deposit.host_time()
            self._decide(head, head.status, head.headers)
        ruling = self._ruling
        if self._policy is not None:
            head.headers[:] = outside(head.headers, self._policy)
        if isinstance(ruling, Plan) and ruling.client_ttl is not None:
            head.headers.append((b"cache-control", client_control(0, ruling.private, ruling.client_ttl)))
        elif self._policy is not None and self._policy.user_aware and not _is_controlled(head.headers):
            head.headers.append((b"cache-control", client_control(0, True, 0)))
        detail = ruling.reason.replace("_", "-") if isinstance(ruling, Refusal) else None
        self._cache.telling.forwarded(head.headers, self._miss.reason, stored=isinstance(ruling, Plan), detail=detail)

    def _decide(self, head: Head, status: int, headers: Headers) -> Ruling:
        """Decide on a response with that status and these fields."""
        ruling = self._ruling = self._judge(head, status, headers)
        cache, exchange = self._cache, self._exchange
        names = ruling.names if isinstance(ruling, Plan) else frozenset()
        # What fails, or is sent elsewhere, may never have come to the function that declares.
        if self._policy is not None or 200 <= status < 300:
            cache.variants.learn(self._miss.route, names, self._tags, self._policy, ruling, exchange)
        if self._policy is None:
            warn_of_bare(head.scope)
        if isinstance(ruling, Refusal):
            if ruling.warn:
                cache.telling.warn(head.scope, ruling.warn, self._policy)
            self._deposit.refuse(ruling, status)
        return ruling

    def _judge(self, head: Head, status: int, headers: Headers) -> Ruling:
        if self._policy is not None and is_of_another(head.scope, self._policy.function):
            return Refusal("elsewhere", warn=_ELSEWHERE)
        made, fault = divided_tags(self._tags, identity_of(self._exchange.fact("user")))
        if fault:
            return Refusal("tags", warn=fault)
        tags = tuple(made)
        asked_at, received_at = self._deposit.asked_at, self._received_at
        answered = Answered(
            self._exchange,
            status,
            headers,
            head.trailers,
            head.scope,
            self._policy,
            tags,
            asked_at,
            received_at,
            self._inside,
        )
        return fitting(self._cache.rules.judge(answered), headers)

    def _revalidated(self, head: Head, entry: Entry) -> Answer:
        """The app says that what is stored still holds (RFC 9111 §4.3.4): freshen it, and send the whole of it."""
        cache, deposit = self._cache, self._deposit
        if not same_representation(entry.headers, head.headers):
            deposit.refuse(Refusal("validator"), head.status)
            return cache.serving.answer(self._exchange, entry, deposit.clock(), Reuse("hit", self._miss.reason, 304))
        if self._ruling is None:
            self._received_at = deposit.host_time()
            self._freshen(head, entry)
        fresh, stored = self._refreshed or entry, isinstance(self._ruling, Plan)
        reuse = Reuse("validated", self._miss.reason, 304, stored)
        return cache.serving.answer(self._exchange, fresh, deposit.clock(), reuse)

    def _freshen(self, head: Head, entry: Entry) -> None:
        """Let what is stored have the fields of this head."""
        ruling = self._decide(head, entry.status, freshened(self._cache.client_fields.given(entry), head.headers))
        if isinstance(ruling, Plan):
            self._refreshed = self._deposit.entry(ruling, entry.status, entry.body, self._received_at)

    def rescue(self, error: Exception) -> Answer | None:
        """An app that raises has failed as well (RFC 5861 §4)."""
        answer = self._instead(None)
        self._rescued = answer is not None
        return answer

    def _instead(self, status: int | None) -> Answer | None:
        """Return what is sent stale where the app failed."""
        entry, clock = self._found.entry, self._deposit.clock()
        if entry is None or entry.never_stale or clock >= entry.error_until:
            return None
        self._deposit.refuse(Refusal("failed"), status or 0)
        return self._cache.serving.answer(self._exchange, entry, clock, Reuse("stale", "stale", status))

    # The body and the end.

    def body(self, chunk: bytes, more: bool) -> None:
        """Keep a chunk."""
        ruling = self._ruling
        if not isinstance(ruling, Plan) or self._deposit.over:
            return
        self._size += len(chunk)
        if self._size > ruling.max_body:
            self._chunks = []
            self._deposit.refuse(Refusal("size"), self._status)
            return
        self._chunks.append(chunk)
        self._whole = not more

    def end(self, outcome: Outcome) -> Asking | None:
        """Store it if it was whole; tell who waits."""
        self.over = True
        deposit = self._deposit
        if deposit.over:
            return deposit.rest
        entry = None
        try:
            if self._became_personal():
                return deposit.rest
            entry = self._refreshed or self._entry()
        except Exception:  # whatever happens, nobody waits for ever
            logger.exception("a response could not be kept")
        if entry is None or not isinstance(self._ruling, Plan):
            return deposit.give_up(cancelled=outcome.kind == "cancelled")
        return deposit.store(entry, self._ruling, self._tags)

    def _became_personal(self) -> bool:
        """Keep nothing that turned out to be somebody's after its head, or to depend on a body of the request."""
        if not isinstance(self._ruling, Plan):
            return False
        refusal = self._cache.rules.late(self._ruling, self._exchange, self._scope, self._inside)
        if refusal is None and self._deposit.has_body():
            refusal = Refusal("body")
        if refusal is not None:
            if refusal.warn:
                self._cache.telling.warn(self._scope, refusal.warn, self._policy)
            self._deposit.refuse(refusal, self._status)
        return refusal is not None

    def _entry(self) -> Entry | None:
        """Return what is to be stored; None if it is not whole, or not what it said it would be."""
        ruling = self._ruling
        if not isinstance(ruling, Plan) or not self._whole:
            return None
        body = b"".join(self._chunks)
        lengths = {value for name, value in ruling.headers if name == b"content-length"}
        if lengths and lengths != {b"%d" % len(body)}:
            return None
        return self._deposit.entry(ruling, self._status, body, self._received_at)


_ELSEWHERE = (
    "the function of another route has called it, whose response is not kept: declare that one with @cached itself. "
    "Decorators in between are to have functools.wraps"
)


def _is_controlled(headers: Headers) -> bool:
    return any(name == b"cache-control" for name, _ in headers)


class Fill(Recording):
    """Keeps a response that others may wait for: it is made to its end although its own client may leave."""

    outlives = True
