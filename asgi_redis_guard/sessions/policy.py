"""What sessions of one guard are like: their cookie, how long they live, who they belong to. Pure."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..core.asgi import Scope
from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.problem import problem
from ..core.set_cookie import SetCookie, drops_secure, is_cookie_name, place_faults
from ..core.steps import Answer
from ..errors import ConfigurationError, SessionDataError
from .crypto import SessionCipher
from .events import SecurityEvents
from .ids import SessionId

logger = logging.getLogger("asgi_redis_guard.sessions")

SameSite = Literal["lax", "strict", "none"]
OnExcess = Literal["evict_oldest", "evict_lru", "deny"]

NO_PROXIES = TrustedProxies()


class CookieStyle(SetCookie):
    """Writes the cookie of sessions.

    With `https_only` the name has the prefix that browsers check (RFC 6265bis §4.1.3): `__Host-`, or `__Secure-` where
    a domain or a path other than `/` is given. Nothing of it is guessed from requests.
    """

    __slots__ = ("_untold",)

    def __init__(
        self, name: str, path: str, domain: str | None, same_site: SameSite, *, https_only: bool, partitioned: bool
    ) -> None:
        ConfigurationError.raise_for(cookie_faults(name, path, domain, same_site, https_only, partitioned))
        prefix = "" if not https_only else "__Host-" if domain is None and path == "/" else "__Secure-"
        super().__init__(
            f"{prefix}{name}",
            path=path,
            domain=domain,
            same_site=same_site,
            secure=https_only,
            partitioned=partitioned,
        )
        self._untold = https_only

    def check(self, scope: Scope) -> None:
        """Warn, once, where it is given to a browser that will drop it."""
        if self._untold and drops_secure(scope):
            self._untold = False
            logger.warning(
                "the cookie %s is Secure and browsers drop it over plain HTTP; say https_only=False there, "
                "or let the server trust the proxy's X-Forwarded-Proto",
                self.name.decode(),
            )


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """Times in ms. `principal` are the keys whose change is a login, a logout or another privilege.

    `cap` is how many sessions a user may have, None for any number; `excess` what happens to one more.
    """

    cookie: CookieStyle
    lifetime: int
    idle: int
    overlap: int
    principal: tuple[str, ...]
    persistent: bool
    max_size: int
    cipher: SessionCipher | None = None
    cap: int | None = None
    excess: OnExcess = "evict_oldest"
    proxies: TrustedProxies = NO_PROXIES
    statistics: bool = False
    refuse: Callable[[Exchange, Answer], Answer] | None = None
    events: SecurityEvents | None = None

    def denied(self, exchange: Exchange) -> Answer:
        """Return what a login gets that is one too many."""
        detail = "The user has as many sessions as are allowed; end one of them first."
        answer = problem(409, "too_many_sessions", detail, members={"max_sessions": self.cap})
        return answer if self.refuse is None else self.refuse(exchange, answer)

    def ended(self, exchange: Exchange) -> Answer:
        """Return what a change of users gets whose session has ended meanwhile."""
        answer = problem(409, "session_ended", "The session has ended meanwhile; log in again.")
        return answer if self.refuse is None else self.refuse(exchange, answer)

    def cookie_of(self, token: bytes, lifetime: int) -> bytes:
        """Return the Set-Cookie field of a session that lives for so many ms at the longest."""
        return self.cookie.give(token, max(1, lifetime // 1000) if self.persistent else None)

    def check_size(self, texts: Mapping[str, bytes]) -> None:
        """Raise `SessionDataError` for more than a session may hold: names and values, in bytes."""
        size = sum(len(name.encode()) + len(text) for name, text in texts.items())
        if size > self.max_size:
            raise self.too_large(size)

    def too_large(self, size: int) -> SessionDataError:
        """Return the error for a session of so many bytes."""
        return SessionDataError(f"the session takes {size} bytes; allowed are {self.max_size} (max_size)")

    def user(self, values: dict[str, object]) -> str | None:
        """Return whose session it is, None for nobody's."""
        value = values.get(self.principal[0]) if self.principal else None
        return None if value is None else str(value)

    def seal(self, session_id: SessionId, texts: dict[str, bytes], random: Callable[[int], bytes]) -> dict[str, bytes]:
        """Return fields as they are stored: encrypted for that record, with fresh nonces, if there is a cipher."""
        return self.cipher.seal(session_id.record, texts, random) if self.cipher is not None else texts

    def unseal(self, session_id: SessionId, stored: dict[str, bytes]) -> dict[str, bytes]:
        """Return stored fields as text; raises `SessionUnreadable`."""
        return self.cipher.unseal(session_id.record, stored) if self.cipher is not None else stored


def times_faults(max_age: float, idle: float | None, overlap: float) -> list[str]:
    """What is wrong with lifetimes, in seconds."""
    given = {"max_age": max_age, "idle": idle or 1, "overlap": overlap}
    faults = [
        f"{name}: {value!r} given; allowed are numbers, in seconds"
        for name, value in given.items()
        if not isinstance(value, int | float)
    ]
    if faults:
        return faults
    if not 1 <= max_age <= 366 * 86_400:
        faults.append(f"max_age: {max_age} given; allowed are 1 second to 366 days")
    if idle is not None and not 1 <= idle <= max(max_age, 1):
        faults.append(f"idle: {idle} given; allowed are 1 second to max_age")
    if not 0 <= overlap <= 300:
        faults.append(f"overlap: {overlap} given; allowed are 0 to 300 seconds")
    return faults


def cap_faults(cap: int | None, excess: str) -> list[str]:
    """What is wrong with a bound on a user's sessions."""
    faults = []
    if cap is not None and not 1 <= cap <= 1000:
        faults.append(f"max_sessions: {cap} given; allowed are 1 to 1000, and None for any number")
    if excess == "deny" and cap is None:
        faults.append("on_excess: 'deny' given without max_sessions; allowed with a number of sessions")
    if excess not in ("evict_oldest", "evict_lru", "deny"):
        faults.append(f"on_excess: {excess!r} given; allowed are 'evict_oldest', 'evict_lru' and 'deny'")
    return faults


def cookie_faults(
    name: str, path: str, domain: str | None, same_site: str, https_only: bool, partitioned: bool
) -> list[str]:
    """What is wrong with a cookie's name and attributes."""
    faults = []
    if not is_cookie_name(name) or name.startswith("__"):
        faults.append(f"session_cookie: {name!r} given; allowed are letters, digits and most signs; prefixes are added")
    faults += place_faults(path, domain, same_site)
    if not https_only and (same_site == "none" or partitioned):
        faults.append("https_only: False given with same_site='none' or partitioned; browsers drop such a cookie")
    return faults
