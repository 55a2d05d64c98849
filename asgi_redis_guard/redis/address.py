"""Where Redis is and how to greet it: one URL, parsed once. Passwords appear in no repr and no message."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import SSLConnection, parse_url

from ..errors import ConfigurationError

SCHEMES = ("redis", "rediss", "unix", "memory", "embedded")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed Redis URL.

    `options` are redis-py's own connection arguments (host, port, path, db, credentials, `ssl_*`), so that dedicated
    connections and channels reach the same place in the same way.
    """

    scheme: str
    options: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse `url`; raises `ConfigurationError` that never repeats a password."""
        scheme = urlsplit(url).scheme
        if scheme not in SCHEMES:
            allowed = ", ".join(f"{s}://" for s in SCHEMES)
            raise ConfigurationError(f"url (REDIS_URL): unknown scheme {scheme!r}; allowed are {allowed}")
        if scheme in ("memory", "embedded"):
            return cls(scheme, {})
        try:
            options = dict(parse_url(url))
        except ValueError as error:
            raise ConfigurationError(f"url (REDIS_URL): {mask(url)} cannot be parsed: {type(error).__name__}") from None
        options.pop("connection_class", None)
        if scheme == "rediss":
            options.setdefault("ssl_check_hostname", options.get("ssl_cert_reqs") != "none")
        return cls(scheme, options)

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
        """True for `rediss://`."""
        return self.scheme == "rediss"

    @property
    def local(self) -> bool:
        """True where traffic does not leave this machine."""
        return self.path is not None or self.host in ("localhost", "127.0.0.1", "::1")

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
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.db}"


def mask(url: str) -> str:
    """Return `url` without its user, password and query."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{'***@' if '@' in parts.netloc else ''}{place}{parts.path}"
