"""The one single flight of the house: what one does, others of the same event loop wait for.

Law: no task, no timer, no I/O, not for threads; only `Flight.wait` awaits. A flight is in the table from its `begin`
until it has landed, was scattered, or was handed over to nobody. It has one leader at a time, who holds its `Lead`; an
earlier leader's `Lead` has no effect any more. Whoever holds a `Lead` must end it, whatever happens: nothing here does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any, Literal, NamedTuple


class Landing(NamedTuple):
    """What a follower is told.

    `landed`: it is done, and `value` is what came of it. `alone`: there is nothing to share, go for yourself at once.
    `lead`: you are the leader from now on, and `lead` is yours to end.
    """

    kind: Literal["landed", "alone", "lead"]
    value: Any = None
    lead: Lead | None = None


_ALONE = Landing("alone")


class Lead:
    """The right to end one flight: what its leader holds. The first of the three ends it, the others do nothing.

    Each tells whether the flight is over and was marked: what somebody has left with its leader is nobody's then.
    """

    __slots__ = ("_flight",)

    def __init__(self, flight: Flight) -> None:
        self._flight: Flight | None = flight

    @property
    def waiting(self) -> int:
        """How many wait for it; 0 once it was ended."""
        return 0 if self._flight is None else self._flight.waiting

    def land(self, value: Any) -> bool:
        """It is done: everybody who waits gets `value`; an exception is a value like others."""
        if (flight := self._take()) is None:
            return False
        flight.end(Landing("landed", value))
        return flight.marked

    def scatter(self) -> bool:
        """Nothing came of it that could be shared: everybody who waits goes for himself at once."""
        if (flight := self._take()) is None:
            return False
        flight.end(_ALONE)
        return flight.marked

    def hand_over(self) -> bool:
        """Give up: who has waited longest becomes the leader, the others go on waiting. If nobody does, it ends."""
        return (flight := self._take()) is not None and not flight.pass_on() and flight.marked

    def _take(self) -> Flight | None:
        flight, self._flight = self._flight, None
        return flight

    def __repr__(self) -> str:
        return f"<Lead: {'ended' if self._flight is None else repr(self._flight)}>"


class Flight:
    """One piece of work that one does and others wait for: what its followers hold."""

    __slots__ = ("_home", "_landing", "_over", "_waiters", "key", "marked")

    def __init__(self, home: Flights, key: Hashable) -> None:
        self.key = key
        #: A follower's note to whoever leads: something was taken that is the leader's to give back.
        self.marked = False
        self._home = home
        self._over = False
        self._landing: Landing | None = None
        self._waiters: dict[asyncio.Future[Landing], None] = {}  # in the order in which they came

    @property
    def waiting(self) -> int:
        """How many wait for it."""
        return sum(not waiter.done() for waiter in self._waiters)

    async def wait(self) -> Landing:
        """Wait until it ends, or until the caller is to lead it. May be cancelled at any time.

        Without an end of the leader's it lasts for ever: have a deadline. A caller that is cancelled after it was made
        the leader, and before it could run, hands over to the next. Of a flight that is over, tells at once what came
        of it; where that was nothing, waits for the one that has taken its place, or leads one.
        """
        if self._over:
            if self._landing is not None:
                return self._landing
            other = self._home.find(self.key)
            return Landing("lead", lead=self._home.begin(self.key)) if other is None else await other.wait()
        waiter: asyncio.Future[Landing] = self._home.loop.create_future()
        self._waiters[waiter] = None
        try:
            return await waiter
        except BaseException:  # cancelled, or its coroutine was closed
            self._waiters.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and (lead := waiter.result().lead) is not None:
                lead.hand_over()
            raise

    def end(self, landing: Landing) -> None:
        """Tell everybody. For `Lead` and `Flights` alone."""
        if self._leave():
            self._landing = landing
            waiters, self._waiters = self._waiters, {}
            for waiter in waiters:
                _tell(waiter, landing)

    def pass_on(self) -> bool:
        """Make the first who waits the leader; false if nobody does. For `Lead` alone."""
        while self._waiters:
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if _tell(waiter, Landing("lead", lead=Lead(self))):
                return True
        self._leave()
        return False

    def forget(self) -> None:
        """Be over, and tell nobody. For `Flights` alone."""
        self._over = True
        self._landing = _ALONE
        self._waiters.clear()

    def _leave(self) -> bool:
        """Take it out of the table; false if it is over already."""
        if self._over:
            return False
        self._over = True
        self._home.take_out(self)
        return True

    def __repr__(self) -> str:
        return f"<Flight {'over' if self._over else f'with {self.waiting} waiting'}>"  # keys may be anybody's secrets


class Flights:
    """The flights of one event loop, by their keys. A key begins with what kind of work it names."""

    __slots__ = ("_flights", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._flights: dict[Hashable, Flight] = {}

    def find(self, key: Hashable) -> Flight | None:
        """Return the flight to wait for, None if there is none: then `begin` one, before anything is awaited."""
        return self._flights.get(key)

    def begin(self, key: Hashable) -> Lead:
        """Begin a flight, which the caller leads; raises ValueError if there is one."""
        if key in self._flights:
            raise ValueError("there is such a flight already: wait for it")
        flight = self._flights[key] = Flight(self, key)
        return Lead(flight)

    def join(self, key: Hashable) -> tuple[Flight, Lead | None]:
        """Return the flight of that key, and where it has only now begun, its lead: then the caller leads it."""
        flight = self._flights.get(key)
        if flight is not None:
            return flight, None
        flight = self._flights[key] = Flight(self, key)
        return flight, Lead(flight)

    def close(self) -> None:
        """Let everybody go who waits: each is told `alone`. What leaders hold has no effect any more."""
        for flight in list(self._flights.values()):
            flight.end(_ALONE)

    def abandon(self) -> None:
        """Forget everything; touches no loop, so that nobody is told."""
        for flight in self._flights.values():
            flight.forget()
        self._flights.clear()

    def take_out(self, flight: Flight) -> None:
        """Have it no more. For `Flight` alone."""
        del self._flights[flight.key]

    def __len__(self) -> int:
        return len(self._flights)

    def __repr__(self) -> str:
        return f"<Flights: {len(self)} under way>"


def _tell(waiter: asyncio.Future[Landing], landing: Landing) -> bool:
    """Tell one who waits; false if he does so no more, or his loop has ended."""
    if waiter.done() or waiter.get_loop().is_closed():
        return False
    waiter.set_result(landing)
    return True
