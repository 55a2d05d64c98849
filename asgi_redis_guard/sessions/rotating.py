"""A new id for a session: what is replaced, what replaces it, and the operations that do so. Pure.

All sessions of one user share a slot of a cluster, so that a session which stays its user's is replaced by one script.
A login, a logout by removing the user, a change of user and a new id for nobody lead to another slot, which no script
can do. There the heir is made first, with all it needs; then the old session gives way to it, if nobody has written
it or ended it meanwhile, which is what decides. So a crash in between costs nobody a session: the old one stands as it
did, and the heir, whose id nobody was told, ends unused. A heir whose forerunner has gone is ended again, unless it is
the login of a session that was nobody's, which stands by itself.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from ..core.exchange import Exchange
from ..core.keys import Keys, hash_tag
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import Ask
from ..errors import RedisUnavailable
from .ending import end
from .ids import SessionId
from .logins import TOO_MANY, follow, told
from .policy import SessionPolicy
from .recall import load
from .record import Record, read_record
from .recording import Turned

ROTATE, HEIR, LEAVE = (OperationKind.load(__package__, f"{name}.lua") for name in ("rotate", "heir", "leave"))

#: What `state` says in the reply to a write.
GONE, WRITTEN, OTHER_VERSION, TOO_LARGE = 0, 1, 2, 4


class Rotation(NamedTuple):
    """One try: `fields` and `rights` as JSON, `entry` as `logins.entry_args`; `lifetime` in ms, empty keeps the end.

    `is_apart` as `lie_apart` tells.
    """

    record: Record
    fresh: SessionId
    fields: bytes
    rights: bytes
    entry: tuple[Any, ...]
    lifetime: int | bytes
    log: Turned
    is_apart: bool

    @property
    def is_login(self) -> bool:
        """True where nobody's session becomes a user's: it stands by itself."""
        return bool(self.lifetime) and self.record.id.owner == self.record.id.record


class Rotated(NamedTuple):
    """What became of it: state, version, when it ends at the latest, the time (ms), and who had to go (0: nobody)."""

    state: int
    version: int = 0
    ends: int = 0
    clock: int = 0
    evicted: Any = 0


Rotating = Generator[Ask, Replies, Rotated]


def lie_apart(exchange: Exchange, old: SessionId, fresh: SessionId) -> bool:
    """Tell whether no script can have the keys of both."""
    return exchange.cuts and hash_tag(old.record) != hash_tag(fresh.record)


def rotate(policy: SessionPolicy, keys: Keys, one: Rotation) -> Rotating:
    """Replace a session by one script."""
    old, fresh = one.record.id, one.fresh
    args = (old.handle, old.place, fresh.handle, fresh.place, one.fields, one.record.version, one.lifetime)
    more = (policy.overlap, *one.entry, keys.sessions_channel, one.rights, one.log.made.text)
    touched = (old.record, old.owner, old.notes, fresh.record, fresh.owner, fresh.notes)
    reply, *_ = yield Ask([Operation(ROTATE, touched, (*args, *more))])
    state, version, ends, clock, evicted, events = reply.values
    one.log.made.tell(events, state == TOO_MANY, evicted)
    return Rotated(state, version, ends, clock, evicted)


class HandOver:
    """Replaces a session by one of another slot; may be tried again for the same new id, with what others have written.

    `undo` ends what was made for nothing.
    """

    __slots__ = ("_evicted", "_keys", "_made", "_policy")

    def __init__(self, policy: SessionPolicy, keys: Keys) -> None:
        self._policy = policy
        self._keys = keys
        self._made: Rotation | None = None
        self._evicted: list[bytes] = []

    def rotate(self, one: Rotation) -> Rotating:
        """Try it once."""
        if self._made is None and one.lifetime and not one.is_login:  # others may have to go for it
            state = yield from self._look(one)
            if state != WRITTEN:
                return Rotated(state)
        made = yield from self._make(one)
        if made.state != WRITTEN:
            return made
        self._made = one
        state = yield from self._leave(one)
        if state == GONE and one.is_login:
            state = WRITTEN
        if state == WRITTEN:
            self._made = None
        return made._replace(state=state, evicted=self._evicted or 0)

    def undo(self) -> Generator[Ask, Replies, Replies | None]:
        """End what was made and has replaced nothing, if anything."""
        one, self._made = self._made, None
        if one is None:
            return None
        log = one.log.undone
        operations = [
            *end(self._policy, self._keys, one.fresh, log),
            *told(self._policy, self._keys, one.fresh, self._evicted or 0),
        ]
        replies = yield from follow(operations)
        if replies is not None:
            log.tell(replies[0].values[-1])
        return replies

    def _look(self, one: Rotation) -> Generator[Ask, Replies, int]:
        """Tell what would become of it now, before anybody has to go for it."""
        (reply,) = yield Ask([load(one.record.id.record)])
        found = read_record(one.record.id, reply.values[0])
        if found is None or found.read_only:
            return GONE
        return WRITTEN if found.version == one.record.version else OTHER_VERSION

    def _make(self, one: Rotation) -> Rotating:
        """Make what is to replace it."""
        record, fresh, log = one.record, one.fresh, one.log.made
        times = (record.created, record.ends, record.idle, record.version, one.lifetime)
        args = (fresh.handle, one.fields, *times, *one.entry, log.text)
        reply, *_ = yield Ask([Operation(HEIR, (fresh.record, fresh.owner, fresh.notes), args)])
        ends, clock, state, evicted, events = reply.values
        log.tell(events, state == TOO_MANY, evicted)
        self._evicted += evicted or []
        return Rotated(state, record.version + 1, ends, clock)

    def _leave(self, one: Rotation) -> Generator[Ask, Replies, int]:
        """Let the former one give way to it, if it is as it was."""
        old, log = one.record.id, one.log
        args = (old.handle, old.place, one.fresh.handle, one.fresh.place, one.record.version, self._policy.overlap)
        more = (self._keys.sessions_channel, one.rights, log.left.text, log.mark)
        try:
            reply, *_ = yield Ask([Operation(LEAVE, (old.record, old.owner, old.notes), (*args, *more))])
        except RedisUnavailable as error:
            if error.maybe_executed:  # then nobody knows which of the two stands: both do
                self._made = None
            raise
        state: int
        state, _, events = reply.values
        log.left.tell(events)
        return state
