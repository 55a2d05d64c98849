"""What a request tells of the device it comes from, as signals that stay the same while the device does. Pure.

None of them is a secret and none is sure: whoever steals a cookie can send the same headers. A change is a reason to
look, not a proof. Nothing of them is kept but short hashes.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network
from typing import Literal

from ..core.client_ip import TrustedProxies, parse
from ..core.exchange import Exchange
from ..core.keys import digest

Signal = Literal["browser", "platform", "language", "network"]

#: In the order of a fingerprint.
SIGNALS: tuple[Signal, ...] = ("browser", "platform", "language", "network")

#: Characters of a fingerprint for each signal: 24 bits, enough to tell a change, too few to look up what it was.
WIDTH = 4

#: The header fields that are looked at, and how many bytes of each.
_FIELDS = (b"user-agent", b"sec-ch-ua-platform", b"accept-language")
_LONGEST = 512

#: Families by a word of the user agent. Those that pretend to be another come before the other.
_BROWSERS = (
    ("Edg", "edge"),
    ("OPR/", "opera"),
    ("SamsungBrowser/", "samsung"),
    ("FxiOS/", "firefox"),
    ("Firefox/", "firefox"),
    ("CriOS/", "chrome"),
    ("Chrome/", "chrome"),
    ("Chromium/", "chrome"),
    ("Safari/", "safari"),
)

#: Platforms, by the names that `Sec-CH-UA-Platform` has for them (User-Agent Client Hints §3.7), lower case.
_PLATFORMS = (
    ("Windows", "windows"),
    ("Android", "android"),
    ("iPhone", "ios"),
    ("iPad", "ios"),
    ("CrOS", "chrome os"),
    ("Macintosh", "macos"),
    ("Linux", "linux"),
)


def fingerprint(exchange: Exchange, proxies: TrustedProxies, key: bytes = b"") -> str:
    """Return 16 characters: 4 for each of `SIGNALS`, by which they can be compared and not read."""
    said = {name: value for name, value in exchange.scope["headers"] if name in _FIELDS}
    agent, hint, languages = (said.get(name, b"")[:_LONGEST] for name in _FIELDS)
    return _hashed(key, agent, hint, languages, exchange.client(proxies) or "")


@lru_cache(maxsize=1024)
def _hashed(key: bytes, agent: bytes, hint: bytes, languages: bytes, client: str) -> str:
    """Remembered: a device sends the same with every request, and parsing and hashing take longer than looking."""
    name = agent.decode("latin-1")
    platform = hint.decode("latin-1").strip('" ').lower() or _word(name, _PLATFORMS)
    values = (_browser(name), platform, _language(languages.decode("latin-1")), _network(client))
    return "".join(digest(key, *pair)[:WIDTH].decode() for pair in zip(SIGNALS, values, strict=True))


def difference(one: str, other: str) -> tuple[Signal, ...]:
    """Return the signals in which two fingerprints differ."""
    if one == other:
        return ()
    return tuple(
        signal
        for at, signal in zip(range(0, len(SIGNALS) * WIDTH, WIDTH), SIGNALS, strict=True)
        if one[at : at + WIDTH] != other[at : at + WIDTH]
    )


def _browser(agent: str) -> str:
    """The family of a browser, so that an update is no change; of what is none, the product's name."""
    return _word(agent, _BROWSERS) or agent.partition("/")[0][:32]


def _word(agent: str, words: tuple[tuple[str, str], ...]) -> str:
    return next((name for word, name in words if word in agent), "")


def _language(languages: str) -> str:
    """The language that is liked best; the rest of the list comes and goes."""
    return languages.partition(",")[0].partition(";")[0].strip().lower()


def _network(client: str) -> str:
    """The /24 of an IPv4 address, the /48 of an IPv6 one (which may be given as a network): where a client lives."""
    address = parse(client.partition("/")[0])
    if address is None:
        return ""
    return str(ip_network((address.packed, 24 if address.version == 4 else 48), strict=False))
