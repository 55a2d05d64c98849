"""`Devices`: the browsers that a user trusts, so that a second factor need not be asked for each time.

A trusted device has a cookie of its own, 256 random bits, which outlives sessions. Of it a hash is stored, in the slot
of the user's sessions; every call is one atomic script, and what has ended is dropped by whichever comes next.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..core.asgi import Scope
from ..core.cookies import cookie_values
from ..core.exchange import Exchange
from ..core.lua import read_lua
from ..errors import ConfigurationError
from ..redis.manager import RedisManager
from ..redis.program import Script
from .events import SecurityEvents
from .ids import SessionId, SessionIds, secret_of
from .policy import CookieStyle, SameSite
from .recording import MOST_HANDLES, event_faults

_TRUST, _TRUSTED, _LIST, _UNTRUST = (
    Script(read_lua(__package__, f"{name}.lua")) for name in ("trust", "trusted", "devices", "untrust")
)

#: Characters of a name that are kept.
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class TrustedDevice:
    """A device that a user trusts until `expires`; `seen` is when it last proved it.

    `handle` names it in lists and logs: it is a hash of what its cookie holds, and opens nothing.
    """

    handle: str
    name: str
    created: datetime
    seen: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class TrustGrant:
    """What `Devices.trust` gives: the device, and the `Set-Cookie` field that has to reach it; it is a secret."""

    device: TrustedDevice
    set_cookie: str = field(repr=False)


class Devices:
    """Trust devices, recognise them, list them, and trust them no longer.

    `redis` is a manager, a URL, or None for the shared manager of the environment's settings. `device_cookie`,
    `domain`, `same_site`, `https_only`: its cookie, as in `Sessions`: `__Host-device` by default. `max_age`: seconds
    that a device is trusted, without being renewed by use. `max_per_user`: how many are, those that were trusted last.
    `key`: that of `Sessions`. `events`: where it is recorded what is trusted from now on, and no longer. Raises
    `ConfigurationError`; all methods raise `RedisUnavailable`.

    Trust is for one user on one device: whoever trusts it for another user gives it another cookie in place of the
    first. It says nothing about who is there; it is to be asked after a password was right.
    """

    def __init__(
        self,
        redis: RedisManager | str | None = None,
        *,
        device_cookie: str = "device",
        max_age: float = 30 * 86_400,
        max_per_user: int = 20,
        domain: str | None = None,
        same_site: SameSite = "lax",
        https_only: bool = True,
        key: str | bytes = b"",
        events: SecurityEvents | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        secret = secret_of(key)
        ConfigurationError.raise_for([*_faults(max_age, max_per_user), *event_faults(events, secret)])
        self._redis = RedisManager.of(redis)
        if events is not None:
            events.check(self._redis.keys)
        self._events = events
        self._ids = SessionIds(secret, self._redis.keys)
        self._cookie = _cookie(device_cookie, domain, same_site, https_only)
        self._life = round(max_age * 1000)
        self._most = max_per_user
        self._random = random

    async def trust(self, user: str | int, name: str = "", *, scope: Scope | None = None) -> TrustGrant:
        """Trust a device from now on, under a new id that the returned cookie carries.

        `name` is what the user will know it by; at most 100 printable characters are kept. With the `scope` of the
        request, what this browser was trusted as so far ends: calling it again renews id and life.
        """
        made = self._ids.make(self._random, str(user))
        former = self._presented(user, scope) if scope is not None else None
        kept = "".join(letter for letter in name if letter.isprintable())[:_LONGEST_NAME]
        args = (made.handle, self._life, kept, self._most, former.handle if former is not None else "")
        now, ends = await self._redis.run_script(_TRUST, self._keys(user), args)
        device = _device(made.handle, ends, now, now, kept.encode())
        if self._events is not None:
            replaced = former.handle.decode() if former is not None else None
            details = {"device": device.handle, "name": kept, "replaced": replaced}
            await self._events.attempt(str(user), "device_trusted", details)
        if scope is not None:
            self._cookie.check(scope)
        return TrustGrant(device, self._cookie.give(made.token, max(1, self._life // 1000)).decode())

    async def find(self, user: str | int, scope: Scope) -> TrustedDevice | None:
        """Return the device that a request comes from, if `user` trusts it, and note that it was seen.

        Costs nothing where no cookie came, or one that was made for somebody else.
        """
        known = self._presented(user, scope)
        if known is None:
            return None
        found = await self._redis.run_script(_TRUSTED, self._keys(user), (known.handle,), repeatable=True)
        return _device(known.handle, *found) if found else None

    async def is_trusted(self, user: str | int, scope: Scope) -> bool:
        """Tell whether `user` trusts the device that a request comes from, as `find` does."""
        return await self.find(user, scope) is not None

    async def untrust(self, user: str | int, *handles: str) -> int:
        """Trust these devices no longer; return how many were trusted. Handles of others do nothing."""
        return await self._untrust(str(user), "", *handles) if handles else 0

    async def untrust_all(self, user: str | int, *, keep: Scope | str | None = None) -> int:
        """Trust no device any longer, but the one with the handle `keep`, or that a request with this scope is from."""
        known = self._presented(user, keep) if keep is not None and not isinstance(keep, str) else None
        stays = known.handle.decode() if known is not None else keep if isinstance(keep, str) else ""
        return await self._untrust(str(user), stays)

    async def _untrust(self, user: str, stays: str, *handles: str) -> int:
        ended: Sequence[bytes] = await self._redis.run_script(_UNTRUST, self._keys(user), (stays, *handles))
        if ended and self._events is not None:
            devices = [handle.decode() for handle in ended[:MOST_HANDLES]]
            details = {"count": len(ended), "devices": devices, "kept": stays or None}
            await self._events.attempt(str(user), "device_untrusted", details)
        return len(ended)

    def removal(self) -> str:
        """Return the `Set-Cookie` field that takes the cookie from a device, for one that is trusted no longer."""
        return self._cookie.take().decode()

    async def list(self, user: str | int) -> Sequence[TrustedDevice]:
        """Return the devices that `user` trusts, those that were seen last first."""
        flat = await self._redis.run_script(_LIST, self._keys(user), repeatable=True)
        found = [_device(*flat[at : at + 5]) for at in range(0, len(flat), 5)]
        return sorted(found, key=lambda device: (device.seen, device.handle), reverse=True)

    def _keys(self, user: str | int) -> tuple[bytes, bytes]:
        place = self._ids.place(user)
        return self._redis.keys.devices(*place), self._redis.keys.device_notes(*place)

    def _presented(self, user: str | int, scope: Scope) -> SessionId | None:
        """Return the id that a request's cookie holds, None for none and for one that was made for another user."""
        values = set(cookie_values(Exchange(scope, 0.0, self._random, self._redis.keys), self._cookie.name))
        found = self._ids.read(values.pop()) if len(values) == 1 else None  # of several, none can be told to be right
        return found if found is not None and found.tag == self._ids.place(user)[0] else None

    def __repr__(self) -> str:
        return f"<Devices {self._cookie.name.decode()}, trusted for {self._life / 86_400_000:g} days>"


def _cookie(name: str, domain: str | None, same_site: SameSite, https_only: bool) -> CookieStyle:
    try:
        return CookieStyle(name, "/", domain, same_site, https_only=https_only, partitioned=False)
    except ConfigurationError as error:  # which calls the name by the option of `Sessions`
        faults = (fault.replace("session_cookie", "device_cookie", 1) for fault in error.faults)
        raise ConfigurationError(*faults) from None


def _device(handle: bytes, ends: int, created: int, seen: int, name: bytes) -> TrustedDevice:
    times: Any = (datetime.fromtimestamp(moment / 1000, UTC) for moment in (created, seen, ends))
    return TrustedDevice(handle.decode(), name.decode(), *times)


def _faults(max_age: float, most: int) -> list[str]:
    faults = []
    if not 1 <= max_age <= 400 * 86_400:  # browsers keep no cookie for longer (RFC 6265bis §5.5)
        faults.append(f"max_age: {max_age} given; allowed are 1 second to 400 days")
    if not 1 <= most <= 1000:
        faults.append(f"max_per_user: {most} given; allowed are 1 to 1000")
    return faults
