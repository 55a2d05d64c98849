"""`SessionStore`: a user's sessions from the app's side, for "your devices", "sign out everywhere" and administrators.

Each call is one script, so that no login falls between what it reads and what it ends.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import urandom
from typing import Any, TypedDict, Unpack

from ..core.lua import read_lua
from ..core.script import PASSED, Operation, OperationKind, place_of
from ..errors import ConfigurationError, OperationFailed, RedisUnavailable, TooManySessions
from ..redis.manager import RedisManager
from ..redis.program import Script, program_of
from .counting import count, uncount, user_digest, user_of
from .guard import Sessions
from .logins import TOO_MANY, cap_args, publish
from .middleware import SessionOptions
from .notes import MOST_DEVICE, Origin, device_mark
from .recording import begun_by, revoked
from .session import Session
from .writing import CREATE, fields_text

logger = logging.getLogger("asgi_redis_guard.sessions")


def _script_of(kind: OperationKind) -> Script:
    """Return the script that does one operation by itself."""
    return program_of((place_of(True, (kind,)),))


_CREATE = _script_of(CREATE)
_LIST, _REVOKE, _STATS = (Script(read_lua(__package__, name)) for name in ("list.lua", "revoke.lua", "stats.lua"))


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One session of a user, without anything that could be used in its place.

    `id` is what `session.id` says to the app in that session. `expires` is when it ends if it is not used before;
    `last_seen` is exact to a tenth of its idle time. Times are aware, of the Redis server's clock. `ip`, `user_agent`
    (256 characters at most) and `device` tell where it began, None where that is not known.
    """

    id: str
    created: datetime
    last_seen: datetime
    expires: datetime
    ip: str | None = None
    user_agent: str | None = None
    device: str | None = None


class SessionStats(TypedDict):
    """`active` sessions, `users` who have one; how many `created` and `ended` (or expired) in each hour of seven days.

    Hours are counted since the epoch; those in which nothing happened are left out.
    """

    active: int
    users: int
    created: dict[int, int]
    ended: dict[int, int]


