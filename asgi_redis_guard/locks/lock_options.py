"""What a `Lock` may be told, in this package's words or in redis-py's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import urandom
from typing import Final, Literal, TypedDict, TypeGuard

from ..core.checks import replicas_faults
from ..errors import ConfigurationError
from .claims import Name

#: Seconds that a lock is held unless it is renewed, if nothing is said.
TTL = 30.0

#: Seconds: a shorter lease would be lost to a pause of the garbage collector; a longer one is nobody's lock.
SHORTEST, LONGEST = 0.1, 7 * 86_400

_MOST_NAMES = 32
#: Holders of one semaphore.
MOST_PERMITS = 10_000


class LockOptions(TypedDict, total=False):
    """The options of `Lock` beside its ttl and wait, for type checkers; their meaning stands there."""

    renew: bool
    on_lost: Literal["cancel", "tell"]
    wait_replicas: int


class Unset:
    """Stands for an option that was not given, where None means something."""

    def __repr__(self) -> str:
        return "not given"


UNSET: Final = Unset()


def names_of(name: Name | Sequence[Name]) -> tuple[Name, ...]:
    """Return the names of what is to be locked; raises `ConfigurationError`."""
    names = tuple(name) if isinstance(name, list) else (name,)
    if not 1 <= len(names) <= _MOST_NAMES or not all(_is_name(one) for one in names):
        raise ConfigurationError(
            f"name: {name!r} given; allowed are str, bytes, tuples of these, and a list of up to {_MOST_NAMES} of them"
        )
    return names


def seconds(option: str, value: object, *, least: float = SHORTEST, most: float = LONGEST) -> float:
    """Return a number of seconds; raises `ConfigurationError`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigurationError(f"{option}: {value!r} given; allowed are {least:g} to {most:g} seconds")
    return float(value)


def ttl_of(ttl: float | None, timeout: float | None) -> float:
    """Return how long it is held; raises `ConfigurationError`."""
    if ttl is not None and timeout is not None:
        raise ConfigurationError("ttl: given together with timeout; allowed is one or the other, they mean the same")
    given = timeout if ttl is None else ttl
    return TTL if given is None else seconds("ttl" if timeout is None else "timeout", given)


def wait_of(wait: float | Unset | None, blocking: bool, blocking_timeout: float | None) -> float | None:
    """Return how long its taking may last: None without end, 0 for one try; raises `ConfigurationError`."""
    if not isinstance(wait, Unset):
        if not blocking or blocking_timeout is not None:
            raise ConfigurationError(
                "wait: given together with blocking or blocking_timeout; allowed is one or the other"
            )
        return None if wait is None else seconds("wait", wait, least=0, most=math.inf)
    if not blocking:
        if blocking_timeout is not None:
            raise ConfigurationError("blocking_timeout: given together with blocking=False; allowed is one of them")
        return 0.0
    return None if blocking_timeout is None else seconds("blocking_timeout", blocking_timeout, least=0, most=math.inf)


def permits_of(permits: object) -> int:
    """Return how many may hold a semaphore at once; raises `ConfigurationError`."""
    if not is_permits(permits):
        raise ConfigurationError(f"permits: {permits!r} given; allowed are whole numbers from 1 to {MOST_PERMITS}")
    return permits


def is_permits(value: object) -> TypeGuard[int]:
    """Tell whether it is a number of holders."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_PERMITS


def lost_of(on_lost: object) -> bool:
    """Return whether the body is cancelled when the lock is lost; raises `ConfigurationError`."""
    if on_lost not in ("cancel", "tell"):
        raise ConfigurationError(f"on_lost: {on_lost!r} given; allowed are 'cancel' and 'tell'")
    return on_lost == "cancel"


def replicas_of(replicas: int) -> int:
    """Return how many replicas must have it; raises `ConfigurationError`."""
    ConfigurationError.raise_for(replicas_faults("wait_replicas", replicas))
    return replicas


def token_of(own: str | bytes | None) -> str:
    """Return what a holder is known by, made up unless it is given; raises `ConfigurationError`."""
    if own is None:
        return urandom(12).hex()
    if not own:
        raise ConfigurationError("token: an empty one given; allowed is any that nobody else uses")
    return own if isinstance(own, str) else own.decode("latin-1")


def _is_name(name: object) -> bool:
    parts = name if isinstance(name, tuple) else (name,)
    return bool(parts) and all(isinstance(part, str | bytes) for part in parts)
