"""Who is not counted, or not let in at all: lists of addresses, and scopes that were verified. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from ..core.client_ip import Addresses, TrustedProxies
from ..core.exchange import Exchange
from ..errors import ConfigurationError

#: Addresses and networks, or a function over the exchange that tells whether it is on the list.
Listed = Iterable[str] | Callable[[Exchange], bool]


class Door:
    """`allow` and `deny` are addresses and networks, or functions over the exchange; to be denied counts more.

    `bypass`: scopes of a verified user any of which frees from the limits.
    """

    def __init__(self, allow: Listed, deny: Listed, bypass: Iterable[str], proxies: TrustedProxies) -> None:
        faults: list[str] = []
        self._allow = _Listing("allow", allow, proxies, faults)
        self._deny = _Listing("deny", deny, proxies, faults)
        self.bypass = frozenset((bypass,) if isinstance(bypass, str) else bypass)
        ConfigurationError.raise_for(faults)

    @property
    def is_open(self) -> bool:
        """True where nobody is on a list."""
        return not (self._allow or self._deny or self.bypass)

    def word(self, exchange: Exchange) -> Literal["allowed", "denied", ""]:
        """Tell what is known of an exchange before it is counted."""
        if self._deny and self._deny.has(exchange):
            return "denied"
        if (self._allow and self._allow.has(exchange)) or (self.bypass and self._is_freed(exchange)):
            return "allowed"
        return ""

    def _is_freed(self, exchange: Exchange) -> bool:
        user, auth = exchange.fact("user"), exchange.fact("auth")
        verified = getattr(user, "is_authenticated", False) is True
        return verified and not self.bypass.isdisjoint(getattr(auth, "scopes", ()))


class _Listing:
    def __init__(self, option: str, listed: Listed, proxies: TrustedProxies, faults: list[str]) -> None:
        self._proxies = proxies
        self._function = listed if callable(listed) else None
        self._addresses = Addresses()
        if not callable(listed):
            try:
                self._addresses = Addresses((listed,) if isinstance(listed, str) else listed)
            except ValueError as error:
                faults.append(
                    f"{option}: {error.args[0]!r} given; allowed are addresses and networks such as 10.0.0.0/8"
                )

    def __bool__(self) -> bool:
        return self._function is not None or bool(self._addresses)

    def has(self, exchange: Exchange) -> bool:
        if self._function is not None:
            return bool(self._function(exchange))
        address = self._proxies.address(exchange.scope)
        return address is not None and address in self._addresses
