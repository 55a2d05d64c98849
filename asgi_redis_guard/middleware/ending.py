"""The end of an exchange: every responder hears of it once, and what they ask of Redis is done whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Any

from ..core.admissions import Admissions
from ..core.guard import Guard
from ..core.responder import Outcome, Responder
from ..core.steps import Answer, Asking
from ..errors import RedisUnavailable
from ..redis.manager import RedisManager
from .body import ClientGone
from .trips import RoundTrips

logger = logging.getLogger("asgi_redis_guard.middleware")


#: Responders, and the way to their Redis.
Standing = tuple[RoundTrips, Sequence[Responder]]


def end_all(responders: Sequence[Responder], outcome: Outcome, trips: RoundTrips) -> None:
    """Call `end` of all responders, inside first, and carry out what they ask in one shielded round trip."""
    flows = []
    for responder in reversed(responders):
        if "end" in responder.hooks:
            try:
                flow = responder.end(outcome)
            except Exception:
                logger.exception("%s failed in its end", type(responder).__name__)
                continue
            if flow is not None:
                flows.append(flow)
    if flows:
        trips.manager.spawn(carry_out(flows, trips))


async def carry_out(flows: list[Asking], trips: RoundTrips) -> None:
    """Carry out what responders ask, in one round trip; never raises for what fails."""
    for flow, result in await trips.converse(flows):
        try:
            await trips.finish(flow, result)
        except RedisUnavailable as error:  # the breaker has its own line in the log
            logger.debug("a responder's last word was not carried out: %s", error)
        except Exception:
            logger.exception("the end of a responder failed")


def gives_back(guard: Guard, answer: Answer) -> bool:
    """Tell whether a guard's answer makes undone what guards further out have counted: it is one limit more.

    What was held back in the same round was not counted; this is for what was counted before it. The app's own words
    for it may have another status.
    """
    return guard.refunds and (answer.status == 429 or answer.group is not None)


async def withdraw_all(standing: Sequence[Standing]) -> None:
    """Let responders give back what was counted, inside first, in one round trip for each Redis.

    Never raises for what fails; a caller that is cancelled does not stop it.
    """
    found: dict[RedisManager, tuple[RoundTrips, list[Asking]]] = {}
    for trips, responders in standing:
        for responder in reversed(responders):
            if "withdraw" in responder.hooks:
                try:
                    flow = responder.withdraw()
                except Exception:
                    logger.exception("%s failed to withdraw", type(responder).__name__)
                    continue
                if flow is not None:
                    found.setdefault(trips.manager, (trips, []))[1].append(flow)
    tasks = [manager.spawn(carry_out(flows, trips)) for manager, (trips, flows) in found.items()]
    if tasks:
        await asyncio.shield(asyncio.gather(*tasks))


def give_up(admissions: Admissions, trips: RoundTrips, error: BaseException) -> None:
    """End an exchange whose admission `error` has ended: cancelled, failed, or left by its client.

    A round that was on its way and takes something (a lock) is waited for in the background, so that it is given back.
    """
    late, admissions.late = admissions.late, None
    outcome = _outcome_of(error)
    if late is not None:
        trips.manager.spawn(_give_up_late(admissions, trips, outcome, late))
    else:
        _abandon(admissions, trips, outcome)


def _outcome_of(error: BaseException) -> Outcome:
    if isinstance(error, ClientGone):
        return Outcome("disconnect")
    return Outcome("cancelled" if isinstance(error, asyncio.CancelledError) else "error", error=error)


async def _give_up_late(admissions: Admissions, trips: RoundTrips, outcome: Outcome, late: Awaitable[Any]) -> None:
    try:
        admissions.replied(await late)
    except RedisUnavailable as error:
        admissions.failed(error)
    _abandon(admissions, trips, outcome)


def _abandon(admissions: Admissions, trips: RoundTrips, outcome: Outcome) -> None:
    admissions.abandon()
    end_all([*admissions.responders, *admissions.orphans], outcome, trips)
