"""Whose requests are counted together: the key of a limit, as a digest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..errors import ConfigurationError

logger = logging.getLogger("asgi_redis_guard.ratelimit")

#: One part of a key: `address`, `user`, `path`, `header:<name>`, or a function over the exchange that returns text,
#: bytes or None for "cannot be told".
KeyPart = str | Callable[[Exchange], str | bytes | None]

_NAMES = ("address", "user", "path")


class Identity:
    """Turns an exchange into the parts whose digest its requests are counted under, or None if there are none.

    `user` is the verified user, for nobody in particular the address: an anonymous flood never shares a bucket with a
    user, nor all of it a single one, nor one with a limit by `address` (two limits on one count would spoil it).
    """

    def __init__(self, key: KeyPart | Iterable[KeyPart], proxies: TrustedProxies) -> None:
        self.parts: tuple[KeyPart, ...] = (key,) if isinstance(key, str) or callable(key) else tuple(key)
        ConfigurationError.raise_for([_fault(part) for part in self.parts if not _known(part)] or _empty(self.parts))
        self.proxies = proxies
        self._warned = False
        self._readers = [self._reader(part) for part in self.parts]
        #: The commonest keys, without the general way's lists.
        self._single = self._readers[0] if self.parts in (("address",), ("user",)) else None

    @property
    def needs(self) -> frozenset[str]:
        """The facts that must be known first."""
        return frozenset(("user",)) if "user" in self.parts else frozenset()

    def of(self, exchange: Exchange, pattern: str | None) -> tuple[str | bytes, ...] | None:
        """Return the parts for `exchange`; `pattern` is the path pattern that it matched, if there are any."""
        if self._single is not None:
            known: tuple[str, ...] | None = self._single(exchange)
            return known
        found: list[str | bytes] = []
        for part, read in zip(self.parts, self._readers, strict=True):
            value = pattern or "*" if part == "path" else read(exchange)
            if value is None:
                return None
            found += value if isinstance(value, tuple) else ("value", value)
        return tuple(found)

    def _reader(self, part: KeyPart) -> Callable[[Exchange], Any]:
        if callable(part):
            return part
        if part == "address":
            return self._address
        if part == "user":
            return self._user
        name = part.removeprefix("header:").lower().encode("latin-1")
        return lambda exchange: exchange.header(name)

    def _address(self, exchange: Exchange) -> tuple[str, str] | None:
        address = exchange.client(self.proxies)
        return None if address is None else ("address", address)

    def _user(self, exchange: Exchange) -> tuple[str, ...] | None:
        user = exchange.fact("user")
        if user is None:
            self._warn()
        elif getattr(user, "is_authenticated", False) and (identity := _name(user)):
            issuer = getattr(user, "namespace", "")  # where tokens come from several issuers, so do the names
            return ("user", identity) if not issuer else ("user", issuer, identity)
        address = exchange.client(self.proxies)
        return None if address is None else ("nobody", address)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("a limit counts by user, but nothing outside of it has established one: it counts addresses")


def _name(user: Any) -> str:
    """The identity of a user as Starlette has it; its `SimpleUser` has a display name alone."""
    try:
        return str(user.identity)
    except NotImplementedError:
        return str(user.display_name)


def _known(part: object) -> bool:
    if not isinstance(part, str):
        return callable(part)
    return part in _NAMES or (part.startswith("header:") and len(part) > 7 and part.isascii())


def _fault(part: object) -> str:
    return (
        f"key (GUARD_LIMIT_KEY): {part!r} given; allowed are 'address', 'user', 'path', 'header:<name>' and functions"
    )


def _empty(parts: tuple[KeyPart, ...]) -> list[str]:
    return [] if parts else ["key (GUARD_LIMIT_KEY): empty; name at least one part"]
