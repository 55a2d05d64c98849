"""`DeviceBinding`: compares each request with the device that its session was created on, and tells. Pure.

What was seen at the login stands in the session, as hashes. A request costs no round trip, unless there is a session
to end or an event to record: once for each device that a session is seen on. Both are done before the app runs, for
whoever has stolen a cookie may choose requests that never get a head.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Literal

from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.guard import Guard
from ..core.paths import PathPatterns
from ..core.responder import Head, Responder
from ..core.script import Operation, Replies
from ..core.steps import PASS, Admission, Ask, Asking, Pass
from ..errors import ConfigurationError, RedisUnavailable
from ..users import nobody
from .counting import UNCOUNT
from .ending import DESTROY
from .events import SecurityEvents, events_faults
from .fingerprint import SIGNALS, WIDTH, Signal, difference, fingerprint
from .forgery import REPEATED
from .ids import secret_of
from .presence import Presence
from .recording import NO_LOG, Entry, Log
from .session import Session
from .user import SessionUser
from .writing import SessionWrites

#: The session's key for it: the fingerprint at the login, and those that were reported since.
FIELD = "_device"

_SIZE = WIDTH * len(SIGNALS)

#: Devices that one session is reported on; whoever has stolen a cookie shall not flood the log of its owner.
_MOST_REPORTED = 8

#: ms until a device is told again of a session that has not remembered it.
_REST = 86_400_000

_SAME: dict[str, Any] = {"device_changed": ()}


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


class DeviceBinding(Guard):
    """Leave the fact `device_changed`, also in the scope: the signals that differ from the session's device.

    Stands behind `Sessions`, and best as the last guard: those behind it wait until the session is there. Signals are
    `browser` (its family), `platform`, `language` (the first one) and `network` (/24 and /48). `bound`: those whose
    change matters; the others are told, no more, for phones change their network all day. `on_change`: `observe` lets
    the request go on, `revoke` ends the session first, so that the app sees nobody. `events`: where a change is
    recorded, as `new_device` or `revoked`; of the same Redis as the stack. `principal`: the session's key that tells
    whose it is. `key`: that of `Sessions`. `trusted_proxies`: whose `X-Forwarded-For` is believed. Raises
    `ConfigurationError`.
    """

    kind = "devices"
    unique = True
    operations = (REPEATED, DESTROY, UNCOUNT)
    needs = frozenset(("session",))
    provides = frozenset(("device_changed",))

    def __init__(
        self,
        *,
        on_change: Literal["observe", "revoke"] = "observe",
        bound: Iterable[Signal] = ("browser", "platform"),
        events: SecurityEvents | None = None,
        principal: str = "user_id",
        key: str | bytes = b"",
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        exempt: Iterable[str] = (),
        name: str = "devices",
    ) -> None:
        chosen: frozenset[str] = frozenset((bound,) if isinstance(bound, str) else bound)
        ConfigurationError.raise_for(_faults(on_change, chosen))
        self._proxies = TrustedProxies.of(trusted_proxies)
        self._revokes = on_change == "revoke"
        self._bound = chosen
        self._events = events
        self._principal = principal
        self._key = secret_of(key)
        self._presence = Presence("no request is compared")
        self.exempt = PathPatterns(exempt)
        self.name = name

    def tag_faults(self, tagged: bool) -> list[str]:
        """What is wrong with it in a stack whose keys go by a tag."""
        return events_faults(self._events, tagged)

    def admit(self, exchange: Exchange) -> Admission:
        """Compare; end what came from elsewhere or have it recorded, in one round trip."""
        session = exchange.fact("session")
        if not isinstance(session, Session):
            self._presence.is_missing(self, exchange)
            return PASS
        if self._events is not None:
            self._events.check(exchange.keys)
        current = fingerprint(exchange, self._proxies, self._key)
        seen = str(session.get(FIELD, ""))
        changed = difference(seen[:_SIZE], current) if len(seen) >= _SIZE else ()
        facts: dict[str, Any] = {"device_changed": changed} if changed else _SAME
        if not self._bound.isdisjoint(changed):
            entry = self._entry(exchange, session, current, changed)
            if not self._revokes:
                yield from self._report(session, seen, current, entry)
            else:
                yield from self._revoke(exchange, session, current, entry)
                if isinstance(exchange.fact("user"), SessionUser):  # a verified token's user is not the session's
                    facts |= nobody()
        return Pass(facts, scope=facts, responder=_Stamp(session, current, self._principal))

    def _entry(self, exchange: Exchange, session: Session, current: str, changed: tuple[Signal, ...]) -> Entry | None:
        """Return the event that tells of a change, None where none is recorded."""
        user = session.get(self._principal)
        if self._events is None or user is None:
            return None
        details = {
            "session": session.id,
            "changed": [*changed],
            "fingerprint": self._bound_part(current),
            "address": exchange.client(self._proxies),
            "agent": (exchange.header(b"user-agent") or b"").decode("latin-1"),
        }
        return str(user), self._events.operation(str(user), "revoked" if self._revokes else "new_device", details)

    def _report(self, session: Session, seen: str, current: str, entry: Entry | None) -> Asking:
        """Record a device, once for each that the session is seen on.

        The session remembers what was reported, so that nothing is asked again; where it is not written (the app fails,
        the id is a former one), Redis finds that in the events themselves.
        """
        reported = [seen[at : at + _SIZE] for at in range(_SIZE, len(seen), _SIZE)]
        if entry is None or len(reported) >= _MOST_REPORTED:
            return
        if any(self._bound_part(one) == self._bound_part(current) for one in reported):
            return
        if (yield from self._record(session, current, entry)):
            session[FIELD] = seen + current

    def _record(self, session: Session, current: str, entry: Entry) -> Generator[Ask, Replies, bool]:
        """Record an event unless it was before, and tell the hooks; true if it stands in Redis now."""
        events, (user, operation) = self._events, entry
        if events is None:
            return False
        about, like = f'"session":"{session.id}"', f'"fingerprint":"{self._bound_part(current)}"'
        args = (*operation.args, about, like, _REST, _MOST_REPORTED, _REST)
        try:
            replies = yield Ask([Operation(REPEATED, operation.keys, args)])
        except RedisUnavailable as error:
            events.miss(user, operation, error)
            return False
        if event_id := replies.flat[1]:
            events.tell(user, operation, event_id)
        return True

    def _revoke(self, exchange: Exchange, session: Session, current: str, entry: Entry | None) -> Asking:
        """End the session; where Redis is away, its responder tries again with the head, and answers 503 if it must."""
        record, keeper = session.record, session.keeper() if session.keeper is not None else None
        if record is not None and isinstance(keeper, SessionWrites) and keeper.is_at(exchange.keys):
            log = Log(self._events, [entry]) if entry is not None else NO_LOG
            try:
                yield from keeper.expel(record, log)
            except RedisUnavailable as error:
                log.miss(error)
        elif entry is not None:  # it lies in the Redis of another stack, which ends it with the head
            yield from self._record(session, current, entry)
        session.clear()
        session.ended = "revoked"  # so that it is not taken for a logout

    def _bound_part(self, one: str) -> str:
        """Return those characters of a fingerprint that stand for signals whose change matters."""
        return "".join(one[at * WIDTH : (at + 1) * WIDTH] for at, name in enumerate(SIGNALS) if name in self._bound)

    def __repr__(self) -> str:
        does = "revoke" if self._revokes else "observe"
        return f"<DeviceBinding {self.name}: {does} {', '.join(sorted(self._bound))}>"


def _faults(on_change: str, bound: frozenset[str]) -> list[str]:
    faults = []
    if on_change not in ("observe", "revoke"):
        faults.append(f"on_change: {on_change!r} given; allowed are 'observe' and 'revoke'")
    if not bound or not bound <= {*SIGNALS}:
        faults.append(f"bound: {', '.join(sorted(bound)) or 'nothing'} given; allowed are some of {', '.join(SIGNALS)}")
    return faults
