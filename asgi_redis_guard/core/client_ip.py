"""Who the client is: its address, believed only as far as trusted proxies vouch for it.

`X-Forwarded-For` is read from right to left; the first address that is no trusted proxy is the client. A header is
never looked at unless the peer itself is trusted, and one kind of header only, never a mixture.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from ..errors import ConfigurationError
from .asgi import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: How many addresses of a forwarding chain are looked at; longer chains are cut at the left.
_MOST_HOPS = 64

#: Characters of an address, with port and zone.
_LONGEST = 100

#: How servers name a peer on a unix socket, where they name it at all; one name for everybody is nobody's.
_UNIX = ("unix:", "/")


class Addresses:
    """A set of addresses and networks. Raises ValueError, whose argument is the text that is neither."""

    __slots__ = ("_networks",)

    def __init__(self, listed: Iterable[str] = ()) -> None:
        self._networks = tuple([_network(entry) for entry in listed])

    def __bool__(self) -> bool:
        return bool(self._networks)

    @property
    def has_all(self) -> bool:
        """True where all addresses of IPv4 or IPv6 are in it."""
        return any(network.prefixlen == 0 for network in self._networks)

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self._networks if network.version == address.version)


class TrustedProxies:
    """The proxies whose `X-Forwarded-For` is believed: addresses and networks, `"unix"` for peers on a unix socket.

    `ipv6_prefix` is how many bits of an IPv6 address count as one client (a household or host gets a /64).
    """

    @classmethod
    def of(cls, trusted: Iterable[str] | TrustedProxies) -> TrustedProxies:
        """Return what an option `trusted_proxies=` stands for. Raises `ConfigurationError`."""
        return trusted if isinstance(trusted, TrustedProxies) else cls(trusted)

    def __init__(self, trusted: Iterable[str] = (), *, ipv6_prefix: int = 64) -> None:
        if isinstance(trusted, str):
            trusted = [part.strip() for part in trusted.split(",") if part.strip()]
        if not 16 <= ipv6_prefix <= 128:
            raise ConfigurationError(f"ipv6_prefix: {ipv6_prefix} given; allowed are 16 to 128")
        networks: list[str] = []
        faults: list[str] = []
        self._unix = False
        for entry in trusted:
            if entry == "unix":
                self._unix = True
                continue
            try:
                _network(entry)
                networks.append(entry)
            except ValueError:
                faults.append(
                    f"trusted_proxies (GUARD_TRUSTED_PROXIES): {entry!r} given; "
                    "allowed are addresses, networks such as 10.0.0.0/8, and 'unix'"
                )
        ConfigurationError.raise_for(faults)
        self._trusted = Addresses(networks)
        self._prefix = ipv6_prefix
        self._direct = lru_cache(maxsize=4096)(self._of_text)

    def __bool__(self) -> bool:
        return self._unix or bool(self._trusted)

    @property
    def are_everybody(self) -> bool:
        """True where every address of a kind is trusted, so that whoever asks says who it is."""
        return self._trusted.has_all

    def client(self, scope: Scope) -> str | None:
        """Return the client's canonical address (an IPv6 network for IPv6), or None where nobody can tell."""
        if not self:
            return self._direct(_host(scope))
        found = self.address(scope)
        return self._canonical(found) if found is not None else self._direct(_host(scope))

    def address(self, scope: Scope) -> Address | None:
        """Return the client's address, whole; None where it is not known, or a name."""
        host = _host(scope)
        peer = parse(host) if host else None
        if not (self._unix and not host if peer is None else peer in self._trusted):
            return peer
        return self._forwarded(scope) or peer

    def canonical(self, host: str) -> str:
        """Return what `client` says of an address that is written so."""
        return self._direct(host) or host

    def _forwarded(self, scope: Scope) -> Address | None:
        """Return the right-most untrusted address, or the left-most if all are trusted; text that is none ends it."""
        fields = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        if not fields:
            return None
        found = None
        for hop in reversed(fields.decode("latin-1").split(",")[-_MOST_HOPS:]):
            address = parse(hop.strip())
            if address is None:
                return found
            found = address
            if address not in self._trusted:
                return found
        return found

    def _of_text(self, host: str) -> str | None:
        """An address in its canonical form; a name that the server made up (test clients do) as it is."""
        address = parse(host)
        return self._canonical(address) if address is not None else host or None

    def _canonical(self, address: Address) -> str:
        if address.version == 6 and self._prefix < 128:
            return str(ip_network((address.packed, self._prefix), strict=False))
        return str(address)


def _host(scope: Scope) -> str:
    """The peer as the server names it, empty for one on a unix socket."""
    client = scope.get("client")
    host: str = client[0] or "" if client else ""
    return "" if host.startswith(_UNIX) else host


def _network(text: str) -> Network:
    """Parse an address or a network; one of IPv4 mapped into IPv6 is unmapped, as addresses are."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(text) from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return IPv4Network((mapped, network.prefixlen - 96)) if mapped and network.prefixlen >= 96 else network


def parse(text: str) -> Address | None:
    """Parse `a.b.c.d`, `a.b.c.d:port`, `v6`, `[v6]:port`; IPv4 mapped into IPv6 is unmapped, zones are dropped."""
    return _parsed(text) if len(text) <= _LONGEST else None  # clients choose it, and it is remembered


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
