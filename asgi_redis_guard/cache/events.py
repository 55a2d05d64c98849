"""What the cache did, as frozen values for the app's hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..observability.events import emit

#: `hit`, `stale` (sent although it was no longer fresh), `miss` (the app was asked), `joined` (another request's fill
#: was waited for), `stored`, `refused` (the response may not be kept), `bypass` (the cache had no part in it),
#: `invalidated`.
CacheOutcome = Literal["hit", "stale", "miss", "joined", "stored", "refused", "bypass", "invalidated"]


@dataclass(frozen=True, slots=True)
class CacheEvent:
    """One thing that the cache `cache` did about a request.

    `reason` is a short word for why: of a miss that of `Cache-Status` (`uri-miss`, `stale` …), of a refusal what
    forbids it (`no_store`, `personal` …). `size` is the bytes of the body, `seconds` how long a fill took; 0 where they
    do not apply. No secret is in here.
    """

    cache: str
    outcome: CacheOutcome
    method: str
    path: str
    reason: str = ""
    status: int | None = None
    size: int = 0
    seconds: float = 0.0


#: Gets each event of a cache, in the event loop; it must not block.
CacheHook = Callable[[CacheEvent], None]


#: `hit`, `stale` (used although it was no longer fresh), `miss`, `joined` (another's fill was waited for), `stored`,
#: `refused` (not kept: invalidated meanwhile, or too large), `bypass` (Redis is away), `invalidated`.
ValueOutcome = Literal["hit", "stale", "miss", "joined", "stored", "refused", "bypass", "invalidated"]


@dataclass(frozen=True, slots=True)
class ValueEvent:
    """One thing that a `Cache` did about a value: `key` in `namespace`, or a function's name.

    `reason` is a short word for why, `size` the bytes of the value, `seconds` how long it took to make; 0 where they
    do not apply. A key is as secret as the app makes it.
    """

    namespace: str
    key: str
    outcome: ValueOutcome
    reason: str = ""
    size: int = 0
    seconds: float = 0.0


#: Gets each event of a `Cache`, in the event loop; it must not block.
ValueHook = Callable[[ValueEvent], None]


def value_event(
    hooks: Sequence[ValueHook],
    namespace: str,
    key: str,
    outcome: ValueOutcome,
    reason: str = "",
    size: int = 0,
    seconds: float = 0.0,
) -> None:
    """Give an event about a value to the hooks."""
    if hooks:
        emit(hooks, ValueEvent(namespace, key, outcome, reason, size, seconds))
