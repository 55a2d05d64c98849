"""The URL of a primary that sentinels know: their part of it, and the rest as an ordinary URL. Pure.

`redis+sentinel://user:password@s1:26379,s2:26379/service/0?sentinel_password=…`: the login before the hosts is that of
the servers; the sentinels' own is in the query. TLS of the sentinels is that of the servers unless `sentinel_ssl` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode

from .slots import Place

PORT = 26379

_URL = re.compile(
    r"(rediss?)\+sentinel://(?:([^@/?#]*)@)?([^@/?#]+)/([^@/?#]+)(?:/(\d*))?(?:\?([^#]*))?", re.IGNORECASE
)
_HOST = re.compile(r"(?:\[([\da-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?", re.IGNORECASE)
_OWN = ("sentinel_username", "sentinel_password", "sentinel_ssl")
_TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who knows where the primary of `service` is. `login` has redis-py's names (username, password), or nothing."""

    service: str
    hosts: tuple[Place, ...]
    tls: bool
    login: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return f"{','.join(map(str, self.hosts))}/{self.service}"


def split_sentinels(url: str) -> tuple[Sentinels, str]:
    """Return the sentinels, and the URL of their servers with any host: of TLS if either speaks it. Or `ValueError`."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("not the form of such a URL")
    scheme, login, hosts, service, db, query = match.groups()
    options = parse_qsl(query or "", keep_blank_values=True, strict_parsing=bool(query))
    own = {name: value for name, value in options if name in _OWN}
    tls = scheme.lower() == "rediss"
    if "sentinel_ssl" in own:
        if own["sentinel_ssl"].lower() not in _TRUTH:
            raise ValueError("sentinel_ssl is yes or no")
        tls = _TRUTH[own["sentinel_ssl"].lower()]
    sentinels = Sentinels(unquote(service), tuple(map(_host, hosts.split(","))), tls, _login(own))
    rest = urlencode([(name, value) for name, value in options if name not in _OWN])
    plain = f"{'rediss' if tls else scheme}://{'' if login is None else login + '@'}localhost/{db or ''}"
    return sentinels, f"{plain}?{rest}" if rest else plain


def _host(text: str) -> Place:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match[3] or PORT) < 65536:
        raise ValueError("not a host")
    return Place(match[1] or match[2], int(match[3] or PORT))


def _login(own: Mapping[str, str]) -> dict[str, str]:
    if own.get("sentinel_username") and not own.get("sentinel_password"):
        raise ValueError("a user name without a password")
    names = ("username", "password")
    return {name: own[f"sentinel_{name}"] for name in names if own.get(f"sentinel_{name}")}
