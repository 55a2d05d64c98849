"""`Sessions`: server-side sessions in `scope["session"]`. Pure: what is loaded and written is yielded.

No cookie, or one that is none of ours, costs nothing; an id that a client made up is never adopted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple
from weakref import ref

from ..core.checks import several
from ..core.client_ip import TrustedProxies
from ..core.cookies import cookie_values
from ..core.exchange import Exchange
from ..core.guard import OneRoundGuard, OnRefused, refusal_faults
from ..core.keys import Keys
from ..core.origin import is_cross_origin, origin_faults
from ..core.problem import problem, unavailable
from ..core.script import OperationKind, Replies
from ..core.steps import Answer, Ask, Pass
from ..errors import ConfigurationError, RedisUnavailable, SessionUnreadable
from .counting import COUNT, UNCOUNT
from .crypto import SessionCipher
from .ending import DESTROY
from .events import SecurityEvents, events_faults
from .ids import SessionId, SessionIds, secret_faults
from .keeping import KeptSession
from .lazy import defer
from .logins import PUBLISH, read_end
from .policy import CookieStyle, OnExcess, SameSite, SessionPolicy, cap_faults, cookie_faults, times_faults
from .presence import NO_SESSION
from .recall import AS_SEEN, LOAD, Known, SessionMemory, load
from .record import UNDECODABLE, read_record, undecodable
from .recording import event_faults
from .reuse import REUSED, UNMARK, read_reuse
from .rotating import HEIR, LEAVE, ROTATE
from .session import Session
from .sockets import SocketResponder
from .user import facts_of, user_facts
from .writing import CREATE, SAVE, SWAP, SessionWrites

logger = logging.getLogger("asgi_redis_guard.sessions")

#: Seconds without a record that cannot be read, after which the next one is news.
_QUIET = 60


class _Place(NamedTuple):
    """What belongs to the keys of one manager: the ids of its sessions, and what is remembered of them."""

    keys: Keys
    ids: SessionIds
    memory: SessionMemory


class Sessions(OneRoundGuard):
    """Give every exchange a `session`: a dictionary that is kept in Redis, one field for each of its keys.

    `session_cookie`, `path`, `domain`, `same_site`, `https_only`, `partitioned`: the cookie; with `https_only` it is
    `Secure` and its name has the prefix `__Host-` (`__Secure-` with a domain or another path). `max_age`: seconds that
    a session lives at the longest, from its login on; `idle`: seconds it lives unused, `max_age` if not given.
    `persistent`: the cookie outlives the browser. `key`: a secret that ids are hashed with (HMAC-like, BLAKE2).

    `principal`: keys whose change is a login, a logout or another privilege: the session gets a new id then, and the
    first of them tells whose it is; on a cluster another user's keys lie elsewhere, so that this takes two round trips.
    `overlap`: seconds in which a replaced session can still be read, by requests that were on their way. `origins`:
    other origins that may open WebSockets with the cookie. `max_size`: bytes of all values together. `encryption`: a
    `SessionCipher` for the values.

    `max_sessions`: how many a user may have at once, None for any number; one more ends the one that began first
    (`evict_oldest`) or was used longest ago (`evict_lru`), or is refused with 409 (`on_excess="deny"`).
    `trusted_proxies`: whose `X-Forwarded-For` is believed when it is noted where a session began.
    `statistics`: sessions are counted for `SessionStore.stats`, for about 110 bytes each. `events`: gets what happens
    to sessions of users: `login`, `logout`, `rotated`, `cap_evicted`, `cap_denied`, and `reuse` when an id
    comes that was replaced and cannot be read any more, once for each, for a day after. `remembered`: how many
    sessions of up to 8 KB this process keeps in memory, decrypted, so that Redis need not send again what is still the
    same; with 0 none, and what is written to a record by hand is seen at once, not with the next change of its version.

    `lazy`: a session is not read before the app says `await session.load()`; until then, whatever looks into it or
    changes it raises `SessionNotLoaded`, and so do `user` and `auth`. A guard behind that needs one of them is refused.
    `read_from_replicas`, with a manager that does: a session that does not have to be written may be read from a
    replica, where it is the last that is asked about in its round. What is written goes to the primary, and so does,
    for a minute, what this process has written to. A logout elsewhere counts here as soon as the replica knows of it.
    A path of `exempt` has no session at all: `session`, `user` and `auth` are left as they are.

    `on_outage`: `closed` answers 503 to those who present a session while Redis is away or that cannot be read,
    `anonymous` gives them an empty one for that request, which leaves their cookie and what it stands for alone: what
    the app writes into it or clears is a 503, but for a login, whose session takes the cookie over. What cannot be
    written is a 503 in any case. Raises `ConfigurationError`.
    """

    kind = "sessions"
    unique = True
    operations: tuple[OperationKind, ...] = (
        *(LOAD, SAVE, CREATE, ROTATE, HEIR, LEAVE, DESTROY, SWAP, PUBLISH, COUNT, UNCOUNT, REUSED, UNMARK),
    )
    provides = frozenset(("session", "session_id", "user", "auth"))
    known_early = frozenset(("session_id",))
    offers = frozenset(("user", "auth"))

    _place: _Place | None = None

    def __init__(
        self,
        *,
        session_cookie: str = "session",
        max_age: float = 14 * 86_400,
        idle: float | None = None,
        path: str = "/",
        domain: str | None = None,
        same_site: SameSite = "lax",
        https_only: bool = True,
        partitioned: bool = False,
        persistent: bool = True,
        key: str | bytes = b"",
        principal: Iterable[str] = ("user_id",),
        overlap: float = 10,
        origins: Iterable[str] = (),
        max_size: int = 65_536,
        encryption: SessionCipher | None = None,
        max_sessions: int | None = None,
        on_excess: OnExcess = "evict_oldest",
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        statistics: bool = False,
        events: SecurityEvents | None = None,
        remembered: int = 4096,
        lazy: bool = False,
        read_from_replicas: bool = False,
        exempt: Iterable[str] = (),
        exempt_preflight: bool = True,
        on_outage: Literal["closed", "anonymous"] = "closed",
        on_refused: OnRefused | None = None,
        name: str = "sessions",
    ) -> None:
        self._key = secret = key.encode() if isinstance(key, str) else key
        self._origins = trusted = frozenset((origins,) if isinstance(origins, str) else origins)
        faults = cookie_faults(session_cookie, path, domain, same_site, https_only, partitioned)
        faults += [*times_faults(max_age, idle, overlap), *_faults(secret, on_outage, max_size, encryption, remembered)]
        faults += [*origin_faults(sorted(trusted)), *cap_faults(max_sessions, on_excess), *event_faults(events, secret)]
        ConfigurationError.raise_for([*faults, *refusal_faults(on_refused)])
        self.concern(name, exempt, exempt_preflight, on_refused)
        self.policy = SessionPolicy(
            cookie=CookieStyle(session_cookie, path, domain, same_site, https_only=https_only, partitioned=partitioned),
            lifetime=round(max_age * 1000),
            idle=round((max_age if idle is None else idle) * 1000),
            overlap=round(overlap * 1000),
            principal=several(principal),
            persistent=persistent,
            max_size=max_size,
            cap=max_sessions,
            excess=on_excess,
            proxies=TrustedProxies.of(trusted_proxies),
            statistics=statistics,
            refuse=self.refuse,
            cipher=encryption,
            events=events,
        )
        self._closed = on_outage == "closed"
        self._remembered = remembered
        self._replica = read_from_replicas
        self._leave_to_the_app(lazy)
        self._told: dict[str, float] = {}  # when a kind of record that cannot be read was last seen

    def _leave_to_the_app(self, lazy: bool) -> None:
        """Tell the stack what a lazy guard knows: what the cookie says, and no more before the app asks."""
        self._lazy = lazy
        if lazy:
            self.provides = self.known_early = frozenset(("session", "session_id"))
            self.operations = ()  # none before the app runs
            self.withholds = dict.fromkeys(("session", "user", "auth"), "lazy (GUARD_SESSION_LAZY)")

    def tag_faults(self, tagged: bool) -> list[str]:
        """What is wrong with it in a stack whose keys go by a tag."""
        return events_faults(self.policy.events, tagged)

    def exempted(self, exchange: Exchange) -> Pass:
        """Tell the guards behind that there is no session by design."""
        return NO_SESSION

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer:
        """Load the session that the cookie names, or leave that to the app; without one, nothing is asked."""
        place = self._place_for(exchange.keys)
        values = cookie_values(exchange, self.policy.cookie.name)
        ask = None
        if len(values) == 1 or len(set(values)) == 1:  # of several, none can be told to be the right one
            name = place.ids.name(values[0])
            ask = place.memory.get(name) or self._first_ask(place, name, values[0])
            if self._replica and ask is not None:
                ask = place.memory.trusted(name, ask, exchange.now)
        if ask is None:
            return self._give(exchange, place.ids, Session(), 0)
        if exchange.is_websocket and is_cross_origin(exchange, self._origins):
            return self.refuse(exchange, problem(403, "cross_origin", "The request comes from another origin."))
        return ask if not self._lazy else defer(self, exchange, place.ids, ask, closed=self._closed)

    def _first_ask(self, place: _Place, name: bytes, value: bytes) -> Ask | None:
        """Return what to ask for a session that is not remembered, None for what is no id."""
        found = place.ids.read(value)
        if found is None:
            return None
        facts = {"session_id": found}  # what the cookie says; whether there is such a session, the reply tells
        return Ask([load(found.record)], facts, closed=self._closed, replica=self._replica, about=Known(name, found))

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer:
        """Give the session that was loaded; one that is not there is a new one, one that cannot be read an outage."""
        place, known = self._place_for(exchange.keys), replies.ask.about
        _, fields, clock = replies.flat
        if fields != AS_SEEN:
            try:
                known = self._read_or_report(exchange, known, fields)
            except ValueError:  # the record is kept, for the fault may be ours (another release, another key)
                return self._outage(exchange, known.id)
        if known.record is None:
            return self._give_none(exchange, place.ids, known.id, fields)
        passed = self._give(exchange, place.ids, Session.of(known.record), clock, known.user)
        if self._replica and isinstance(passed.responder, SessionWrites):
            services = exchange.services  # which tell the time: a long request writes when it ends
            passed.responder.wrote = lambda: place.memory.wrote(
                known.name, exchange.now if services is None else services.clock()
            )
        return passed

    def _give_none(self, exchange: Exchange, ids: SessionIds, gone: SessionId, fields: Any) -> Pass:
        """Give a new session in place of one that is not there, which may have left word of why."""
        session = Session()
        session.ended = read_end(fields)
        verdict = self._give(exchange, ids, session, 0)
        if isinstance(verdict.responder, KeptSession):
            verdict.responder.reuse = read_reuse(self.policy, gone, fields)
        return verdict

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass | Answer:
        """Follow `on_outage`."""
        return self._outage(exchange, ask.about.id)

    def late(self, exchange: Exchange, replies: Replies) -> tuple[Session, int, Mapping[str, Any] | None]:
        """Return what was loaded while the app runs, its time and its user's facts. Raises `SessionUnreadable`."""
        known = replies.ask.about
        _, fields, clock = replies.flat
        if fields != AS_SEEN:
            known = self._read_or_report(exchange, known, fields)
        session = Session() if known.record is None else Session.of(known.record)
        if known.record is None:
            session.ended = read_end(fields)
        return session, clock, known.user

    def _read_or_report(self, exchange: Exchange, known: Known, fields: Any) -> Known:
        """Read what was loaded; of records that cannot be read, the first of a row is reported. Raises ValueError."""
        try:
            return self._read(self._place_for(exchange.keys), known, fields)
        except ValueError as error:
            reason = str(error) if isinstance(error, SessionUnreadable) else type(error).__name__
            if not 0 <= exchange.now - self._told.get(reason, float("-inf")) < _QUIET:
                logger.error("%r: session %s cannot be read and is kept (%s)", self, known.id.handle.decode(), reason)
            self._told[reason] = exchange.now
            raise

    def _outage(self, exchange: Exchange, presented: SessionId) -> Pass | Answer:
        if self._closed:
            return self.refuse(exchange, unavailable("The session cannot be read now."))
        return self._give(exchange, self._place_for(exchange.keys).ids, Session.standing_in(presented), 0)

    def _read(self, place: _Place, known: Known, fields: Any) -> Known:
        """Read what was loaded and remember it; without a record, where there is no such session."""
        try:
            record = read_record(known.id, fields, self.policy.cipher)
            if record is None:
                place.memory.forget(known.name)
                return Known(known.name, known.id)
            user = self.policy.user(Session.of(record))
        except SessionUnreadable:
            raise
        except UNDECODABLE:
            raise undecodable(fields, self.policy.cipher) from None
        if user is not None:
            record = record.of(place.ids.of_user(known.id, user))
        found = Known(known.name, known.id, record, facts_of(user) if user is not None else None)
        place.memory.keep(found)
        return found

    def _give(
        self, exchange: Exchange, ids: SessionIds, session: Session, clock: int, user: Mapping[str, Any] | None = None
    ) -> Pass:
        kind = SocketResponder if exchange.is_websocket else KeptSession
        responder = kind(self.policy, ids, session, exchange, clock)
        session.keeper = ref(responder)
        facts = {"session": session}
        if self.policy.principal:
            facts.update(user_facts(exchange, user))
        return Pass(facts, scope=facts, responder=responder)

    def _place_for(self, keys: Keys) -> _Place:
        place = self._place
        if place is None or place.keys is not keys:
            if self.policy.events is not None:
                self.policy.events.check(keys)
            if place is None or place.keys.root is not keys.root:
                memory = SessionMemory(self._remembered, closed=self._closed, replica=self._replica)
            else:  # another tag's; names in memory are other ones for each
                memory = place.memory
            self._place = place = _Place(keys, SessionIds(self._key, keys), memory)
        return place

    def __repr__(self) -> str:
        return f"<Sessions {self.name}: {self.policy.cookie.name.decode()}{', lazy' if self._lazy else ''}>"


def _faults(key: bytes, on_outage: str, max_size: int, encryption: object, remembered: int) -> list[str]:
    faults = secret_faults(key)
    if on_outage not in ("closed", "anonymous"):
        faults.append(f"on_outage: {on_outage!r} given; allowed are 'closed' and 'anonymous'")
    if not 256 <= max_size <= 16_777_216:
        faults.append(f"max_size: {max_size} given; allowed are 256 to 16777216 bytes")
    if not 0 <= remembered <= 1_000_000:
        faults.append(f"remembered: {remembered} given; allowed are 0 to 1000000 sessions")
    if encryption is not None and not isinstance(encryption, SessionCipher):
        faults.append(f"encryption: a {type(encryption).__name__} given; allowed is a SessionCipher")
    return faults
