"""One run of an idempotent request: its lease is kept, and what it is answered is recorded before the head is sent.

Law: a response that the client may see is recorded, or known to be none of those that are; what was recorded is never
taken back, and what is another's is never written over.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..core.exchange import Exchange
from ..core.responder import Control, Head, Outcome, Responder
from ..core.steps import Ask, Asking
from ..errors import RedisUnavailable
from .operations import Claim, is_recorded
from .record import encode
from .refusals import NOT_STORED, lost, unsure

if TYPE_CHECKING:
    from .guard import Idempotency

logger = logging.getLogger("asgi_redis_guard.idempotency")

#: Seconds for which it is tried to record what could not be recorded while Redis was away.
RECORDING = 300.0

#: Statuses that say that the request may be sent again as it is, that it found others in its way, or that it is to be
#: sent elsewhere, which clients do with the same key and body (RFC 9110 §15.4.8).
_TRANSIENT = frozenset((307, 308, 409, 425, 429))


def is_final(status: int) -> bool:
    """Tell whether a retry must be answered the same: the request was carried out, or is wrong in itself."""
    return 200 <= status < 500 and status not in _TRANSIENT


@lru_cache(maxsize=64)
def running(hold: int) -> type[Running]:
    """Return the responder that holds bodies up to so many bytes."""
    return type("Running", (Running,), {"hold": hold, "__slots__": ()})


class Running(Responder):
    """The request that runs, from the moment at which its record is there."""

    __slots__ = ("_claim", "_completion", "_control", "_exchange", "_guard", "_is_lost", "_is_settled", "_lease")

    outlives = True
    holds_streams = False

    def __init__(self, guard: Idempotency, exchange: Exchange, claim: Claim, since: float) -> None:
        self._guard = guard
        self._exchange = exchange
        self._claim = claim
        self._control: Control | None = None
        self._completion: Ask | None = None
        self._is_lost = False
        #: Whether its completion was asked for: from then on it is never given back.
        self._is_settled = False
        services = exchange.services
        self._lease: Any = services and services.leases.keep(claim.renew(), guard.lease, self._lose, since)

    def bind(self, control: Control) -> None:
        """Take the handle; a lease that was lost while guards behind waited ends the handler before it begins."""
        self._control = control
        services = self._exchange.services
        if self._is_lost or (services is not None and self._lease.ends <= services.leases.time()):
            self._lose()

    def _lose(self) -> None:
        if not self._is_lost:
            logger.info("the record of an idempotent request was lost while it ran")
            self._is_lost = True
        if self._control is not None:
            self._control.cancel(self._guard.refuse_late(self._exchange, lost()))

    def start(self, head: Head) -> Asking | None:
        """Record what the app has answered, if a retry is to be answered the same."""
        if self._control is None or head.answered or self._is_settled:
            return None
        if self._is_lost:
            head.replace(self._guard.refuse_late(self._exchange, lost()))
        elif is_final(head.status):
            return self._record(head, self._completion_of(head))
        self._control.release()
        return None

    def _completion_of(self, head: Head) -> Ask:
        """Return what records the head as it is now: what guards further out add to it is for each response anew."""
        content, record = head.content, None
        if content is not None and len(content) <= self.hold:
            record = encode(head.status, head.headers, content)
        if record is not None:
            return Ask((self._claim.complete(b"D", record),))
        head.headers.append(NOT_STORED)
        return Ask((self._claim.complete(b"U", b"%d" % head.status),))

    def _record(self, head: Head, completion: Ask) -> Asking:
        self._drop()  # from here on the record says whose it is
        self._completion = completion
        try:
            recorded = is_recorded((yield completion))
        except RedisUnavailable:  # `end` goes on trying
            if not self._guard.is_open:
                head.replace(self._guard.refuse_late(self._exchange, unsure()))
        else:
            self._completion = None
            if not recorded:
                head.replace(self._guard.refuse_late(self._exchange, lost()))
        self._is_settled = True
        if self._control is not None:
            self._control.release()

    def _drop(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.drop()

    def end(self, outcome: Outcome) -> None:
        """Record what could not be recorded, else let the request be sent again; sent before whatever comes next."""
        self._drop()
        self._control = None  # else the request would be a cycle, which only the collector of garbage ends
        services = self._exchange.services
        if services is None:
            return
        if self._completion is not None:
            services.give_back(self._completion, RECORDING)
        elif not self._is_settled:
            services.give_back(Ask((self._claim.release(),)), self._guard.lease)
