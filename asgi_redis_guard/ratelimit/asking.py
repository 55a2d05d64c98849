"""What a rate limit asks for one request: its limits, what is recorded beside them, what is told late. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.keys import Keys, digest
from ..core.steps import Ask
from .ledger import HIDDEN, Ledger
from .plan import Asked, Plan


class Asker:
    """Makes the asks of one guard; `closed` and `shadow` are those of `Ask`."""

    def __init__(self, ledger: Ledger, *, closed: bool, shadow: bool) -> None:
        self._ledger = ledger
        self._closed = closed
        self._shadow = shadow

    def make(
        self,
        plan: Plan,
        keys: Keys,
        identity: tuple[str | bytes, ...],
        cost: int,
        now: float,
        hidden: int = 0,
        owed: tuple[int, ...] = (),
        overdue: Sequence[tuple[bytes, int]] = (),
    ) -> Ask:
        """Ask for `cost` units of somebody, of whom `hidden` refusals were not told yet.

        `owed`: what was counted of it while Redis was away; `overdue`: whose refusals else were not told, and how many.
        """
        hashed, ledger = digest(*identity, *keys.salt), self._ledger
        flushes = bool(overdue) and ledger.statistics
        operations = [ledger.flush(keys, overdue, now)] if flushes else []
        if ledger.count:
            operations += ledger.operations(keys, identity, hashed, hidden, now)
        before, width = ledger.count + flushes, ledger.width + flushes * HIDDEN.width
        asked = Asked(plan, keys, identity, hashed, cost, now, before, width, owed)
        operations += plan.operations(keys, hashed, cost, now)
        if owed:
            operations += asked.charge(owed)
        return Ask(operations, closed=self._closed, shadow=self._shadow, about=asked)
