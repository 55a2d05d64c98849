"""One request's way to its verdict: it begins, waits for who has begun before, or is answered as it stands. Pure.

Law: a request runs only where Redis says that nobody else does and that nobody has; where nobody can say, the guard's
`on_outage` decides. What may have been taken is kept by a responder or given back.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..core.exchange import Exchange, Services
from ..core.steps import PASS, Admission, Answer, Ask, Pass, Step, Verdict, Wait
from ..errors import RedisUnavailable, WaitTimeout
from . import refusals
from .operations import BUSY, MISMATCH, NOT_KEPT, REPLAY, RUN, Awaited, Claim, Found
from .record import decode

if TYPE_CHECKING:
    from .guard import Idempotency

#: Seconds that a large record may take on its way from Redis.
_FETCH = 2.0


class Admitting:
    """The way of one request with a key."""

    __slots__ = ("_claim", "_exchange", "_guard")

    def __init__(self, guard: Idempotency, exchange: Exchange, claim: Claim) -> None:
        self._guard = guard
        self._exchange = exchange
        self._claim = claim

    def run(self) -> Admission:
        """Ask how it stands, and go by that."""
        services = self._exchange.services
        try:
            found = yield from self._begin(services)
            if found.state == BUSY and self._guard.wait and services is not None:
                found = yield from self._wait(services, found)
        except RedisUnavailable as error:
            return self._away(error)
        return (yield from self._conclude(found))

    def _begin(self, services: Services | None) -> Generator[Step, Any, Found]:
        since = 0.0 if services is None else services.leases.time()
        # Nothing stands in front of it in this round, so that nothing can hold it back: the body was waited for.
        return Found.of((yield Ask((self._claim.begin(),), closed=not self._guard.is_open)), since)

    def _wait(self, services: Services, found: Found) -> Generator[Step, Any, Found]:
        """Wait until whoever runs the request is through; return how it stands then."""
        awaited = Awaited(self._claim, found)
        turn = services.turn(awaited.sought())
        try:
            replies = yield Wait(turn, self._guard.wait, heeds_client=True)
        except WaitTimeout:
            if turn.error is not None:
                raise turn.error from None
            return awaited.found
        return Found.of(replies, turn.since)

    def _conclude(self, found: Found) -> Generator[Step, Any, Verdict]:
        guard, exchange = self._guard, self._exchange
        if found.state == RUN:
            return Pass(responder=guard.responder(guard, exchange, self._claim, found.since))
        if found.state == REPLAY:
            return (yield from self._replay(found.content))
        if found.state == BUSY:
            return guard.refuse(exchange, refusals.in_progress(found.left))
        if found.state == MISMATCH:
            return guard.refuse(exchange, refusals.reused())
        if found.state == NOT_KEPT:
            return guard.refuse(exchange, refusals.not_kept(found.content or b""))
        return guard.refuse(exchange, refusals.unreadable())

    def _replay(self, content: bytes | None) -> Generator[Step, Any, Answer]:
        """Answer as the first was answered; a large record is fetched."""
        if content is None:
            content = yield from self._fetch()
            if content is None:  # gone meanwhile, or too slow: a retry will see
                return self._guard.refuse(self._exchange, refusals.unsure())
        recorded = decode(content)
        if recorded is None:
            return self._guard.refuse(self._exchange, refusals.unreadable())
        return refusals.replay(recorded)

    def _fetch(self) -> Generator[Step, Any, bytes | None]:
        services = self._exchange.services
        if services is None:
            return None
        try:
            return self._claim.content_of((yield Wait(services.fetch(self._claim.key), _FETCH)))
        except WaitTimeout:
            return None

    def _away(self, error: RedisUnavailable) -> Pass | Answer:
        """Follow `on_outage`; what may have been taken all the same is given back."""
        guard, services = self._guard, self._exchange.services
        if services is not None and error.leaves_doubt:
            services.give_back(Ask((self._claim.release(),)), guard.lease)
        return PASS if guard.is_open else guard.refuse(self._exchange, refusals.unsure())
