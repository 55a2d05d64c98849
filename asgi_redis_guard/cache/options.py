"""The options of a `ResponseCache`: their defaults, and what is allowed. Pure.

`ResponseCacheOptions` is the same list for type checkers; a test holds the two together.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from ..core.checks import MOST_BODY, bytes_faults
from ..core.keywords import options_of
from ..errors import ConfigurationError
from .codec import Codec
from .credentials import CREDENTIALS
from .events import CacheHook
from .fields import is_token
from .policy import STATUSES, CachePolicy, checked, listed, status_faults, ttl_faults
from .rules import Rules

Profile = Literal["app", "http"]

#: Fields that speak to this cache alone, before those that other caches read as well (RFC 9213).
TARGETS = ("guard-cache-control", "cdn-cache-control")


class ResponseCacheOptions(TypedDict, total=False):
    """The keyword options of `ResponseCache`, for type checkers; their meaning stands there."""

    profile: Profile
    ttl: float | None
    swr: float
    sie: float
    statuses: Iterable[int]
    hosts: Iterable[str]
    sort_query: bool
    ignore_query: Iterable[str]
    credentials: Iterable[str]
    targets: Iterable[str]
    client_control: bool | None
    heuristic: bool
    store_cookies: bool
    ranges: bool
    max_body: int
    compress_from: int | None
    integrity_key: str | bytes | None
    wait: float
    pass_for: float
    keep: float
    jitter: float | None
    early: float
    remembered: int
    memory_ttl: float
    read_from_replicas: bool
    invalidates_unsafe: bool
    cache_status: str | None
    on_event: Iterable[CacheHook]
    exempt: Iterable[str]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a guard was told, as it uses it. Times are in seconds."""

    profile: Profile = "app"
    ttl: float | None = None
    swr: float = 0.0
    sie: float = 0.0
    statuses: Iterable[int] = STATUSES
    hosts: Iterable[str] = ()
    sort_query: bool = False
    ignore_query: Iterable[str] = ()
    credentials: Iterable[str] = tuple(sorted(name.decode() for name in CREDENTIALS))
    targets: Iterable[str] = TARGETS
    client_control: bool | None = None
    heuristic: bool = True
    store_cookies: bool = False
    ranges: bool = True
    max_body: int = 1 << 20
    compress_from: int | None = 8192
    integrity_key: str | bytes | None = field(default=None, repr=False)
    wait: float = 10.0
    pass_for: float = 10.0
    keep: float = 3600.0
    jitter: float | None = None
    early: float = 1.0
    remembered: int = 8 << 20
    memory_ttl: float = 0.0
    read_from_replicas: bool = False
    invalidates_unsafe: bool = True
    cache_status: str | None = "guard"
    on_event: Iterable[CacheHook] = ()
    exempt: Iterable[str] = ()
    name: str = "cache"

    def __post_init__(self) -> None:
        for option in _LISTS:
            object.__setattr__(self, option, listed(getattr(self, option)))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Return the options that were given by keyword; raises TypeError for one that there is not."""
        return options_of(cls, given, "a cache")

    def check(self) -> None:
        """Raise `ConfigurationError` with all that is wrong."""
        faults = self._wrong_keys() + status_faults(self.statuses)
        if self.profile not in ("app", "http"):
            faults.append(f"profile: {self.profile!r} given; allowed are 'app' and 'http'")
        for option in ("swr", "sie"):
            if self.ttl is None and getattr(self, option):
                faults.append(f"{option}: given without ttl; give both, or say it for a route, @cached(60, {option}=…)")
        if self.profile == "http" and self.ttl is not None:
            faults.append("ttl: given with profile 'http', which goes by what responses say; allowed with 'app'")
        if self.profile == "app" and self.store_cookies:
            faults.append("store_cookies: given with profile 'app'; allowed with 'http'")
        faults += bytes_faults("max_body", self.max_body)
        for option in ("wait", "pass_for", "keep"):
            faults += ttl_faults(option, getattr(self, option), 1.0 if option == "pass_for" else 0.0)
        if self.jitter is not None and not _is_between(self.jitter, 0.5):
            faults.append(f"jitter: {self.jitter!r} given; allowed is a part of the lifetime from 0 to 0.5")
        if not _is_between(self.early, 100):
            faults.append(f"early: {self.early!r} given; allowed are 0 (never) to 100")
        faults += bytes_faults("remembered", self.remembered)
        if not _is_between(self.memory_ttl, 60):
            faults.append(f"memory_ttl: {self.memory_ttl!r} given; allowed are 0 (always ask) to 60 seconds")
        said = self.cache_status
        if said is not None and not (isinstance(said, str) and said.isascii() and 0 < len(said) <= 64):
            faults.append(f"cache_status: {self.cache_status!r} given; allowed are 1 to 64 characters, and None")
        for option in ("credentials", "targets"):
            faults += [
                f"{option}: {name!r} given; allowed are names of header fields"
                for name in getattr(self, option)
                if not is_token(name)
            ]
        faults += [f"on_event: {hook!r} given; allowed are functions" for hook in self.on_event if not callable(hook)]
        ConfigurationError.raise_for(faults)

    def _wrong_keys(self) -> list[str]:
        """What is wrong with what entries are signed with; never says what was given."""
        key = self.integrity_key
        if key is None or (isinstance(key, str | bytes) and len(key.encode() if isinstance(key, str) else key) >= 16):
            return []
        return ["integrity_key: given is not 16 or more bytes; allowed are those, and None for no HMAC"]

    @property
    def is_http(self) -> bool:
        """True where the responses' own fields decide."""
        return self.profile == "http"

    def default(self) -> CachePolicy | None:
        """Return what counts for routes that declare nothing."""
        if self.ttl is None:
            return None
        return checked(CachePolicy(self.ttl, self.swr, self.sie, statuses=frozenset(self.statuses)))

    def rules(self) -> Rules:
        """Return what decides on responses."""
        return Rules(
            targets=_names(self.targets),
            credentials=frozenset(_names(self.credentials)),
            max_body=self.max_body,
            default=self.default(),
            store_cookies=self.store_cookies,
            heuristic=self.heuristic,
            keep=self.keep,
            is_http=self.is_http,
            hears_clients=self.hears_clients,
        )

    def codec(self) -> Codec:
        """Return what makes bytes of entries."""
        key = self.integrity_key
        # Routes may keep larger bodies than the guard does by itself.
        return Codec(key.encode() if isinstance(key, str) else key, self.compress_from, max_body=MOST_BODY)

    @property
    def hears_clients(self) -> bool:
        """Whether clients may ask for what is newer than what is stored: by default of `http` alone, for it is load."""
        return self.is_http if self.client_control is None else self.client_control

    @property
    def spread(self) -> float:
        """The part of a lifetime that is taken off at random, so that what was stored at once does not end at once."""
        return (0.0 if self.is_http else 0.05) if self.jitter is None else self.jitter


def _names(given: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(name.lower().encode() for name in given)


#: Options that are lists, of which a single one may be given by itself.
_LISTS = ("statuses", "hosts", "ignore_query", "credentials", "targets", "on_event")


def _is_between(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def signature() -> inspect.Signature:
    """Return the signature of `ResponseCache`, with all its options and their defaults, for `help` and editors."""
    return inspect.signature(Options).replace(return_annotation=inspect.Signature.empty)
