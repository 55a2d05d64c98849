"""Notices a half-open link: one on which nothing comes any more, though nothing says that it broke.

It owns one timer and judges by the bytes that have arrived, not by what they mean. A loop that was held up could not
read: the server gets that time back, and one more pass of the loop before the verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Watchdog:
    """Calls `ping` after `interval` seconds of silence, and `dead` if nothing has come within `timeout` after that.

    `silent_since` tells, by the loop's clock, since when nothing has come; None if nothing is owed. Then the dog
    sleeps, without a timer, until it is woken.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        interval: float,
        timeout: float,
        silent_since: Callable[[], float | None],
        ping: Callable[[], None],
        dead: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._timeout = timeout
        self._silent_since = silent_since
        self._ping = ping
        self._dead = dead
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Watch from now on, if it sleeps: something is owed."""
        if self._timer is None:
            self._look()

    def stop(self) -> None:
        """Watch nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        since = self._silent_since()
        if since is None:
            return
        now = self._loop.time()
        due = since + self._interval
        if now < due:
            self._timer = self._loop.call_at(due, self._look)
            return
        self._give(self._timeout, now)
        self._ping()

    def _give(self, seconds: float, pinged: float) -> None:
        """Wait so many seconds for a byte."""
        due = self._loop.time() + seconds
        self._timer = self._loop.call_at(due, self._wait_a_pass, pinged, due)

    def _wait_a_pass(self, pinged: float, due: float) -> None:
        """Let the loop read what has arrived: if a handler blocked it, the server is not to blame."""
        late = self._loop.time() - due
        if late > self._timeout / 8:
            self._give(min(late, self._timeout), pinged)
        else:
            self._timer = self._loop.call_later(0.001, self._judge, pinged)

    def _judge(self, pinged: float) -> None:
        since = self._silent_since()
        if since is None or since >= pinged:  # some loops count whole milliseconds, and an answer may need less
            self._look()
        else:
            self._timer = None
            self._dead()
