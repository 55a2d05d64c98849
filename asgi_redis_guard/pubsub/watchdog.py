"""Notices a half-open link: one on which nothing comes any more, though nothing says that it broke.

It owns one timer and judges by the bytes that have arrived, not by what they mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Watched(Protocol):
    """A link that knows when its last byte came, by the loop's clock."""

    last_byte: float


class Watchdog:
    """Calls `ping` after `interval` seconds of silence, and `dead` if nothing has come within `timeout` after that."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        interval: float,
        timeout: float,
        ping: Callable[[], None],
        dead: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._timeout = timeout
        self._ping = ping
        self._dead = dead
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, line: Watched) -> None:
        """Watch `line`, and no other."""
        self.stop()
        self._look(line)

    def stop(self) -> None:
        """Watch nothing."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, line: Watched) -> None:
        now = self._loop.time()
        due = line.last_byte + self._interval
        if now < due:
            self._timer = self._loop.call_at(due, self._look, line)
            return
        self._timer = self._loop.call_later(self._timeout, self._wait_a_pass, line, now)
        self._ping()

    def _wait_a_pass(self, line: Watched, pinged: float) -> None:
        """Let the loop read what has arrived: if a handler blocked it, the server is not to blame."""
        self._timer = self._loop.call_later(0.001, self._judge, line, pinged)

    def _judge(self, line: Watched, pinged: float) -> None:
        if line.last_byte >= pinged:  # some loops count whole milliseconds, and an answer may need less
            self._look(line)
        else:
            self._dead()
