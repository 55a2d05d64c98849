"""What a look at a resource has told, what goes to the app for it, and what a fill has brought. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.exchange import Exchange
from .entry import Entry
from .operations import Place
from .status import Reason


class Filled(NamedTuple):
    """What a fill has brought to those who wait for it in this process: an entry, and the server's time in µs."""

    entry: Entry
    clock: int


class Found(NamedTuple):
    """What a look at a resource has told.

    `entry` is what stands there and was not invalidated, `soft` that it was purged softly. `claimed`: this request is
    to fill it. `alone`: requests are not to wait for each other here. `again`: what was asked was not quite right.
    """

    place: Place
    names: bytes
    generation: bytes
    tags: dict[bytes, bytes]
    clock: int
    token: bytes
    entry: Entry | None = None
    soft: bool = False
    claimed: bool = False
    alone: bool = False
    again: bool = False

    @property
    def is_fresh(self) -> bool:
        """True where whoever wants nothing special can have it."""
        entry = self.entry
        return entry is not None and not (self.soft or entry.must_validate) and self.clock < entry.fresh_until


class Miss(NamedTuple):
    """A request that the app answers, whose response may be stored.

    `route` is what its path goes by, `reason` why what was found is no answer. `lead` is that of those who wait in this
    process, if the request has it. `validated`: it asks the app whether what is stored, `found.entry`, still holds.
    """

    exchange: Exchange
    found: Found
    route: bytes
    reason: Reason
    lead: Any = None
    validated: bool = False
