"""Where Redis is and how to greet it: one URL, parsed once. Passwords appear in no repr and no message."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.exceptions import RedisError

from ..errors import ConfigurationError
from .sentinel_url import Sentinels, split_sentinels

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix", "memory", "embedded")

_SCHEME = re.compile(r"([a-z+]+)://", re.IGNORECASE)
_HOST = r"(?:[\w.-]+|\[[\da-f:.]+\])?(?::\d{1,5})?"

#: URLs whose parts can be told apart for sure, so that a password is in none but the login and the query.
_TCP = re.compile(rf"(rediss?)://([^@/?#]*@)?({_HOST}(?:/\d*)?)(?:\?[^@]*)?", re.IGNORECASE)
_SENTINEL = re.compile(
    rf"(rediss?\+sentinel)://([^@/?#]*@)?({_HOST}(?:,{_HOST})*/[\w.-]+(?:/\d*)?)(?:\?[^@]*)?", re.IGNORECASE
)
_UNIX = re.compile(r"(unix)://([^@/?#]*@)?(/[^@?#]*)(?:\?[^@]*)?", re.IGNORECASE)

#: Options of redis-py's pools, not of its connections.
_POOL_OPTIONS = ("max_connections", "timeout")

_SENTINEL_FORM = "host[:port],host[:port]/service[/db]"
_FORMS = {"unix": "/path", "redis+sentinel": _SENTINEL_FORM, "rediss+sentinel": _SENTINEL_FORM}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed Redis URL.

    `options` are redis-py's own connection arguments (host, port, path, db, credentials, `ssl_*`), so that dedicated
    connections and channels reach the same place in the same way. With `sentinels` they have no host: `at` puts in
    the one that the sentinels name.
    """

    scheme: str
    options: Mapping[str, Any] = field(repr=False)
    sentinels: Sentinels | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse `url`; raises `ConfigurationError` that never repeats a password."""
        match = _SCHEME.match(url)
        scheme = match[1].lower() if match else ""
        if scheme not in SCHEMES:
            allowed = ", ".join(f"{s}://" for s in SCHEMES)
            raise ConfigurationError(f"url (REDIS_URL): unknown scheme {scheme!r}; allowed are {allowed}")
        if scheme in ("memory", "embedded"):
            return cls(scheme, {})
        try:
            if scheme.endswith("+sentinel"):
                sentinels, plain = split_sentinels(url)
                return cls(scheme, _options(scheme.partition("+")[0], plain), sentinels)
            return cls(scheme, _options(scheme, url))
        except (ValueError, TypeError, RedisError):  # their messages may repeat the password
            form = f"{scheme}://[[user]:password@]{_FORMS.get(scheme, 'host[:port][/db]')}"
            raise ConfigurationError(
                f"url (REDIS_URL): {mask(url)} cannot be read; allowed: {form}, percent-encoded; options are redis-py's"
            ) from None

    @property
    def host(self) -> str:
        """The host name; meaningless for unix sockets."""
        return str(self.options.get("host", "localhost"))

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.options.get("port", 6379))

    @property
    def path(self) -> str | None:
        """The path of the unix socket, or None for TCP."""
        return self.options.get("path")

    @property
    def db(self) -> int:
        """The database number that is selected on connect."""
        return int(self.options.get("db") or 0)

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password, or None. The user is `default` where only a password is given."""
        password = self.options.get("password")
        if password is None:
            return None
        return str(self.options.get("username") or "default"), str(password)

    @property
    def tls(self) -> bool:
        """True for `rediss://`, also to what sentinels name."""
        return self.scheme.startswith("rediss")

    @property
    def local(self) -> bool:
        """True where traffic does not leave this machine."""
        hosts = [self.host] if self.sentinels is None else [host for host, _ in self.sentinels.hosts]
        return self.path is not None or all(host in ("localhost", "127.0.0.1", "::1") for host in hosts)

    def at(self, host: str, port: int) -> Address:
        """The node at `host`, greeted as this URL says."""
        return Address("rediss" if self.tls else "redis", {**self.options, "host": host, "port": port})

    def of_sentinels(self) -> list[Address]:
        """The sentinels themselves, each with the sentinels' own login; none where the URL names no sentinels."""
        if self.sentinels is None:
            return []
        tls = {key: value for key, value in self.options.items() if key.startswith("ssl_") and self.sentinels.tls}
        login = self.sentinels.login
        return [
            Address("rediss" if self.sentinels.tls else "redis", {**tls, **login, "host": host, "port": port})
            for host, port in self.sentinels.hosts
        ]

    def ssl_context(self) -> ssl.SSLContext | None:
        """Build the TLS context that redis-py's `ssl_*` options describe; certificates and names are checked."""
        if not self.tls:
            return None
        known = {key: value for key, value in self.options.items() if key.startswith("ssl_")}
        context: ssl.SSLContext = SSLConnection(**known).ssl_context.get()
        return context

    def __str__(self) -> str:
        if self.scheme in ("memory", "embedded"):
            return f"{self.scheme}://"
        if self.path is not None:
            return f"unix://{self.path}"
        if self.sentinels is not None:
            return f"{self.scheme}://{self.sentinels}/{self.db}"
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.db}"


def _options(scheme: str, url: str) -> dict[str, Any]:
    """Read redis-py's options from `url`; raises what redis-py raises where one is unknown or cannot be right."""
    if scheme != "unix" and not re.fullmatch(r"/?\d*", urlsplit(url).path):
        raise ValueError("the path is the number of a database")
    options: dict[str, Any] = dict(parse_url(url))
    connection = options.pop("connection_class", Connection)
    if scheme == "unix" and not options.get("path"):
        raise ValueError("a unix socket has a path")
    if scheme == "rediss":
        options.setdefault("ssl_check_hostname", options.get("ssl_cert_reqs") != "none")
    connection(**{name: value for name, value in options.items() if name not in _POOL_OPTIONS})
    return options


def mask(url: str) -> str:
    """Return `url` without its user, password and query; no more than its scheme where it is not clear what is what."""
    clear = _TCP.fullmatch(url) or _SENTINEL.fullmatch(url) or _UNIX.fullmatch(url)
    if clear is None:
        match = _SCHEME.match(url)
        return f"{match[1] if match else ''}://***"
    scheme, login, place = clear.groups()
    return f"{scheme}://{'***@' if login else ''}{place}"
