"""The keyword options of `RouteLock`: their defaults, and what is allowed. Pure.

`RouteLockOptions` is the same list for type checkers; a test holds the two together.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from ..core.checks import bytes_faults, choice_faults, method_faults, name_faults, seconds_faults, several
from ..core.client_ip import TrustedProxies
from ..core.guard import OnRefused, refusal_faults
from ..core.keywords import options_of
from ..errors import ConfigurationError
from .lock_options import LONGEST, MOST_PERMITS, SHORTEST, is_permits

#: The statuses that a lock may refuse with.
BusyStatus = Literal[409, 423, 429, 503]

_STATUSES = (409, 423, 429, 503)

#: Seconds that a request may be kept waiting.
_LONGEST_WAIT = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `RouteLock` takes beside its keys. Times are in seconds. Raises `ConfigurationError` with all faults."""

    ttl: float = 30.0
    wait: float = 0.0
    on_busy: BusyStatus = 409
    permits: int | None = None
    methods: Iterable[str] = ()
    paths: Iterable[str] = ()
    exempt: Iterable[str] = ()
    exempt_preflight: bool = True
    trusted_proxies: Iterable[str] | TrustedProxies = ()
    unidentified: Literal["refuse", "allow"] = "refuse"
    on_outage: Literal["closed", "open"] = "closed"
    max_body: int = 1 << 20
    name: str | None = None
    on_refused: OnRefused | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", several(self.methods))
        ConfigurationError.raise_for([*self._numbers(), *self._choices(), *refusal_faults(self.on_refused)])

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Options:
        """Return the options that were given by keyword; raises TypeError for one that there is not."""
        return options_of(cls, given, "a lock")

    def _numbers(self) -> list[str]:
        faults = seconds_faults("ttl", self.ttl, SHORTEST, LONGEST)
        faults += seconds_faults("wait", self.wait, 0, _LONGEST_WAIT)
        if self.permits is not None and not is_permits(self.permits):
            faults.append(f"permits: {self.permits!r} given; allowed are 1 to {MOST_PERMITS}, and None for one holder")
        return faults + bytes_faults("max_body", self.max_body, 1)

    def _choices(self) -> list[str]:
        faults = choice_faults("on_busy", self.on_busy, _STATUSES)
        faults += choice_faults("unidentified", self.unidentified, ("refuse", "allow"))
        faults += choice_faults("on_outage", self.on_outage, ("closed", "open"))
        return faults + method_faults(self.methods) + name_faults("name", self.name)


class RouteLockOptions(TypedDict, total=False):
    """The keyword options of `RouteLock`, for type checkers; their meaning stands there."""

    ttl: float
    wait: float
    on_busy: BusyStatus
    permits: int | None
    methods: Iterable[str]
    paths: Iterable[str]
    exempt: Iterable[str]
    exempt_preflight: bool
    trusted_proxies: Iterable[str] | TrustedProxies
    unidentified: Literal["refuse", "allow"]
    on_outage: Literal["closed", "open"]
    max_body: int
    name: str | None
    on_refused: OnRefused | None


def signature() -> inspect.Signature:
    """Return the signature of `RouteLock`, with all its options and their defaults, for `help` and editors."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    key = inspect.Parameter("key", kind, annotation="str | Iterable[str]")
    return inspect.Signature([key, *inspect.signature(Options).parameters.values()])
