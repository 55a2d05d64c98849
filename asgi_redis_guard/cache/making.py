"""One caller's way to a value: found, waited for, or made and kept.

Law: a maker runs in its caller's task, a background refresh in one of its own. Whoever has taken a fill gives it back,
whatever happens. Redis being away never keeps a value from being made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from ..errors import EntryRefused, EntryUnreadable, RedisUnavailable
from ..redis.flight import Lead
from .entry import Entry
from .filling import Filling, Make, called
from .found import Filled, Found
from .operations import LEASE, renew
from .recall import Lifetime, Spot

logger = logging.getLogger("asgi_redis_guard.cache")

#: Looks at one value for one caller; where the ground moves faster than that, it makes its own.
_MOST_LOOKS = 8


class Making:
    """One caller's way to a value."""

    def __init__(self, home: Filling, spot: Spot, make: Make, lifetime: Lifetime) -> None:
        self._home = home
        self._redis = home.redis
        self._spot = spot
        self._make = make
        self._lifetime = lifetime
        self._lead: Lead | None = None
        self._stale: Entry | None = None
        self._unreadable = False

    async def run(self) -> Any:
        try:
            return await self._run()
        finally:
            if self._lead is not None:
                self._lead.hand_over()

    async def _run(self) -> Any:
        home, spot = self._home, self._spot
        for _ in range(_MOST_LOOKS):
            try:
                found = await home.look(spot)
            except RedisUnavailable:
                home.tell(spot, "bypass", "unavailable")
                if self._lead is not None:
                    self._lead.scatter()
                return await called(self._make)
            if found.again:
                continue
            done, value = self._use(found)
            if done:
                return value
            if (found.claimed or found.alone or self._unreadable) and self._leads():
                home.tell(spot, "miss", "stale" if found.entry is not None else "")
                return await self._fill(found)
            if found.claimed:
                home.wake(spot)
            landed = await self._wait()
            if landed == "alone":
                home.tell(spot, "miss", "alone")
                return await self._fill(found._replace(claimed=False))
            if isinstance(landed, Filled):
                home.tell(spot, "joined", size=len(landed.entry.body))
                return home.value_of(landed.entry)
        home.tell(spot, "bypass", "contended")
        return await called(self._make)

    def _leads(self) -> bool:
        """Take the lead in this process; false where another has it."""
        if self._lead is None:
            flights, key = self._redis.flights, self._spot.place.flight
            if flights.find(key) is not None:
                return False
            self._lead = flights.begin(key)
        return True

    def _use(self, found: Found) -> tuple[bool, Any]:
        """Return whether what was found may be used, and its value; where its fill is taken, it is done behind."""
        entry, clock, home = found.entry, found.clock, self._home
        if entry is None:
            return False, None
        try:
            value = home.value_of(entry)
        except EntryUnreadable as error:
            logger.warning("%s: %s; it is made anew", self._spot.label, error)
            self._unreadable = True
            return False, None
        fresh = not found.soft and clock < entry.fresh_until
        self._stale = entry if clock < entry.error_until > entry.fresh_until else None
        if not fresh and not clock < entry.stale_until > entry.fresh_until:
            return False, None
        if found.claimed and self._leads():
            behind = Making(home, self._spot, self._make, self._lifetime)
            behind._lead, self._lead = self._lead, None
            behind._stale = self._stale
            self._redis.spawn(behind._refresh(found))
        elif found.claimed:
            home.wake(self._spot)  # the leader of this process may be waiting for just that fill
        elif self._lead is not None:
            self._lead.land(Filled(entry, clock))
        home.tell(self._spot, "hit" if fresh else "stale", size=len(entry.body))
        return True, value

    async def _refresh(self, found: Found) -> None:
        try:
            await self._fill(found)
        except Exception:
            logger.exception("%s could not be refreshed", self._spot.label)
        finally:
            if self._lead is not None:
                self._lead.hand_over()

    # Waiting.

    async def _wait(self) -> Filled | str | None:
        """Wait for another's fill, in this process or elsewhere: what came of it, or None to look again."""
        place, redis = self._spot.place, self._redis
        flight = redis.flights.find(place.flight)
        try:
            async with asyncio.timeout(self._home.terms.wait):
                if self._lead is None and flight is not None:
                    landing = await flight.wait()
                    self._lead = landing.lead
                    return landing.value if landing.kind == "landed" else "alone" if landing.kind == "alone" else None
                self._lead = self._lead or redis.flights.begin(place.flight)
                await self._home.gone(self._spot)
        except TimeoutError:
            if self._lead is not None:
                self._lead.scatter()
            return "alone"
        return None

    # Making.

    async def _fill(self, found: Found) -> Any:
        """Make the value, keep it, and let those have it who wait."""
        home, spot, redis = self._home, self._spot, self._redis
        lease = None
        if found.claimed:
            lease = redis.leases.keep(renew(spot.place, found.token), LEASE, _nothing)
        began = time.monotonic()
        try:
            value = await called(self._make)
            took = time.monotonic() - began
            entry = home.recall.entry(found, value, self._lifetime, home.factor, took)
        except BaseException as error:
            if found.claimed:
                home.give_back(spot, found.token)
            if isinstance(error, Exception) and (used := self._instead(error)) is not None:
                return home.value_of(used)
            raise  # who waits goes on, one at a time: `run` hands over
        finally:
            if lease is not None:
                lease.drop()
        lead, self._lead = self._lead, None
        await asyncio.shield(redis.spawn(self._keep(found, entry, lead)))
        return value

    def _instead(self, error: Exception) -> Entry | None:
        """Return what is used where the maker fails, and let those have it who wait."""
        stale = self._stale
        if stale is None:
            return None
        logger.warning("%s failed, its stale value is used: %r", self._spot.label, error)
        self._home.tell(self._spot, "stale", "failed", size=len(stale.body))
        if self._lead is not None:
            self._lead.land(Filled(stale, 0))
        return stale

    async def _keep(self, found: Found, entry: Entry, lead: Lead | None) -> None:
        """Store what was made. Where that fails, nobody else gets it: it may have been invalidated meanwhile."""
        home, spot = self._home, self._spot
        try:
            clock = await home.store(spot, found, entry)
            if lead is not None and clock is None:
                lead.hand_over()
            elif lead is not None and clock is not None:
                lead.land(Filled(entry, clock))
        except RedisUnavailable:
            home.tell(spot, "bypass", "unavailable")
        except EntryRefused as error:
            home.tell(spot, "refused", "size")
            logger.warning("%s is not kept: %s", spot.label, error)
            if found.claimed:
                home.give_back(spot, found.token)
        finally:
            if lead is not None:
                lead.scatter()


def _nothing() -> None:
    """A fill that was lost is stored all the same, unless another one has been faster."""
