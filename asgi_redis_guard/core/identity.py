"""Whose requests belong together: the words for what a request goes by, and the parts of a key that they make of one.

Law: what a client may choose at will never passes for what was verified; each part carries its name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import ConfigurationError
from .client_ip import TrustedProxies
from .cookies import cookie_values
from .exchange import Exchange
from .warnings import Warnings

logger = logging.getLogger("asgi_redis_guard.core")

#: One part of a key: `address`, `user`, `path` (the pattern of the rule), `method`, `header:<name>`, `cookie:<name>`,
#: `query:<name>`, `claim:<name>` of a verified token, several of these with `|` between them for the first that can be
#: told, or a function over the exchange that returns text, bytes or None for "cannot be told". A header, cookie or
#: parameter that is given with different values counts by the address.
KeyPart = str | Callable[[Exchange], str | bytes | None]

#: Requests that are looked at for signs of a proxy.
_LOOKS = 100

_warnings = Warnings(logger)

_NAMES = ("address", "user", "path", "method")
_NAMED = ("header", "cookie", "query", "claim")

#: Those of RFC 9110 and 5789; what else clients make up is one more.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))


class Identity:
    """Turns an exchange into the parts whose digest its requests go by, or None if there are none.

    `user` is the verified user, for nobody in particular the address: an anonymous flood never shares a bucket with a
    user, nor all of it a single one, nor one with a limit by `address` (two limits on one count would spoil it).
    `variable` is that of the environment, for faults. Raises `ConfigurationError`.
    """

    def __init__(
        self, key: KeyPart | Iterable[KeyPart], proxies: TrustedProxies, variable: str = "GUARD_LIMIT_KEY"
    ) -> None:
        several = isinstance(key, Iterable) and not isinstance(key, str)
        self.parts: tuple[KeyPart, ...] = tuple(key) if several else (key,)  # type: ignore[arg-type, assignment]
        faults = [_fault(part) for part in self.parts if not _known(part)] or _empty(self.parts)
        ConfigurationError.raise_for([f"key ({variable}): {fault}" for fault in faults])
        self.proxies = proxies
        by_address = any(isinstance(part, str) and "address" in part.split("|") for part in self.parts)
        self._looks = 0 if proxies or not by_address else _LOOKS
        if proxies.are_everybody:
            _warnings.tell(
                "everybody-trusted",
                "trusted_proxies names every address: any client may choose the one that its requests go by",
            )
        self._readers = [self._reader(part) for part in self.parts]
        #: The commonest keys, without the general way's lists.
        self._single = self._readers[0] if self.parts in (("address",), ("user",)) else None
        self.single: Callable[[Exchange], tuple[str | bytes, ...] | None] = self._single or (
            lambda exchange: self.of(exchange, None)
        )

    @property
    def needs(self) -> frozenset[str]:
        """The facts that must be known first."""
        words = {word.partition(":")[0] for part in self.parts if isinstance(part, str) for word in part.split("|")}
        return frozenset(("user",)) if words & {"user", "claim"} else frozenset()

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
            if not isinstance(value, str | bytes | tuple):
                raise TypeError(f"key: {part!r} returned {value!r}; allowed are str, bytes, and None for nobody")
            found += value if isinstance(value, tuple) else (part.lower() if isinstance(part, str) else "value", value)
        return tuple(found)

    def named(self, values: Sequence[str | bytes]) -> tuple[str | bytes, ...]:
        """Return the parts of somebody given by the values alone, one for each part; raises ValueError.

        Where a part has alternatives, and for `"nobody"` with an address instead of a user, they are taken as they are.
        """
        if any(isinstance(part, str) and "|" in part for part in self.parts) or (
            self.parts == ("user",) and values[:1] == ("nobody",)
        ):
            return tuple(values)
        if len(values) != len(self.parts):
            raise ValueError(f"key: {len(values)} values given; allowed is one for each of {list(self.parts)}")
        found: list[str | bytes] = []
        for part, value in zip(self.parts, values, strict=True):
            if part == "address":
                value = self.proxies.canonical(value if isinstance(value, str) else value.decode("latin-1"))
            found += (part.lower() if isinstance(part, str) else "value", value)
        return tuple(found)

    def _reader(self, part: KeyPart) -> Callable[[Exchange], Any]:
        if callable(part):
            return part
        if part == "address":
            return self._address
        if part == "user":
            return self._user
        if part == "path":
            return lambda exchange: None  # the pattern, which whoever asks knows
        if part == "method":
            return _method
        if "|" in part:
            return _first([(word, self._reader(word)) for word in part.split("|")])
        kind, _, name = part.partition(":")
        raw = name.encode("latin-1")
        field = raw.lower()
        readers: dict[str, Callable[[Exchange], Any]] = {
            "header": lambda exchange: self._one_of(exchange, exchange.headers(field)),
            "cookie": lambda exchange: self._one_of(exchange, cookie_values(exchange, raw)),
            "query": lambda exchange: self._one_of(exchange, exchange.query(name)),
            "claim": lambda exchange: _claim(exchange, name),
        }
        return readers[kind]

    def _address(self, exchange: Exchange) -> tuple[str, str] | None:
        if self._looks:
            self._look(exchange)
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

    def _one_of(self, exchange: Exchange, values: Sequence[str | bytes]) -> str | bytes | tuple[str, str] | None:
        """A value; the address where there are different ones: the app may go by another than would be counted."""
        if not values:
            return None
        if len(values) == 1 or values.count(values[0]) == len(values):
            return values[0]
        address = exchange.client(self.proxies)
        return None if address is None else ("ambiguous", address)

    def _look(self, exchange: Exchange) -> None:
        """Tell whether the app stands behind a proxy that it does not know of; the first requests show it."""
        self._looks -= 1
        told = b", ".join([*exchange.headers(b"x-forwarded-for"), *exchange.headers(b"forwarded")])
        peer = exchange.client(self.proxies)
        # A server that knows of the proxy has put what the proxy says in the peer's place.
        if told and (peer is None or peer.partition("/")[0].rstrip(":").encode() not in told.lower()):
            self._looks = 0
            _warnings.tell(
                "untrusted-proxy",
                "a request came through a proxy, and trusted_proxies names none: what goes by the address takes all "
                "clients behind it for one",
            )

    def _warn(self) -> None:
        _warnings.tell(
            "nobody-known",
            "a guard goes by the user, but nothing outside of it has established one: it goes by addresses",
        )


def _method(exchange: Exchange) -> str:
    """The method; some routers do not mind the case, and take any that they do not know."""
    method = exchange.method.upper()
    return method if method in _METHODS else "other"


def _name(user: Any) -> str:
    """The identity of a user as Starlette has it; its `SimpleUser` has a display name alone."""
    try:
        return str(user.identity)
    except NotImplementedError:
        return str(user.display_name)


def _claim(exchange: Exchange, name: str) -> str | None:
    """A claim of the verified token, where that is text or a number."""
    claims = getattr(exchange.fact("user"), "claims", None)
    value = claims.get(name) if isinstance(claims, dict) else None
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _first(readers: Sequence[tuple[str, Callable[[Exchange], Any]]]) -> Callable[[Exchange], Any]:
    """Read the first that can be told, with its name: what is one client's header must not be another's address."""

    def read(exchange: Exchange) -> tuple[str | bytes, ...] | None:
        for word, reader in readers:
            value = reader(exchange)
            if value is not None:
                return value if isinstance(value, tuple) else (word, value)  # addresses and users bring their own
        return None

    return read


def is_key_word(word: str) -> bool:
    """Tell whether `word` is a part of a key by itself, without alternatives."""
    kind, _, name = word.partition(":")
    return word in _NAMES or (kind in _NAMED and bool(name) and name.isascii())


def _known(part: object) -> bool:
    if not isinstance(part, str):
        return callable(part)
    words = part.split("|")
    return all(map(is_key_word, words)) and ("path" not in words or len(words) == 1)


def _fault(part: object) -> str:
    named = ", ".join(f"'{kind}:<name>'" for kind in _NAMED)
    return (
        f"{part!r} given; allowed are 'address', 'user', 'path', 'method', {named}, "
        "those with '|' between them, and functions"
    )


def _empty(parts: tuple[KeyPart, ...]) -> list[str]:
    return [] if parts else ["empty; name at least one part"]
