"""What a request wants of the cache. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ..core.asgi import Headers
from ..core.exchange import Exchange
from .conditional import CONDITIONAL_FIELDS, is_preconditioned
from .directives import NOTHING, CacheControl, parse_cache_control, request_control
from .fields import lines


class Wish(NamedTuple):
    """One request as the cache sees it.

    `bypass`: a word for why the cache has no part in it, else empty. `control`: what the client asks for, as far as
    clients are heard. `conditional`: it carries conditions or ranges, which the cache answers or takes off.
    """

    bypass: str = ""
    control: CacheControl = NOTHING
    conditional: bool = False
    ranged: bool = False

    @classmethod
    def of(cls, exchange: Exchange, hears_clients: bool) -> Wish:
        """Read a GET or HEAD request."""
        headers = exchange.scope["headers"]
        conditional = ranged = controlled = False
        for name, value in headers:
            if name in CONDITIONAL_FIELDS:
                conditional = True
                ranged = ranged or name == b"range"
            elif name == b"cache-control" or name == b"pragma":
                controlled = True
            elif name == b"upgrade":
                return cls("upgrade")
            elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                return cls("body")  # RFC 9110 §9.3.1 gives it no meaning, but apps do; what is asked for is in there
        if is_preconditioned(headers):
            return cls("precondition")
        control = request_control(headers) if controlled and hears_clients else NOTHING
        return cls("", control, conditional, ranged)

    @property
    def reloads(self) -> bool:
        """True where nothing stored may be used without asking the app (RFC 9111 §5.2.1.4)."""
        return self.control.no_cache or self.control.max_age == 0

    def reloads_needlessly(self, headers: Headers) -> bool:
        """Tell whether a client only makes sure of a response that says it never changes while fresh (RFC 8246).

        So do browsers with `max-age=0`; `no-cache` is what they say where their user has insisted.
        """
        if self.control.max_age != 0 or self.control.no_cache:
            return False
        return parse_cache_control(lines(headers, b"cache-control")).immutable

    @property
    def is_plain(self) -> bool:
        """True where the client asks for nothing in particular: any fresh response will do."""
        return self.control is NOTHING

    def accepts(self, age: float, left: float, may_be_stale: bool) -> bool:
        """Tell whether a client takes a response of that age that stays fresh for `left` seconds (RFC 9111 §5.2.1)."""
        control = self.control
        if control is NOTHING:
            return left > 0
        if control.max_age is not None and age > control.max_age:
            return False
        if control.min_fresh is not None and left < control.min_fresh:
            return False
        if left > 0:
            return True
        return may_be_stale and control.max_stale is not None and -left <= control.max_stale