class SessionStore:
    """Make, list and end sessions of users; those of nobody are only known to their own browsers.

    `redis` is a manager, a URL, or None for the shared manager of the environment's settings. `guard` is the `Sessions`
    of the stack; in its place its options may be given, which must be the same. All methods raise `RedisUnavailable`;
    a session has ended once the call has returned. The `id` of each is published on the channel `<prefix>sessions`, so
    that its WebSockets are closed. `events` (or those of `guard`) get logins, what the cap does, and one `revoked` for
    each call that ends sessions, with their number and the first of their ids.
    """

    def __init__(
        self,
        redis: RedisManager | str | None = None,
        *,
        guard: Sessions | None = None,
        **options: Unpack[SessionOptions],
    ) -> None:
        if guard is not None:
            ConfigurationError.refuse_both("guard", options)
        guard = guard or Sessions(**options)
        if not guard.policy.principal:
            raise ConfigurationError(
                "principal: none given; allowed is at least one key, which tells whose a session is"
            )
        self._redis = RedisManager.of(redis)
        self._policy = guard.policy
        self._ids = guard._place_for(self._redis.keys).ids

    async def create(
        self,
        user: str | int,
        values: Mapping[str, Any] | None = None,
        *,
        ip: str | None = None,
        user_agent: str | None = None,
        device: str | None = None,
    ) -> tuple[SessionInfo, str]:
        """Make a session of `user` that holds `values`; return it, and the value of the Set-Cookie field that gives it.

        Raises `TooManySessions` where the cap denies it, `SessionDataError` for values that cannot be kept.
        """
        if device is not None and not 0 < len(device) <= MOST_DEVICE:
            raise ValueError(f"device: {len(device)} characters given; allowed are 1 to {MOST_DEVICE}")
        policy, origin = self._policy, Origin(ip, user_agent, device)
        fresh = self._ids.make(urandom, str(user))
        text = fields_text(policy.seal(fresh, self._texts(user, values or {}), urandom))
        log = begun_by(policy, origin, fresh, str(user))
        args = (fresh.handle, text, policy.idle, policy.lifetime, origin.note(), *cap_args(policy), b"", log.text)
        keys = (fresh.record, fresh.owner, fresh.notes)
        await self._run(count(policy, self._redis.keys, fresh))  # before anybody can end it
        status, ends, now, state, evicted, events, _ = await self._redis.run_script(
            _CREATE, keys, args, repeatable=True
        )
        log.tell(events, state == TOO_MANY, evicted)
        if status != PASSED or state == TOO_MANY:
            await self._run(uncount(policy, self._redis.keys, [fresh.handle], user_of(fresh), begun=False))
        _check(status)
        if state == TOO_MANY:
            raise TooManySessions(f"the user has {policy.cap} sessions; allowed are no more (max_sessions)")
        await self._tell(evicted or [], user_of(fresh))
        info = _info(fresh.handle, min(ends, now + policy.idle), (now, now), origin.note())
        return info, policy.cookie_of(fresh.token, ends - now).decode()

    async def get(self, user: str | int, session_id: str) -> SessionInfo | None:
        """Return one session of `user` by its `id`, None if there is none or it is somebody else's."""
        return next((info for info in await self.list(user) if info.id == session_id), None)

    async def list(self, user: str | int, *, device: str | None = None) -> Sequence[SessionInfo]:
        """Return the sessions of `user` that are alive, or those of one of the user's devices; the newest first."""
        flat = await self._redis.run_script(_LIST, self._ids.keys_of(str(user)), repeatable=True)
        found = []
        for handle, end, times, note in zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True):
            created, _, _, touched, _ = map(int, times.split(b":"))
            found.append(_info(handle, int(end), (created, touched), note))
        chosen = [info for info in found if device is None or info.device == device]
        return sorted(chosen, key=lambda info: (info.created, info.id), reverse=True)

    async def revoke(self, user: str | int, session_id: str) -> bool:
        """End one session of `user` by its `id`; true if it was alive."""
        return await self._revoke(user, "one", session_id) == 1

    async def revoke_others(self, user: str | int, session_id: str) -> int:
        """End all sessions of `user` but the one with this `id`; return how many were alive."""
        return await self._revoke(user, "others", session_id, kept=session_id)

    async def revoke_all(self, user: str | int) -> int:
        """End all sessions of `user`; return how many were alive."""
        return await self._revoke(user, "all", b"")

    async def revoke_device(self, user: str | int, device: str) -> int:
        """End all sessions that `user` began on `device`; return how many were alive."""
        return await self._revoke(user, "device", device_mark(device), device=device)

    async def stats(self) -> SessionStats:
        """Count sessions, of everybody and of nobody, without a scan; raises `ConfigurationError` without `statistics`.

        A user counts while one of the user's sessions does, whatever races. Only what a crash has cut short, or the
        server itself has dropped, can be off, each session until it would have ended unused.
        """
        if not self._policy.statistics:
            raise ConfigurationError("statistics: False given; allowed is True, for the guard and the store")
        more = 1
        while more:
            more, active, users, *flat = await self._redis.run_script(_STATS, self._redis.keys.session_counts)
        hours: dict[bytes, dict[int, int]] = {b"b": {}, b"e": {}}
        for name, number in zip(flat[::2], flat[1::2], strict=True):
            if number:
                hours[name[:1]][int(name[1:])] = number
        return {"active": active, "users": users, "created": hours[b"b"], "ended": hours[b"e"]}

    async def _revoke(self, user: str | int, which: str, what: str | bytes, **told: str) -> int:
        # Not repeatable: a second run would find nothing, and not say what the first one ended.
        keys = self._ids.keys_of(str(user))
        ended = await self._redis.run_script(_REVOKE, keys, (which, what))
        await self._tell(ended, user_digest(keys[0]))
        if ended and self._policy.events is not None:
            await self._policy.events.attempt(str(user), "revoked", revoked(which, ended, **told))
        return len(ended)

    async def _tell(self, handles: Sequence[bytes], user: bytes) -> None:
        """Publish which sessions of a user have ended, and count them. That they have does not hang on it."""
        if not handles:
            return
        try:
            await self._run(uncount(self._policy, self._redis.keys, handles, user))
            await self._run([publish(self._redis.keys, handles)])
        except RedisUnavailable as error:
            logger.warning("the end of %d sessions could not be published: %s", len(handles), error)

    async def _run(self, operations: Sequence[Operation]) -> None:
        for kind, keys, args in operations:
            status, *_ = await self._redis.run_script(_script_of(kind), keys, args, repeatable=True)
            _check(status)

    def _texts(self, user: str | int, values: Mapping[str, Any]) -> dict[str, bytes]:
        name = self._policy.principal[0]
        if values.get(name, user) != user:
            raise ValueError(f"{name}: {values[name]!r} given for a session of {user!r}")
        texts = Session({**values, name: user}).texts()
        self._policy.check_size(texts)
        return texts

    def __repr__(self) -> str:
        return f"<SessionStore {self._policy.cookie.name.decode()} on {self._redis!r}>"


def _check(status: object) -> None:
    if status != PASSED:
        raise OperationFailed(status.decode() if isinstance(status, bytes) else str(status))


def _info(handle: bytes, end: int, times: tuple[int, int], note: bytes) -> SessionInfo:
    created, last_seen, expires = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (*times, end))
    origin = Origin.read(note)
    return SessionInfo(handle.decode(), created, last_seen, expires, origin.ip, origin.user_agent, origin.device)
