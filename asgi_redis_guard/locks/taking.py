"""Taking locks and giving them back: one round trip where they are free, else a turn behind those who wait already.

Law: whoever is cancelled, or hears nothing, leaves nothing taken.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..errors import LockError, RedisTimeout, RedisUnavailable
from ..pubsub.turns import Turn, ask_once, stand_aside, step_up
from ..redis.asking import carry_out
from ..redis.flight import Lead
from ..redis.giving_back import give_back
from ..redis.manager import RedisManager
from ..redis.wait_replicas import acknowledged
from .claims import Claims
from .operations import TOPIC


@dataclass(frozen=True, slots=True)
class Busy:
    """It is another's, for `left` seconds at most."""

    left: float


class Taking:
    """One holder's way to its locks; `since` is when they were asked for the last time, by the loop's clock."""

    __slots__ = ("_claims", "_manager", "_replicas", "since")

    def __init__(self, manager: RedisManager, claims: Claims, replicas: int = 0) -> None:
        self._manager = manager
        self._claims = claims
        self._replicas = replicas
        self.since = 0.0

    async def take(self, wait: float | None) -> int | Busy:
        """Take them, waiting for `wait` seconds at most; return the fence. Raises `RedisUnavailable`, `LockError`."""
        fence = await self._first(wait)
        if fence is None:
            return Busy(self._claims.left)
        if self._replicas:
            await self._check_replicas()
        if self._manager.links.loop.time() >= self.since + self._claims.ttl:
            give_back(self._manager, self._claims.release(), self._claims.ttl)
            raise RedisTimeout("its time was over before the reply came", maybe_executed=True)
        return fence

    async def _first(self, wait: float | None) -> int | None:
        """Ask at once if nobody of this loop stands in line; wait where somebody does, or another holds it."""
        claims = self._claims
        if wait == 0:
            return await self._ask()
        word = claims.word
        lead = step_up(self._manager, TOPIC, word)
        if lead is None:
            return await self._within(wait, None)
        try:
            fence = await self._ask()
        except BaseException:
            lead.hand_over()
            raise
        if fence is None and word == claims.word:
            return await self._within(wait, lead)
        lead.hand_over()
        return fence if fence is not None else await self._within(wait, None)

    async def _ask(self) -> int | None:
        claims = self._claims
        self.since = self._manager.links.loop.time()
        replies = await ask_once(self._manager, claims.take(), claims.release, claims.ttl)
        return claims.fence(replies)

    async def _within(self, wait: float | None, lead: Lead | None) -> int | None:
        """Wait in line, as long as may be; None where that is over."""
        turn = Turn(self._manager, self._claims.sought())
        try:
            async with asyncio.timeout(wait):
                while True:
                    fence = self._claims.fence(await turn.wait(lead))
                    if fence is not None:
                        self.since = turn.since
                        return fence
                    # Of several, another one is not free.
                    turn, lead = Turn(self._manager, self._claims.sought()), None
        except TimeoutError:
            if turn.error is not None:
                raise turn.error from None
            return None

    async def _check_replicas(self) -> None:
        """Give it back where fewer replicas have it than must."""
        reached = 0
        try:
            reached = await acknowledged(self._manager, self._claims.renew(), self._replicas)
        finally:
            if reached < self._replicas:
                give_back(self._manager, self._claims.release(), self._claims.ttl)
        if reached < self._replicas:
            raise LockError(f"{reached} of {self._replicas} replicas have the lock; it was given back")


async def released(manager: RedisManager, claims: Claims) -> bool:
    """Give them back, and tell whether all were held until then; where a reply is lost, once more, and believe so."""
    try:
        try:
            replies = await carry_out(manager, claims.release(once=True))
            if claims.were_wanted(replies):
                stand_aside(manager, TOPIC, claims.word)
            return claims.were_held(replies)
        except RedisUnavailable as error:
            if not error.maybe_executed:
                raise
        await carry_out(manager, claims.release())
    except BaseException:
        give_back(manager, claims.release(), claims.ttl)
        raise
    return True
