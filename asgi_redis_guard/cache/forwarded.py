"""A response that the cache had no part in says so. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.exchange import Exchange
from ..core.responder import Control, Head, Outcome, Responder
from .declaring import is_made_by
from .policy import CachePolicy
from .status import Reason
from .telling import Telling

if TYPE_CHECKING:
    from .guard import ResponseCache
    from .variants import Variants


class Forwarded(Responder):
    """Says in `Cache-Status` why the request went to the app."""

    __slots__ = ("_detail", "_reason", "_telling")

    def __init__(self, telling: Telling, reason: Reason, detail: str | None) -> None:
        self._telling = telling
        self._reason = reason
        self._detail = detail

    def start(self, head: Head) -> None:
        """Add the field."""
        self._telling.forwarded(head.headers, self._reason, detail=self._detail)


class Learning(Forwarded):
    """Remembers what the route declares as well, for only that says what the requests after this one go by."""

    __slots__ = ("__weakref__", "_exchange", "_names", "_policy", "_route", "_tags", "_variants", "over")

    def __init__(self, cache: ResponseCache, exchange: Exchange, names: bytes, route: bytes) -> None:
        super().__init__(cache.telling, "bypass", "key")
        self._variants = cache.variants
        self._exchange = exchange
        self._names = names
        self._route = route
        self._policy: CachePolicy | None = None
        self._tags: tuple[str, ...] = ()
        self.over = False

    def bind(self, control: Control) -> None:
        """Be found by the route's declaration."""
        is_made_by(self)

    def declare(self, policy: CachePolicy, tags: tuple[str, ...]) -> None:
        """Take what is declared; nothing is kept this time."""
        self._policy = policy if self._policy is None else self._policy.joined(policy)
        self._tags = (*self._tags, *tags)
        self._variants.declared(self._route, self._names, self._tags, self._policy)

    def invalidate(self, tags: tuple[str, ...]) -> None:
        """A request that only reads invalidates nothing."""

    def end(self, outcome: Outcome) -> None:
        """Take no more declarations."""
        self.over = True


class Waking:
    """Stands for a response that nobody looks at, on a route that declared nothing when it was last seen."""

    __slots__ = ("_route", "_variants")

    over = False

    def __init__(self, variants: Variants, route: bytes) -> None:
        self._variants = variants
        self._route = route

    def declare(self, policy: CachePolicy, tags: tuple[str, ...]) -> None:
        """Have the next request looked at: what was seen last came from somewhere else."""
        if "GET" in policy.methods:
            self._variants.declared(self._route, self._variants.learned(self._route).names, tags, policy)

    def invalidate(self, tags: tuple[str, ...]) -> None:
        """A request that only reads invalidates nothing."""
