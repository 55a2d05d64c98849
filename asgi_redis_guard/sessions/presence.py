"""Whether a guard that works on sessions has one outside of it that makes them. Pure.

On a path that is exempt from sessions there is none by design, and the session guard says so; where nobody says
anything, there is no session guard, and that is told once.
"""

from __future__ import annotations

import logging

from ..core.exchange import Exchange
from ..core.guard import Guard
from ..core.steps import Pass

logger = logging.getLogger("asgi_redis_guard.sessions")

_EXEMPT = "session_exempt"

#: What an exchange gets that a session guard leaves alone. In the scope too, for guards in a stack of their own.
NO_SESSION = Pass({_EXEMPT: True}, scope={_EXEMPT: True})


class Presence:
    """Looks for the session guard of an exchange that has no session."""

    __slots__ = ("_consequence", "_told")

    def __init__(self, consequence: str) -> None:
        self._consequence = consequence
        self._told = False

    def is_missing(self, guard: Guard, exchange: Exchange) -> bool:
        """Tell whether there is none outside of `guard`; the first time that is logged."""
        if exchange.fact(_EXEMPT):
            return False
        if not self._told:
            self._told = True
            logger.error("%r: no Sessions guard stands outside of it; %s", guard, self._consequence)
        return True
