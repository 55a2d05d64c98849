"""What happened, as frozen values: one `Decision` for each guard of each exchange, given to the app's hooks.

Vendors (metrics, traces, a SIEM) are somebody else's file: they implement `Hook`. A hook must not block; what it raises
is logged once a minute at most and never reaches a request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

logger = logging.getLogger("asgi_redis_guard.events")


@dataclass(frozen=True, slots=True)
class Decision:
    """One guard's word on one exchange.

    `outcome`: `passed`, `refused` (status 400 and above), `answered` (a stored response), `undecided` (a guard before
    it ended the exchange). `degraded` is true where Redis did not answer and the outage policy decided. `reason` is the
    short word of a refusal (`invalid_token`, `rate_limited` …), `path` the decoded path below the root path. No secret
    is in here.
    """

    guard: str
    kind: str
    outcome: Literal["passed", "refused", "answered", "undecided"]
    reason: str
    status: int | None
    degraded: bool
    scope: str
    method: str
    path: str


class Hook(Protocol):
    """Gets each decision, in the event loop, before the app runs or the refusal is sent."""

    def __call__(self, event: Decision, /) -> None: ...


_quiet_until = 0.0


Event = TypeVar("Event")


def host_time() -> float:
    """Return seconds since the epoch by this host's clock, for what no server has timed."""
    return time.time()


def emit(hooks: Sequence[Callable[[Event], Any]], event: Event) -> None:
    """Give `event` to all hooks; what one raises stays here."""
    global _quiet_until
    for hook in hooks:
        try:
            hook(event)
        except Exception:
            if time.monotonic() >= _quiet_until:
                _quiet_until = time.monotonic() + 60
                logger.exception("an event hook failed")
