"""How a route tells the cache around it what to keep: `@cached` finds the running response here.

The responder of a request that the cache has a part in is found by a context variable while the app runs. The variable
stays as it is when the response is through, in every task that the app has begun meanwhile: so it only knows where the
responder is, and holds nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol
from weakref import ref

from .policy import CachePolicy


class Declared(Protocol):
    """Takes what a route declares on its response."""

    @property
    def over(self) -> bool:
        """True once nothing can be declared any more."""

    def declare(self, policy: CachePolicy, tags: tuple[str, ...]) -> None:
        """Say what is to be kept of the response; `tags` are those of the policy with their values, `{user}` left."""

    def invalidate(self, tags: tuple[str, ...]) -> None:
        """Say what a successful response makes invalid."""


class _Caches:
    """Whether this process has a cache at all."""

    any = False


_CACHES = _Caches()


def there_is_a_cache() -> None:
    """Note that there is one: where it has no part in a request, declarations go nowhere, as they should."""
    _CACHES.any = True


def is_without_cache() -> bool:
    """Tell whether nothing could ever be kept."""
    return not _CACHES.any


_MAKING: ContextVar[Callable[[], Declared | None] | None] = ContextVar("asgi_redis_guard_making", default=None)


def is_made_by(response: Declared | None, *, lasting: bool = False) -> None:
    """Let declarations in this context go to `response` from now on, as long as somebody else holds it; None: nowhere.

    `lasting`: it is held here.
    """
    if response is None:
        _MAKING.set(None)
    else:
        _MAKING.set((lambda: response) if lasting else ref(response))


def making() -> Declared | None:
    """Return the response in the making, None where no cache has a part in it."""
    found = _MAKING.get()
    response = None if found is None else found()
    return None if response is None or response.over else response
