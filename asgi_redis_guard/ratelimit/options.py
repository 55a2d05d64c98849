"""The keyword options of `RateLimit`: their defaults, and what is allowed. Pure.

`RateLimitOptions` is the same list for type checkers; a test holds the two together.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from ..core.checks import choice_faults, is_within, plain_faults
from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.guard import OnRefused, refusal_faults
from ..core.identity import KeyPart
from ..core.keywords import options_of
from ..errors import ConfigurationError
from .checks import MOST_UNITS, is_units
from .door import Listed
from .headers import Draft
from .ledger import Ban
from .policy import Algorithm
from .responder import CountIf
from .rules import Notations

#: What becomes of a message that is too many.
OnBreach = Literal["close", "drop", "delay"]

#: How many units a request takes.
Cost = int | Callable[[Exchange], int]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `RateLimit` takes beside its limits. Raises `ConfigurationError` with all faults of single options."""

    rules: Mapping[str, Notations] = field(default_factory=dict)
    key: KeyPart | Iterable[KeyPart] = "address"
    cost: Cost = 1
    settle: bool | Literal["bytes"] = False
    count_if: CountIf | None = None
    name: str | None = None
    group: str | None = None
    algorithm: Algorithm = "gcra"
    burst: int | None = None
    timezone: str | None = None
    paths: Iterable[str] = ()
    exempt: Iterable[str] = ()
    exempt_preflight: bool = True
    allow: Listed = ()
    deny: Listed = ()
    bypass: Iterable[str] = ()
    ban: Ban | None = None
    trusted_proxies: Iterable[str] | TrustedProxies = ()
    unidentified: Literal["refuse", "allow"] = "refuse"
    on_outage: Literal["local", "open", "closed"] = "local"
    on_refused: OnRefused | None = None
    workers: int = 1
    local_keys: int = 10_000
    deny_cache: float = 1.0
    draft: Draft = "11"
    legacy_headers: bool | Literal["seconds", "epoch"] = False
    expose_headers: bool = True
    shadow: bool = False
    changeable: bool = False
    statistics: bool = False
    labels: bool = False

    def __post_init__(self) -> None:
        faults = [*refusal_faults(self.on_refused), *self._choices(), *self._numbers(), *self._functions()]
        if self.count_if is not None and self.settle:
            faults.append("count_if: given together with settle; allowed is one or the other")
        if self.count_if is not None and not callable(self.count_if):
            faults += self._keep_statuses(self.count_if)
        if self.labels and not self.statistics:
            faults.append("labels: given without statistics; they are kept beside these")
        if isinstance(self.ban, Ban):
            faults += self.ban.faults()
        elif self.ban is not None:
            faults.append(f"ban: {self.ban!r} given; allowed is a Ban")
        if not isinstance(self.rules, Mapping):
            faults.append(f"rules: {self.rules!r} given; allowed is a mapping of path patterns to limits")
        ConfigurationError.raise_for(faults)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Return the options that were given by keyword; raises TypeError for one that there is not."""
        return options_of(cls, given, "a limit")

    def _keep_statuses(self, statuses: Iterable[int]) -> list[str]:
        """Keep the statuses, which may be told only once; return what is wrong with them."""
        listed = isinstance(statuses, Iterable) and not isinstance(statuses, str | bytes)
        kept = frozenset(statuses) if listed else frozenset()
        object.__setattr__(self, "count_if", kept)
        if kept and all(status.__class__ is int for status in kept):
            return []
        return [f"count_if: {statuses!r} given; allowed are statuses, at least one, or a function"]

    def _functions(self) -> list[str]:
        faults = []
        for option in ("cost", "count_if", "allow", "deny"):
            faults += plain_faults(option, [getattr(self, option)])
        parts = [self.key] if callable(self.key) else self.key if isinstance(self.key, list | tuple) else []
        return faults + plain_faults("key (GUARD_LIMIT_KEY)", parts)

    def _choices(self) -> list[str]:
        faults = []
        for option, (said, allowed) in _CHOICES.items():
            faults += choice_faults(said, getattr(self, option), allowed)
        return faults

    def _numbers(self) -> list[str]:
        faults = []
        for option in ("local_keys", "workers"):
            given = getattr(self, option)
            if given.__class__ is not int or given < 1:
                faults.append(f"{option}: {given!r} given; allowed are 1 and above")
        if not is_within(self.deny_cache, 0, 1):
            faults.append(f"deny_cache: {self.deny_cache!r} given; allowed are 0 to 1 (seconds)")
        return faults


_CHOICES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "on_outage": ("on_outage (GUARD_LIMIT_ON_OUTAGE)", ("local", "open", "closed")),
    "unidentified": ("unidentified", ("refuse", "allow")),
    "settle": ("settle", (False, True, "bytes")),
    "draft": ("draft", ("11", "next", "06", "none")),
    "legacy_headers": ("legacy_headers", (False, True, "seconds", "epoch")),
}


class RateLimitOptions(TypedDict, total=False):
    """The keyword options of `RateLimit`, for type checkers; their meaning stands there."""

    rules: Mapping[str, Notations]
    key: KeyPart | Iterable[KeyPart]
    cost: Cost
    settle: bool | Literal["bytes"]
    count_if: CountIf | None
    name: str | None
    group: str | None
    algorithm: Algorithm
    burst: int | None
    timezone: str | None
    paths: Iterable[str]
    exempt: Iterable[str]
    exempt_preflight: bool
    allow: Listed
    deny: Listed
    bypass: Iterable[str]
    ban: Ban | None
    trusted_proxies: Iterable[str] | TrustedProxies
    unidentified: Literal["refuse", "allow"]
    on_outage: Literal["local", "open", "closed"]
    on_refused: OnRefused | None
    workers: int
    local_keys: int
    deny_cache: float
    draft: Draft
    legacy_headers: bool | Literal["seconds", "epoch"]
    expose_headers: bool
    shadow: bool
    changeable: bool
    statistics: bool
    labels: bool


class MessageLimitOptions(RateLimitOptions, total=False):
    """The keyword options of `MessageLimit`, for type checkers; their meaning stands there."""

    unit: Literal["messages", "bytes"]
    on_breach: OnBreach


def checked_cost(units: int, most: int = MOST_UNITS, what: str = "cost") -> int:
    """Return a number of units; raises `ConfigurationError`, which says `what` they are."""
    if not is_units(units, most):
        raise ConfigurationError(f"{what}: {units!r} given; allowed are whole numbers from 0 to {most}")
    return units


def signature_with(*more: inspect.Parameter) -> inspect.Signature:
    """Return the signature of a limit, with all its options and their defaults, for `help` and editors."""
    kind = inspect.Parameter.KEYWORD_ONLY
    of_options = inspect.signature(Options).parameters.values()
    options = [one.replace(kind=kind, default={} if one.name == "rules" else one.default) for one in of_options]
    limits = inspect.Parameter("limits", inspect.Parameter.VAR_POSITIONAL, annotation="str | LimitsFor")
    return inspect.Signature([limits, *more, *options])
