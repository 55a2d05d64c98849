"""A request that may change something: what it changes is invalidated before its response is sent. Pure.

So whoever has seen the response to a write never gets what was stored before it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ..core.asgi import Headers
from ..core.exchange import Exchange
from ..core.responder import Control, Head, Outcome, Responder
from ..core.script import Operation
from ..core.steps import Ask, Asking
from ..core.warnings import Warnings
from ..errors import GuardError
from .bare import warn_of_bare
from .credentials import identity_of
from .declaring import is_made_by
from .groups import groups_of
from .operations import invalidate_resource, invalidate_tags
from .policy import CachePolicy, name_of
from .variants import divided_tags

if TYPE_CHECKING:
    from .guard import ResponseCache

_warnings = Warnings(logging.getLogger("asgi_redis_guard.cache"))


#: The client is to send the same request elsewhere: nothing was changed there yet (RFC 9110 §15.4.8, §15.4.9). Routers
#: answer so to anybody, where a slash is missing or too many.
_SENT_ON = frozenset((307, 308))


class Invalidating(Responder):
    """Invalidates what a successful write concerns: its own URL (RFC 9111 §4.4), declared tags, groups (RFC 9875)."""

    def __init__(self, cache: ResponseCache, exchange: Exchange) -> None:
        self._cache = cache
        self._exchange = exchange
        self._tags: tuple[str, ...] = ()
        self._untold: list[Operation] = []
        self.over = False

    def bind(self, control: Control) -> None:
        """Be found by the route's declaration."""
        is_made_by(self)

    def declare(self, policy: CachePolicy, tags: tuple[str, ...]) -> None:
        """Nothing is kept of the answer to a write."""

    def invalidate(self, tags: tuple[str, ...]) -> None:
        """Take tags that the route invalidates."""
        self._tags += tags

    def start(self, head: Head) -> Asking | None:
        """Invalidate, where the write was not refused."""
        self._cache.telling.forwarded(head.headers, "method")
        if not 200 <= head.status < 400:
            return None
        if not self._tags:
            warn_of_bare(head.scope)
        operations = self._operations(head)
        self._untold = operations
        return self._invalidated(operations) if operations else None

    def _invalidated(self, operations: list[Operation]) -> Asking:
        try:
            replies = yield Ask(operations)
        except GuardError:
            self._untold = []
            self._cache.owe(operations)
        else:
            self._untold = []
            self._cache.level.told_of(operations, replies)
            self._cache.telling.event(self._exchange, "invalidated", size=len(operations))

    def _operations(self, head: Head) -> list[Operation]:
        cache, exchange, headers = self._cache, self._exchange, head.headers
        tags, fault = divided_tags(self._tags, identity_of(exchange.fact("user")))
        if fault:  # the other tags are invalidated all the same
            endpoint = (head.scope or {}).get("endpoint")
            where = repr(cache) if endpoint is None else name_of(endpoint)
            _warnings.tell("not-invalidated", f"{where}: {fault}")
        tags += groups_of(exchange.scope, headers, b"cache-group-invalidation")
        operations = invalidate_tags(exchange.keys, tags)
        if cache.options.invalidates_unsafe:
            named = [] if head.status in _SENT_ON else self._named(headers)
            found = [cache.requests.target(exchange.scope), *named]
            operations += [invalidate_resource(exchange.keys, one) for one in dict.fromkeys(found) if one is not None]
        return operations

    def _named(self, headers: Headers) -> list[bytes | None]:
        """Return the resources of its own origin that the response names (RFC 9111 §4.4)."""
        scope = self._exchange.scope
        host = self._exchange.header(b"host") or b""
        path = scope.get("raw_path") or scope["path"].encode()
        own = f"{scope.get('scheme', 'http')}://{host.decode('latin-1')}{path.decode('latin-1')}"
        found = []
        for name, value in headers:
            if name in _NAMING and (url := _same_origin(own, value.decode("latin-1"))) is not None:
                found.append(self._cache.requests.of_url(url, root_path=scope.get("root_path", "")))
        return found

    def end(self, outcome: Outcome) -> Asking | None:
        """Take no more declarations; invalidate what a cancellation has kept from being invalidated."""
        self.over = True
        return self._invalidated(self._untold) if self._untold else None


_NAMING = (b"location", b"content-location")


def _same_origin(own: str, named: str) -> str | None:
    """Return what `named` means from `own`, None where that is of another origin, or nothing."""
    try:
        url = urljoin(own, named)
        one, other = urlsplit(own), urlsplit(url)
    except ValueError:
        return None
    return url if (one.scheme, one.netloc.lower()) == (other.scheme, other.netloc.lower()) else None
