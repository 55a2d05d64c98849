"""One request's part in the single flight of its variant: who leads in this process, and whose a fill is. Pure.

Redis gives a fill to a process, which goes by one token: of its requests the one that leads has it. A request that is
given a fill while another one leads leaves it to that one, with a mark on the flight.
"""

from __future__ import annotations

from typing import Any

from ..core.exchange import Services
from .found import Found
from .operations import TOPIC, Place


class Leading:
    """Whether one request leads, and what it has claimed. Whoever has one ends it with `hand_over`, whatever happens.

    `claim` is what was found where the fill is this request's to end. Without `services` nobody waits for anybody.
    """

    __slots__ = ("_at", "_lead", "_services", "claim")

    def __init__(self, services: Services | None) -> None:
        self._services = services
        self._lead: Any = None
        self._at: Any = None
        self.claim: Found | None = None

    @property
    def leads(self) -> bool:
        """True while others of this process may wait for this request."""
        return self._lead is not None

    def begin(self, place: Place) -> None:
        """Lead, if nobody does."""
        if self._services is not None and self._lead is None:
            self.take_over(place, self._services.flights.begin(place.flight))

    def take_over(self, place: Place, lead: Any) -> None:
        """Lead those who wait for a place, as its leader before has left."""
        self._lead, self._at = lead, place.flight

    def claimed(self, found: Found) -> Found:
        """Take the fill that Redis has given to this process, unless another request here has it already."""
        services = self._services
        if services is not None and self._lead is None:
            flight = services.flights.find(found.place.flight)
            if flight is not None:
                flight.marked = True  # whoever leads is this process, too, and may find that there is nothing to fill
                services.wake(TOPIC, found.place.word)  # or waits for another process, whose fill this one has now
                return found._replace(claimed=False)
            self.begin(found.place)
        self.claim = found
        return found

    def is_left_with(self, place: Place) -> bool:
        """Tell whether another request of this process was given the fill while this one leads; it is told once."""
        if self._lead is None or self._services is None:
            return False
        flight = self._services.flights.find(place.flight)
        if flight is None:
            return False
        marked: bool = flight.marked
        flight.marked = False
        return marked

    def part(self, place: Place) -> None:
        """Let those look again who wait for this request, where it wants another variant than they do after all."""
        if self._lead is not None and self._at != place.flight:
            self._lead.land(None)
            self._lead = None

    def give(self) -> Any:
        """Return the lead for somebody else to end; None if the request has none."""
        lead, self._lead = self._lead, None
        return lead

    # The three ends of `redis/flight.py`, where the request leads.

    def land(self, value: Any) -> None:
        """Give everybody who waits what was found."""
        if self._lead is not None:
            self._lead.land(value)

    def scatter(self) -> bool:
        """Let everybody go for himself; tell whether another request of this process has left its fill here."""
        return self._lead is not None and bool(self._lead.scatter())

    def hand_over(self) -> None:
        """Let the next who waits lead."""
        if self._lead is not None:
            self._lead.hand_over()
