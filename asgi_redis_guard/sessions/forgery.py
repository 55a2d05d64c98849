"""What `CSRF` records of a refusal where it knows whose session was used. Pure: what is done is yielded.

Whoever makes a browser send forged requests chooses how many: of each user's, one a minute is recorded, and where a
fifth of the newest events are such, one a day, so that the user's own history is not pushed out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any

from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.script import Operation, OperationKind
from ..core.steps import Ask, Wait
from ..errors import WaitTimeout
from .events import SecurityEvents
from .notes import Origin
from .recording import entry_of
from .session import Session
from .user import SessionUser

REPEATED = OperationKind.load(__package__, "repeated.lua")

#: ms to the next event of a user; how many of the newest 100 may be such, and ms to the next where so many are.
_PAUSE, _SHARE, _REST = 60_000, 20, 86_400_000


class _Turn:
    """Waited for by who must know what the guards before it have found: it is there when its turn has come."""

    async def wait(self) -> None:
        """Return at once."""


class _Recorded:
    """Waited for instead of asked: guards behind would join an ask, and a refusal leaves no trace of them."""

    def __init__(self, perform: Callable[[Sequence[Any]], Awaitable[list[Any]]], operation: Operation) -> None:
        self._perform, self._operation = perform, operation

    async def wait(self) -> tuple[Any, Exception | None]:
        """Return the replies or the error: in a pair, for an error by itself would be raised in the guard."""
        (result,) = await self._perform([Ask([self._operation])])
        return (None, result) if isinstance(result, Exception) else (result, None)


ITS_TURN = Wait(_Turn(), 1.0)


def record_forgery(
    events: SecurityEvents, exchange: Exchange, proxies: TrustedProxies, reason: str
) -> Generator[Wait, Any, None]:
    """Record a refused request that came with a session of somebody, and tell the hooks; never raises for Redis."""
    session, user = exchange.fact("session"), exchange.fact("user")
    if exchange.perform is None or not isinstance(session, Session) or not isinstance(user, SessionUser):
        return
    handle = session.id.encode() if session.id is not None else None
    # The method and where it says to come from: a path may hold what opens a door.
    came = (exchange.header(b"origin") or b"").decode("latin-1") or None
    more = {"reason": reason, "method": exchange.method, "origin": came and came[:256]}
    _, entry = entry_of(events, user.identity, "csrf_failed", Origin.of(exchange, proxies), handle, **more)
    operation = Operation(REPEATED, entry.keys, (*entry.args, "", "", _PAUSE, _SHARE, _REST))
    try:
        replies, error = yield Wait(_Recorded(exchange.perform, operation), 1.0)
    except WaitTimeout as late:
        replies, error = None, late
    if error is not None:
        events.miss(user.identity, entry, error)
    elif event_id := replies.flat[1]:
        events.tell(user.identity, entry, event_id)
