"""What is to be kept of a response, and for how long, as it is declared for a route or for all of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from inspect import iscoroutinefunction
from typing import Any

from ..core.checks import bytes_faults, seconds_faults
from ..core.exchange import Exchange
from ..core.keys import digest
from ..errors import ConfigurationError

#: Seconds that an entry lives at most, stale time included; RFC 9111 §4.2.2 lets a cache keep less than it may.
LONGEST = 31 * 86_400.0

#: Statuses that are kept where nothing else is said: what is there, and what has moved for good.
STATUSES = frozenset((200, 203, 204, 301, 308))

#: Requests that may be answered from what is kept.
METHODS = frozenset(("GET", "HEAD"))

#: A part of the key that the app makes: of an exchange, text or bytes, or None for "not to be cached".
KeyOf = Callable[[Exchange], str | bytes | None]


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """What `@cached` declares. Times are in seconds.

    `ttl` is how long an answer is fresh; for `swr` seconds more it is sent stale while it is made anew in the
    background (RFC 5861 §3), for `sie` seconds more where the app fails (§4). `user_aware` keeps one answer for each
    verified user. `tags` name what it is invalidated by. `vary` names request fields that it depends on. `public` says
    that it is the same for everybody, whoever asks. `client_ttl` is what browsers and caches further out may keep it
    for without asking. `function` is what it was declared for, and `where` its name.
    """

    ttl: float
    swr: float = 0.0
    sie: float = 0.0
    user_aware: bool = False
    public: bool = False
    tags: tuple[str, ...] = ()
    vary: tuple[bytes, ...] = ()
    methods: frozenset[str] = METHODS
    statuses: frozenset[int] = STATUSES
    max_body: int | None = None
    client_ttl: float = 0.0
    key: KeyOf | None = None
    where: str = ""
    function: Callable[..., Any] | None = field(default=None, repr=False)

    def joined(self, other: CachePolicy) -> CachePolicy:
        """Return what both allow: one route's function may call another's, and what comes is for the fewer of them."""
        user_aware = self.user_aware or other.user_aware
        sizes = [size for size in (self.max_body, other.max_body) if size is not None]
        return replace(
            self,
            ttl=min(self.ttl, other.ttl),
            swr=min(self.swr, other.swr),
            sie=min(self.sie, other.sie),
            user_aware=user_aware,
            public=self.public and other.public and not user_aware,
            tags=(*self.tags, *other.tags),
            vary=(*self.vary, *(name for name in other.vary if name not in self.vary)),
            methods=self.methods & other.methods,
            statuses=self.statuses & other.statuses,
            max_body=min(sizes, default=None),
            client_ttl=min(self.client_ttl, other.client_ttl),
            key=_both(self.key, other.key),
        )


def _both(one: KeyOf | None, other: KeyOf | None) -> KeyOf | None:
    """Return a key that differs where either does."""
    if one is None or other is None or one is other:
        return one or other

    def key(exchange: Exchange) -> bytes | None:
        parts = one(exchange), other(exchange)
        return None if parts[0] is None or parts[1] is None else digest(parts[0], parts[1])

    return key


def name_of(function: object) -> str:
    """Return what a route function goes by in warnings."""
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{getattr(function, '__module__', '')}.{name}"


def listed(given: Any) -> tuple[Any, ...]:
    """Return an option that is a list: an iterator is read once, and one of something stands for itself."""
    return (given,) if isinstance(given, str | bytes) or not isinstance(given, Iterable) else tuple(given)


def ttl_faults(option: str, seconds: object, least: float = 0.0) -> list[str]:
    """What is wrong with a time in seconds."""
    return seconds_faults(option, seconds, least, LONGEST)


def status_faults(statuses: Iterable[object]) -> list[str]:
    """What is wrong with statuses that may be kept."""
    return [
        f"statuses: {status!r} given; allowed are 200 to 599, but 206 and 304"
        for status in statuses
        if status.__class__ is not int or not 200 <= status <= 599 or status in (206, 304)
    ]


def checked(policy: CachePolicy) -> CachePolicy:
    """Return `policy`; raises `ConfigurationError` with all that is wrong with it."""
    faults = ttl_faults("ttl", policy.ttl, 0.001)
    for option in ("swr", "sie", "client_ttl"):
        faults += ttl_faults(option, getattr(policy, option))
    faults += status_faults(policy.statuses)
    if policy.max_body is not None:
        faults += bytes_faults("max_body", policy.max_body)
    if policy.public and policy.user_aware:
        faults.append("public: given together with user_aware; an answer is for everybody or for one user")
    if policy.key is not None and (not callable(policy.key) or iscoroutinefunction(policy.key)):
        faults.append(f"key: {policy.key!r} given; allowed is a plain function of the exchange")
    ConfigurationError.raise_for(faults)
    return policy
