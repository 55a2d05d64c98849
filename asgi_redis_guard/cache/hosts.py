"""The host that a request is for, in one spelling, and whether it is one of the app's. Pure.

RFC 9110 §7.2, RFC 3986 §3.2.2 and §6.2: case, the scheme's own port and the spelling of an IPv6 address make no
difference. A dot at the end does: browsers take it for another site, and apps build links of it. What is no plain name,
address and port is malformed: caches are poisoned by links of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address

_PORTS = {"http": 80, "https": 443}

#: A name or an IPv4 address, or a bracketed IPv6 address without a zone; then perhaps a port.
_HOST = re.compile(
    r"(?: (?P<name> [a-z0-9_][a-z0-9_-]{0,62} (?:\.[a-z0-9_][a-z0-9_-]{0,62})* ) (?P<dot> \.?)"
    r"  | \[ (?P<address> [0-9a-f:.]{2,45}) \] ) (?: : (?P<port> [0-9]{0,5}) )?",
    re.VERBOSE,
)
_LONGEST_NAME = 253

#: A longer Host field is malformed. To be looked at before it is asked for: what was asked for is remembered.
LONGEST_HOST = _LONGEST_NAME + len(".:65535")


class Hosts:
    """Normalises Host fields and tells whether they are allowed; without `allowed`, every well-formed one is.

    `example.com` allows that host on any port, `example.com:8000` on this one alone, `*.example.com` every name below
    it and not itself. Ports count after all: each has keys of its own. A bounded number of results is remembered.
    """

    __slots__ = ("_exact", "_suffixes", "_with_ports", "normal")

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        parsed = [parse_pattern(pattern) for pattern in ((allowed,) if isinstance(allowed, str) else allowed)]
        known = [one for one in parsed if one is not None]
        self._exact = {host for host, wild, port in known if not wild and port is None}
        self._with_ports = {(host, port) for host, wild, port in known if not wild and port is not None}
        self._suffixes = [("." + host, port) for host, wild, port in known if wild]
        #: From scheme and Host field to `host:port`, always with a port; None for what is malformed or not allowed.
        self.normal = lru_cache(maxsize=1024)(self._normal)

    def __bool__(self) -> bool:
        return bool(self._exact or self._with_ports or self._suffixes)

    def _normal(self, scheme: str, field: bytes) -> bytes | None:
        if (parsed := parse(field.decode("latin-1"))) is None:
            return None
        host, given = parsed
        port = given or _PORTS.get(scheme, 0)
        return b"%b:%d" % (host.encode(), port) if not self or self._allows(host, port) else None

    def _allows(self, host: str, port: int) -> bool:
        host = host.removesuffix(".")
        if host in self._exact or (host, port) in self._with_ports:
            return True
        return any(host.endswith(suffix) and only in (None, port) for suffix, only in self._suffixes)


def parse(text: str) -> tuple[str, int | None] | None:
    """Return the host in its one spelling and the port that is given, None for what is malformed."""
    match = _HOST.fullmatch(text.lower())
    if match is None or not text.isascii():
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        return None
    if match["name"] is not None:
        return (match["name"] + match["dot"], port) if len(match["name"]) <= _LONGEST_NAME else None
    try:
        return f"[{IPv6Address(match['address']).compressed}]", port
    except ValueError:
        return None


def parse_pattern(pattern: object) -> tuple[str, bool, int | None] | None:
    """Return an allowed host, whether all below it are meant, and its port; None for what is malformed."""
    if not isinstance(pattern, str):
        return None
    wild = pattern.startswith("*.")
    parsed = parse(pattern[2:] if wild else pattern)
    if parsed is None or (wild and parsed[0].startswith("[")):
        return None
    return parsed[0].removesuffix("."), wild, parsed[1]
