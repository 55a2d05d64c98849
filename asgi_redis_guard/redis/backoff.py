"""How long to wait between attempts to connect. Numbers only: it knows no clock."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double from `first` to `most` seconds, each with jitter of half its length.

    They begin anew after a link that lived for more than `steady` seconds.
    """

    __slots__ = ("_first", "_most", "_steady", "locked_out", "pause")

    def __init__(self, *, first: float, most: float, steady: float) -> None:
        self._first = self.pause = first
        self._most = most
        self._steady = steady
        self.locked_out = False

    def limit(self, wish: float) -> float:
        """The most seconds between two attempts where `wish` is asked for.

        After a refused password nobody's hurry counts: more attempts would only lock the account.
        """
        return self._most if self.locked_out else wish

    def next(self, wish: float = float("inf")) -> float:
        """The seconds until the next attempt, about `limit(wish)` at most."""
        pause = self._most if self.locked_out else min(self.pause, wish)
        self.pause = min(self.pause * 2, self._most)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311  (jitter)

    def lived(self, seconds: float) -> None:
        """A link is lost after so long; one that is cut again and again must not make a busy loop."""
        if seconds > self._steady:
            self.pause = self._first
