"""Invalidations that Redis could not be told: kept until it was. Pure. Several threads may use it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ..core.script import Operation

logger = logging.getLogger("asgi_redis_guard.cache")

#: What is remembered while Redis is away.
_MOST = 10_000

#: What is told in one round: the number of operations makes a program.
_AT_ONCE = 32


class Owed:
    """Operations in the order in which they were first owed, each once.

    What is told is forgotten only when Redis has answered, and only if it was not owed anew meanwhile. Several requests
    may tell the same: that invalidates once more than needed.
    """

    __slots__ = ("_found", "_number")

    def __init__(self) -> None:
        self._found: dict[Operation, int] = {}
        self._number = 0

    def add(self, operations: Iterable[Operation]) -> None:
        """Note operations. One that is owed already stays where it is: that of all tags before those of single ones."""
        for operation in operations:
            self._number += 1
            self._found[operation] = self._number
        if len(self._found) > _MOST:
            logger.error("%d invalidations are lost, Redis was away for too long", len(self._found))
            self._found.clear()

    def some(self) -> list[tuple[Operation, int]]:
        """Return what is to be told next, for `paid`."""
        return list(self._found.items())[:_AT_ONCE]

    def paid(self, told: Iterable[tuple[Operation, int]]) -> None:
        """Forget what was told."""
        for operation, number in told:
            if self._found.get(operation) == number:
                del self._found[operation]

    def __len__(self) -> int:
        return len(self._found)
