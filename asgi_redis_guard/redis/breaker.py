"""The circuit breaker of one Redis node: when to stop waiting for it, and when to start again.

Pure state and log lines: one line per change of state, none per request. The probe that closes the breaker is run by
`links.py`; while the breaker is open nothing else may touch the network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

logger = logging.getLogger("asgi_redis_guard.redis")

#: First words of errors that say "this server cannot serve anyone now"; other errors are an operation's own.
SERVER_DOWN = frozenset({"LOADING", "CLUSTERDOWN", "MASTERDOWN", "BUSY", "READONLY", "UNKILLABLE"})


class Breaker:
    """Opens after `threshold` failures in a row, or at once after a fatal one; closed by a successful probe."""

    __slots__ = ("_on_open", "_opened", "failures", "reason", "target", "threshold")

    def __init__(self, target: str, *, threshold: int = 5, on_open: Callable[[], None] | None = None) -> None:
        self.target = target
        self.threshold = threshold
        self.failures = 0
        self.reason = ""
        self._opened = False
        self._on_open = on_open

    @property
    def is_open(self) -> bool:
        """True while Redis counts as away."""
        return self._opened

    @property
    def state(self) -> Literal["closed", "open"]:
        """The state as `health()` reports it."""
        return "open" if self._opened else "closed"

    def failed(self, reason: str, *, fatal: bool = False) -> None:
        """Count a connection error, a timeout or a `SERVER_DOWN` reply."""
        self.failures += 1
        self.reason = reason
        if self._opened or (self.failures < self.threshold and not fatal):
            return
        self._opened = True
        logger.warning("Redis at %s is away (%s); outage policies apply", self.target, reason)
        if self._on_open is not None:
            self._on_open()

    def succeeded(self) -> None:
        """Forget the failures in a row; an open breaker stays open until its probe says otherwise."""
        if not self._opened:
            self.failures = 0

    def close(self) -> None:
        """Close after a successful probe."""
        self.failures = 0
        if self._opened:
            self._opened = False
            logger.warning("Redis at %s is back", self.target)

    def __repr__(self) -> str:
        return f"<Breaker {self.state}, {self.failures} failures in a row>"
