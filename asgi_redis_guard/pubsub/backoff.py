"""How long to wait between attempts to connect. Numbers only: it knows no clock."""

from __future__ import annotations

import random

_FIRST, _MOST = 0.05, 2.0  # seconds


class Backoff:
    """Pauses that double from 0.05 to 2 seconds, each with jitter of half its length."""

    __slots__ = ("_pause", "locked_out")

    def __init__(self) -> None:
        self._pause = _FIRST
        self.locked_out = False

    def limit(self, wish: float) -> float:
        """The most seconds between two attempts where `wish` is asked for.

        After a refused password nobody's hurry counts: more attempts would only lock the account.
        """
        return _MOST if self.locked_out else wish

    def next(self, wish: float) -> float:
        """The seconds until the next attempt, about `limit(wish)` at most."""
        pause = _MOST if self.locked_out else min(self._pause, wish)
        self._pause = min(self._pause * 2, _MOST)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311  (jitter)

    def lived(self, seconds: float) -> None:
        """A link is lost after so long; one that is cut again and again must not make a busy loop."""
        if seconds > _MOST:
            self._pause = _FIRST
