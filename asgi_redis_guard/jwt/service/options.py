"""The keyword options of `TokenService`: their defaults, and what is allowed. Pure.

`TokenOptions` is the same list for type checkers; a test holds the two together.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Required, TypedDict

from ...core.checks import is_within, plain_faults, replicas_faults, seconds_faults, several
from ...core.keywords import options_of
from ...errors import ConfigurationError
from ...observability.events import host_time
from ..policy import MAX_LEEWAY, MAX_LIFETIME
from .events import TokenHook

#: Seconds.
_LONGEST_GRACE, _LONGEST_FAMILY = 300, 10 * 366 * 86_400

_MOST_REPLAYS = 1_000_000

#: RFC 7519 §2 StringOrURI, as far as it stands in claims, and RFC 6749 §A.1 for clients: printable ASCII.
_NAME = re.compile(r"[ -~]{1,255}")

#: Tells what an app has to say of a user in each new access token: its roles, say, as they are now.
ClaimsOf = Callable[[str], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `TokenService` takes beside its keys. Times in seconds. Raises `ConfigurationError`, with all faults."""

    issuer: str
    audience: str | Iterable[str] = ()
    client: str | None = None
    access_ttl: float = 600.0
    refresh_ttl: float = 14 * 86_400.0
    lifetime: float = 90 * 86_400.0
    grace: float = 20.0
    max_replays: int = 100
    leeway: float = 10.0
    max_size: int = 8192
    by_issuer: bool = False
    wait_replicas: int | None = None
    claims: ClaimsOf | None = None
    hooks: Iterable[TokenHook] = ()

    def __post_init__(self) -> None:
        ConfigurationError.raise_for(_list_faults("audience", self.audience) + _list_faults("hooks", self.hooks))
        object.__setattr__(self, "audience", several(self.audience) or (self.issuer,))
        object.__setattr__(self, "client", self.issuer if self.client is None else self.client)
        object.__setattr__(self, "hooks", tuple(self.hooks))
        ConfigurationError.raise_for([*self._names(), *self._times(), *self._numbers(), *self._functions()])

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Return the options that were given by keyword; raises TypeError for one that there is not."""
        if "issuer" not in given:
            raise TypeError("a token service needs the option 'issuer', such as issuer=\"https://api.example.com\"")
        return options_of(cls, given, "a token service")

    @property
    def audiences(self) -> tuple[str, ...]:
        """For whom its tokens are."""
        return tuple(self.audience)

    @property
    def namespace(self) -> str:
        """Whose names users have, in keys: the issuer's where there are several, else nobody's."""
        return self.issuer if self.by_issuer else ""

    @property
    def default_client(self) -> str:
        """The `client_id` of tokens that are issued to nobody else."""
        return self.client or self.issuer

    def _names(self) -> list[str]:
        faults = _name_faults("issuer", self.issuer)
        for audience in self.audiences:
            if audience is not self.issuer:
                faults += _name_faults("audience", audience)
        return faults if self.client is self.issuer else faults + _name_faults("client", self.client)

    def _times(self) -> list[str]:
        faults = seconds_faults("access_ttl", self.access_ttl, 1, MAX_LIFETIME)
        faults += seconds_faults("refresh_ttl", self.refresh_ttl, 1, _LONGEST_FAMILY)
        faults += seconds_faults("lifetime", self.lifetime, 1, _LONGEST_FAMILY)
        faults += seconds_faults("grace", self.grace, 0, _LONGEST_GRACE)
        faults += seconds_faults("leeway", self.leeway, 0, MAX_LEEWAY)
        return faults or self._orders()

    def _orders(self) -> list[str]:
        """What is wrong with times that are each allowed: a family outlives its tokens, and its life what it idles."""
        faults = []
        if self.refresh_ttl < self.access_ttl + self.leeway:
            least = f"{self.access_ttl:.15g} (access_ttl) + {self.leeway:.15g} (leeway) seconds"
            faults.append(f"refresh_ttl: {self.refresh_ttl:.15g} given; allowed are {least} or more")
        if self.refresh_ttl <= self.grace:
            faults.append(f"grace: {self.grace:.15g} given; allowed is less than refresh_ttl, {self.refresh_ttl:.15g}")
        if self.lifetime < self.refresh_ttl:
            least = f"{self.refresh_ttl:.15g} (refresh_ttl) seconds"
            faults.append(f"lifetime: {self.lifetime:.15g} given; allowed are {least} or more")
        return faults

    def _numbers(self) -> list[str]:
        faults = []
        if self.max_replays.__class__ is not int or not is_within(self.max_replays, 0, _MOST_REPLAYS):
            faults.append(f"max_replays: {self.max_replays!r} given; allowed are 0 to {_MOST_REPLAYS}")
        if self.max_size.__class__ is not int or not is_within(self.max_size, 256, 65_536):
            faults.append(f"max_size: {self.max_size!r} given; allowed are 256 to 65536 bytes")
        return faults + ([] if self.wait_replicas is None else replicas_faults("wait_replicas", self.wait_replicas))

    def _functions(self) -> list[str]:
        faults = plain_faults("hooks", self.hooks)
        faults += [f"hooks: {hook!r} given; allowed are functions" for hook in self.hooks if not callable(hook)]
        if self.claims is not None and not callable(self.claims):
            faults.append(f"claims: a {type(self.claims).__name__} given; allowed is a function of the user")
        return faults


class TokenOptions(TypedDict, total=False):
    """The keyword options of `TokenService`, for type checkers; their meaning stands there."""

    issuer: Required[str]
    audience: str | Iterable[str]
    client: str | None
    access_ttl: float
    refresh_ttl: float
    lifetime: float
    grace: float
    max_replays: int
    leeway: float
    max_size: int
    by_issuer: bool
    wait_replicas: int | None
    claims: ClaimsOf | None
    hooks: Iterable[TokenHook]


def signature() -> inspect.Signature:
    """Return the signature of `TokenService`, with all its options and their defaults, for `help` and editors."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    given = [
        inspect.Parameter("redis", kind, annotation="RedisManager | str | None"),
        inspect.Parameter("keys", kind, annotation="KeyRing | SigningKey | KeyLike"),
        inspect.Parameter("refresh_keys", inspect.Parameter.KEYWORD_ONLY, annotation="str | bytes | Iterable"),
        inspect.Parameter(
            "revocation", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="RevocationList | None"
        ),
        inspect.Parameter("clock", inspect.Parameter.KEYWORD_ONLY, default=host_time, annotation="Callable"),
    ]
    return inspect.Signature([*given, *inspect.signature(Options).parameters.values()])


def _list_faults(option: str, given: object) -> list[str]:
    return [] if isinstance(given, Iterable) else [f"{option}: {given!r} given; allowed is a list"]


def _name_faults(option: str, name: object) -> list[str]:
    if isinstance(name, str) and _NAME.fullmatch(name):
        return []
    return [f"{option}: {name!r} given; allowed are 1 to 255 printable ASCII characters"]
