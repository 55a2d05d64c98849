"""`DeviceBinding`: compares each request with the device that its session was created on, and tells. Pure.

What was seen at the login stands in the session, as hashes. A request costs no round trip, unless there is an event
to record: once for each device that a session is seen on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from starlette.authentication import AuthCredentials, UnauthenticatedUser

from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.guard import OneRoundGuard
from ..core.paths import PathPatterns
from ..core.responder import Head, Responder
from ..core.script import Operation, Replies
from ..core.steps import PASS, Answer, Ask, Pass
from ..errors import ConfigurationError, RedisUnavailable
from .events import RECORD, SecurityEvents
from .fingerprint import SIGNALS, WIDTH, Signal, difference, fingerprint
from .ids import secret_of
from .presence import Presence
from .session import Session
from .user import SessionUser

#: The session's key for it: the fingerprint at the login, and those that were reported since.
FIELD = "_device"

_SIZE = WIDTH * len(SIGNALS)

#: Devices that one session is reported on; whoever has stolen a cookie shall not flood the log of its owner.
_MOST_REPORTED = 8

_SAME: dict[str, Any] = {"device_changed": ()}


class _Change:
    """A session that came from another device than it was created on."""

    __slots__ = ("changed", "current", "record", "seen", "session")

    def __init__(self, session: Session, current: str, seen: str, changed: tuple[Signal, ...]) -> None:
        self.session, self.current, self.seen, self.changed = session, current, seen, changed
        self.record: tuple[str, Operation] | None = None


class _Stamp(Responder):
    """Writes the fingerprint into a session that has none yet, or whose user is another than before."""

    __slots__ = ("_current", "_principal", "_session", "_user")

    def __init__(self, session: Session, current: str, principal: str) -> None:
        self._session, self._current, self._principal = session, current, principal
        self._user = session.get(principal)

    def start(self, head: Head) -> None:
        """Write into what the app has put into the scope, if that is not the session any more."""
        given = head.scope.get("session", self._session) if head.scope is not None else self._session
        if not isinstance(given, dict):
            return
        if given.keys() <= {FIELD}:
            given.pop(FIELD, None)  # the app has emptied it
        elif FIELD not in given or given.get(self._principal) != self._user:
            given[FIELD] = self._current


class DeviceBinding(OneRoundGuard):
    """Leave the fact `device_changed`, also in the scope: the signals that differ from the session's device.

    Stands behind `Sessions`, and best as the last guard: those behind it wait until the session is there. Signals are
    `browser` (its family), `platform`, `language` (the first one) and `network` (/24 and /48). `bound`: those whose
    change matters; the others are told, no more, for phones change their network all day. `policy`: `observe` lets the
    request go on, `revoke` empties and ends the session first, so that the app sees nobody. `events`: where a change is
    recorded, as `new_device` or `revoked`; of the same Redis as the stack. `principal`: the session's key that tells
    whose it is. `key`: that of `Sessions`. `trusted_proxies`: whose `X-Forwarded-For` is believed. Raises
    `ConfigurationError`.
    """

    kind = "devices"
    unique = True
    operations = (RECORD,)
    needs = frozenset(("session",))
    provides = frozenset(("device_changed",))

    def __init__(
        self,
        *,
        policy: Literal["observe", "revoke"] = "observe",
        bound: Iterable[Signal] = ("browser", "platform"),
        events: SecurityEvents | None = None,
        principal: str = "user_id",
        key: str | bytes = b"",
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        exempt: Iterable[str] = (),
        name: str = "devices",
    ) -> None:
        chosen: frozenset[str] = frozenset((bound,) if isinstance(bound, str) else bound)
        ConfigurationError.raise_for(_faults(policy, chosen))
        proxies = trusted_proxies
        self._proxies = proxies if isinstance(proxies, TrustedProxies) else TrustedProxies(proxies)
        self._revokes = policy == "revoke"
        self._bound = chosen
        self._events = events
        self._principal = principal
        self._key = secret_of(key)
        self._presence = Presence("no request is compared")
        self.exempt = PathPatterns(exempt)
        self.name = name

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer:
        """Compare; ask to have a change recorded that was not yet."""
        session = exchange.fact("session")
        if not isinstance(session, Session):
            self._presence.is_missing(self, exchange)
            return PASS
        if self._events is not None:
            self._events.check(exchange.keys)
        current = fingerprint(exchange, self._proxies, self._key)
        seen = str(session.get(FIELD, ""))
        changed = difference(seen[:_SIZE], current) if len(seen) >= _SIZE else ()
        if self._bound.isdisjoint(changed):
            facts = {"device_changed": changed} if changed else _SAME
            return Pass(facts, scope=facts, responder=_Stamp(session, current, self._principal))
        change = _Change(session, current, seen, changed)
        change.record = self._recording(exchange, change)
        return self._end(exchange, change) if change.record is None else Ask([change.record[1]], about=change)

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer:
        """Tell the hooks what was recorded, and go on."""
        return self._end(exchange, replies.ask.about, replies.flat[1])

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass | Answer:
        """Tell the hooks what could not be recorded, and go on: the change is acted on all the same."""
        return self._end(exchange, ask.about)

    def _recording(self, exchange: Exchange, change: _Change) -> tuple[str, Operation] | None:
        """Return whose event there is to record, and the operation that does; None where it was recorded before."""
        session, seen = change.session, change.seen
        user = session.get(self._principal)
        reported = [seen[at : at + _SIZE] for at in range(_SIZE, len(seen), _SIZE)]
        if self._events is None or user is None or len(reported) >= _MOST_REPORTED:
            return None
        if any(self._bound.isdisjoint(difference(one, change.current)) for one in reported):
            return None
        details = {
            "session": session.id,
            "changed": list(change.changed),
            "address": exchange.client(self._proxies),
            "agent": (exchange.header(b"user-agent") or b"").decode("latin-1"),
        }
        return str(user), self._events.operation(str(user), "revoked" if self._revokes else "new_device", details)

    def _end(self, exchange: Exchange, change: _Change, event_id: bytes = b"") -> Pass:
        if self._events is not None and change.record is not None:
            self._events.tell(*change.record, event_id)
            if event_id:
                change.session[FIELD] = change.seen + change.current
        facts: dict[str, Any] = {"device_changed": change.changed}
        if self._revokes:
            change.session.clear()
            change.session.ended = "revoked"  # so that it is not taken for a logout
            if isinstance(exchange.fact("user"), SessionUser):  # a verified token's user is not the session's
                facts |= {"user": UnauthenticatedUser(), "auth": AuthCredentials()}
        return Pass(facts, scope=facts, responder=_Stamp(change.session, change.current, self._principal))

    def __repr__(self) -> str:
        policy = "revoke" if self._revokes else "observe"
        return f"<DeviceBinding {self.name}: {policy} {', '.join(sorted(self._bound))}>"


def _faults(policy: str, bound: frozenset[str]) -> list[str]:
    faults = []
    if policy not in ("observe", "revoke"):
        faults.append(f"policy: {policy!r} given; allowed are 'observe' and 'revoke'")
    if not bound or not bound <= {*SIGNALS}:
        faults.append(f"bound: {', '.join(sorted(bound)) or 'nothing'} given; allowed are some of {', '.join(SIGNALS)}")
    return faults
