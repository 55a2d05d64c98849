"""`SecurityEvents`: what happened to a user's account, in order, for the user, for support and for a SIEM.

One stream a user, in the slot of the user's sessions, trimmed by age and by number in the script that writes. Times
are the server's. Handles and hashes may stand in an event, what opens a door may not (`details.py`). What guards record
by themselves is made in `recording.py`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import iscoroutinefunction as _waits
from typing import Any, Literal, Protocol, get_args

import orjson

from ..core.keys import Keys
from ..core.lua import read_lua
from ..core.rounds import read_replies
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import Ask
from ..errors import ConfigurationError, OperationFailed, RedisUnavailable
from ..observability.events import emit, host_time
from ..redis.manager import RedisManager
from ..redis.program import Script, program_of
from .details import pack_details
from .ids import SessionIds, secret_of
from .moments import Moment, beginning, in_ms

logger = logging.getLogger("asgi_redis_guard.sessions")

#: What this package knows to happen. `reuse`: an id came that had been replaced; `cap_…`: `max_sessions` was reached.
SecurityEventKind = Literal[
    "login",
    "login_failed",
    "logout",
    "revoked",
    "rotated",
    "reuse",
    "new_device",
    "device_trusted",
    "device_untrusted",
    "cap_evicted",
    "cap_denied",
    "csrf_failed",
]

#: What an app's own kinds begin with: `app.password_changed`.
APP_PREFIX = "app."

RECORD = OperationKind.load(__package__, "record.lua")
_RECORD = program_of((Ask([Operation(RECORD, (b"",), ("", "", "", ""))]).place,))
_QUERY = Script(read_lua(__package__, "events.lua"))

_KNOWN = frozenset(get_args(SecurityEventKind))
_OWN = re.compile(re.escape(APP_PREFIX) + r"[a-z0-9_.-]{1,60}")

#: Seconds without an event that could not be recorded, after which the next one is news.
_QUIET = 60


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """One thing that happened to `user`. `at` is by the server's clock, in milliseconds; `id` orders and names it.

    An event that Redis did not take is told to hooks all the same: its `id` is empty, and `at` this host's time.
    """

    user: str
    kind: str
    at: datetime
    id: str
    details: Mapping[str, Any] = field(default_factory=dict)


def events_faults(events: SecurityEvents | None, tagged: bool) -> list[str]:
    """What is wrong with the events of a guard in a stack whose keys go by a tag."""
    if events is None or not tagged:
        return []
    return ["events: made for one manager's keys; under key_tag allowed is none, record them by a store"]


class SecurityHook(Protocol):
    """Gets each event that this process records, in the event loop; what it raises is logged and goes no further."""

    def __call__(self, event: SecurityEvent, /) -> object: ...


class SecurityEvents:
    """Record and query what happens to users.

    `redis` is a manager, a URL, or None for the shared manager of the environment's settings. `retention`: seconds that
    an event is kept; `max_per_user`: how many are, the newest. `key`: that of `Sessions`, so that all of a user's keys
    share a slot of a cluster. `hooks`: plain functions that each event is given to once it is recorded. Raises
    `ConfigurationError`.

    Given to guards and stores as `events`, it gets what happens there by itself, in the round trips that they make
    anyway. Their Redis and key must be its own: with another key a guard is refused at once, with another manager a
    store at once and a stack with its first request.

    Record a `login_failed` for users that there are: names that anybody may type would each take their place in Redis.
    """

    def __init__(
        self,
        redis: RedisManager | str | None = None,
        *,
        retention: float = 90 * 86_400,
        max_per_user: int = 1000,
        key: str | bytes = b"",
        hooks: Iterable[SecurityHook] = (),
        clock: Callable[[], float] = host_time,
    ) -> None:
        self._hooks = tuple(hooks)
        ConfigurationError.raise_for(_faults(retention, max_per_user, self._hooks))
        self._redis = RedisManager.of(redis)
        #: What its keys are made by: a stack that records here has the same.
        self.keys = self._redis.keys
        self._secret = secret_of(key)
        self._ids = SessionIds(self._secret, self.keys)
        self._retention = round(retention * 1000)
        self._most = max_per_user
        self._clock = clock
        self._failed_at = float("-inf")

    async def record(self, user: str, kind: SecurityEventKind | str, /, **details: Any) -> SecurityEvent:
        """Write down what happened, in one round trip, and tell the hooks; return the event.

        `details` become JSON of 1 KiB at the most: long strings are cut, credentials left out, what is None dropped.
        Raises ValueError for a kind that is neither known nor begins with `app.`, `SessionDataError` for details that
        are no JSON, `RedisUnavailable` where it was not written; hooks have heard of it even then. Where a reply was
        lost it may be written twice rather than not at all.
        """
        operation = self.operation(user, kind, details)
        try:
            event_id = await self._write(operation)
        except RedisUnavailable:
            self.tell(user, operation)
            raise
        return self.tell(user, operation, event_id)

    async def attempt(self, user: str, kind: SecurityEventKind | str, details: Mapping[str, Any]) -> SecurityEvent:
        """Record what has happened whether it can be recorded or not: where it cannot, that is logged. Never raises."""
        operation = self.operation(user, kind, details)
        try:
            return self.tell(user, operation, await self._write(operation))
        except RedisUnavailable as error:
            return self.miss(user, operation, error)

    async def _write(self, operation: Operation) -> bytes:
        flat = await self._redis.run_script(_RECORD, operation.keys, operation.args, repeatable=True)
        replies = read_replies(Ask([operation]), flat, flat[-1])
        if not isinstance(replies, Replies):
            raise replies or OperationFailed("ERR the event was not recorded")
        event_id: bytes = replies.flat[1]
        return event_id

    def operation(self, user: str, kind: SecurityEventKind | str, details: Mapping[str, Any]) -> Operation:
        """Return the operation that records an event, for a guard to ask for; raises as `record` does."""
        if kind not in _KNOWN and not _OWN.fullmatch(kind):
            allowed = f"{', '.join(sorted(_KNOWN))}, and the app's own, which begin with {APP_PREFIX!r}"
            raise ValueError(f"kind: {kind!r} given; allowed are {allowed}")
        stream = self.keys.events(*self._ids.place(user))
        return Operation(RECORD, (stream,), (kind, pack_details(details), self._retention, self._most))

    def tell(self, user: str, operation: Operation, event_id: bytes = b"") -> SecurityEvent:
        """Give the hooks what an operation recorded as `event_id`, nothing if it failed; return the event.

        Its first arguments are kind and details.
        """
        kind, details = operation.args[:2]
        event = _event(user, event_id, kind, details, self._clock)
        emit(self._hooks, event)
        return event

    def miss(self, user: str, operation: Operation, error: object) -> SecurityEvent:
        """Tell the hooks of what could not be recorded, and log the first of a row; return the event."""
        now = self._clock()
        if not 0 <= now - self._failed_at < _QUIET:
            logger.error("%r: a %s could not be recorded (%s)", self, operation.args[0], error)
        self._failed_at = now
        return self.tell(user, operation)

    def check(self, keys: Keys) -> None:
        """Raise `ConfigurationError` unless it is for the Redis that has these keys: that of one manager."""
        if keys is not self.keys:
            raise ConfigurationError("events: made for another RedisManager; allowed is that of the stack or the store")

    def key_faults(self, secret: bytes) -> list[str]:
        """What is wrong with it for sessions whose ids are hashed with that key."""
        wrong = "events: made with another key; allowed is that of the sessions"
        return [] if secret == self._secret else [wrong]

    async def query(
        self,
        user: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        kinds: Iterable[SecurityEventKind | str] = (),
        limit: int = 50,
        before: str | None = None,
    ) -> list[SecurityEvent]:
        """Return a user's events, newest first: from `since` on, up to but not at `until`, of `kinds` if there are any.

        Times are seconds since the epoch or aware datetimes. At most `limit` (1 to 1000) come back; `before` with the
        `id` of the last one gives the page after. Raises ValueError for what is none of this, `RedisUnavailable`.
        """
        if not 1 <= limit <= 1000:
            raise ValueError(f"limit: {limit} given; allowed are 1 to 1000")
        end = beginning(until, before)
        if end is None:
            return []
        stream = self.keys.events(*self._ids.place(user))
        wanted = {kinds} if isinstance(kinds, str) else set(kinds)
        args = (in_ms(since or 0, "since"), end, limit, self._retention, *sorted(wanted))
        flat: Sequence[bytes] = await self._redis.run_script(_QUERY, (stream,), args, repeatable=True)
        rows = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        return [_event(user, event_id, kind.decode(), details, self._clock) for event_id, kind, details in rows]

    async def forget(self, user: str) -> bool:
        """Delete all events of a user, whose account has ended; true if there were any."""
        return bool(await self._redis.execute("DEL", self.keys.events(*self._ids.place(user))))

    def __repr__(self) -> str:
        return f"<SecurityEvents for {self._retention / 86_400_000:g} days, {self._most} a user at most>"


def _event(user: str, event_id: bytes, kind: str, details: bytes, clock: Callable[[], float]) -> SecurityEvent:
    at = int(event_id.partition(b"-")[0]) / 1000 if event_id else clock()
    return SecurityEvent(user, kind, datetime.fromtimestamp(at, UTC), event_id.decode(), orjson.loads(details))


def _faults(retention: float, most: int, hooks: Sequence[SecurityHook]) -> list[str]:
    faults = []
    if not 1 <= retention <= 10 * 366 * 86_400:
        faults.append(f"retention: {retention} given; allowed are 1 second to 10 years")
    if not 1 <= most <= 100_000:
        faults.append(f"max_per_user: {most} given; allowed are 1 to 100000")
    wrong = [hook for hook in hooks if not callable(hook) or _waits(hook) or _waits(type(hook).__call__)]
    return [*faults, *(f"hooks: {hook!r} given; allowed are plain functions of one event" for hook in wrong)]
