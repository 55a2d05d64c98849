"""Where Redis is and how to greet it: one URL, parsed once. Passwords appear in no repr and no message."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.exceptions import RedisError

from ..errors import ConfigurationError
from .credentials import Provided
from .sentinel_url import Sentinels, split_sentinels
from .slots import Place
from .tls_files import check_files

SCHEMES = (
    *("redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"),
    *("unix", "memory", "embedded"),
)

_SCHEME = re.compile(r"([a-z]+(?:\+[a-z]+)?)://", re.IGNORECASE)

_HOST = r"(?:[\w.-]+|\[[\da-f:.]+\])?(?::\d{1,5})?"

#: URLs whose parts can be told apart for sure, so that a password is in none but the login and the query.
_TCP = re.compile(rf"(rediss?(?:\+cluster)?)://([^@/?#]*@)?({_HOST}(?:,{_HOST})*(?:/\d*)?)(?:\?[^@]*)?", re.IGNORECASE)
_SENTINEL = re.compile(
    rf"(rediss?\+sentinel)://([^@/?#]*@)?({_HOST}(?:,{_HOST})*/[\w.-]+(?:/\d*)?)(?:\?[^@]*)?", re.IGNORECASE
)
_UNIX = re.compile(r"(unix)://([^@/?#]*@)?(/[^@?#]*)(?:\?[^@]*)?", re.IGNORECASE)

#: What stands behind the login.
_FORMS = {
    **dict.fromkeys(("redis", "rediss"), "host[:port][/db]"),
    **dict.fromkeys(("redis+cluster", "rediss+cluster"), "host[:port],host[:port]…"),
    **dict.fromkeys(("redis+sentinel", "rediss+sentinel"), "host[:port],host[:port]/service[/db]"),
    "unix": "/path",
}

#: A version of TLS as people write it; redis-py wants OpenSSL's number.
_MIN_VERSION = re.compile(r"(?<=[?&]ssl_min_version=)(?:TLSv)?(1\.[23])(?=&|$)", re.IGNORECASE)

#: How Python tells of an option that redis-py's connections do not have.
_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'\Z")

#: Options of redis-py's pools, not of its connections.
_POOL_OPTIONS = ("max_connections", "timeout")


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed Redis URL.

    `options` are redis-py's own connection arguments (host, port, path, db, credentials, `ssl_*`), so that dedicated
    connections and channels reach the same place in the same way. `nodes` are the servers of a cluster that are asked
    for all others, of which `host` and `port` are the first; none where there is no cluster. With `sentinels` the
    host is not known: `at` puts in the one that they name.
    """

    scheme: str
    options: Mapping[str, Any] = field(repr=False)
    nodes: tuple[Place, ...] = ()
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
            address = cls._read(scheme, url)
        except (ValueError, TypeError, RedisError) as error:  # their messages may repeat the password
            raise ConfigurationError(f"url (REDIS_URL): {mask(url)} {_fault(scheme, url, error)}") from None
        check_files(address.options)
        return address

    @classmethod
    def _read(cls, scheme: str, url: str) -> Address:
        """Parse a URL of a known scheme; raises what `_options` raises."""
        kind = scheme.partition("+")[0]
        if scheme.endswith("+sentinel"):
            sentinels, plain = split_sentinels(url)
            return cls(kind, _options("rediss" if sentinels.tls else kind, plain), sentinels=sentinels)
        if scheme.endswith("+cluster") or (scheme != "unix" and "," in _authority(url)):
            return cls._of_cluster(kind, url)
        return cls(scheme, _options(scheme, url))

    @classmethod
    def _of_cluster(cls, scheme: str, url: str) -> Address:
        """Parse a URL with several hosts; raises what `_options` raises, and `ConfigurationError` for a database."""
        login, at, hosts = _authority(url).rpartition("@")
        rest = url[url.index("://") + 3 + len(login + at + hosts) :]
        options = [_options(scheme, f"{scheme}://{login}{at}{host}{rest}") for host in hosts.split(",")]
        if options[0].get("db"):
            raise ConfigurationError(f"url (REDIS_URL): {mask(url)} names a database; a cluster has none but 0")
        nodes = [Place(str(found.get("host", "localhost")), int(found.get("port", 6379))) for found in options]
        return cls(scheme, options[0], tuple(dict.fromkeys(nodes)))

    def at(self, place: Place) -> Address:
        """Return the address of one server of the cluster or the service, which is reached in the same way."""
        return Address(self.scheme, {**self.usable, "host": place.host, "port": place.port})

    def of_sentinels(self) -> list[Address]:
        """Return the addresses of the sentinels, which have a login of their own; none where there are none."""
        if self.sentinels is None:
            return []
        tls = {key: value for key, value in self.options.items() if key.startswith("ssl_") and self.sentinels.tls}
        asked = Address("rediss" if self.sentinels.tls else "redis", {**tls, **self.sentinels.login})
        return [asked.at(place) for place in self.sentinels.hosts]

    @property
    def usable(self) -> dict[str, Any]:
        """The options without those of TLS where only sentinels speak it."""
        return {key: value for key, value in self.options.items() if self.tls or not key.startswith("ssl_")}

    @property
    def cluster(self) -> bool:
        """True where the keys are spread over several servers."""
        return bool(self.nodes)

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

    def provided_by(self, provider: Any) -> Address:
        """Return this address with a provider of credentials, which the URL must have none of itself."""
        if self.credentials is not None:
            raise ConfigurationError("credential_provider: given, and a password in the URL (REDIS_URL) too")
        options = {key: value for key, value in self.options.items() if key != "username"}
        return replace(self, options={**options, "credential_provider": Provided(provider)})

    @property
    def provider(self) -> Provided | None:
        """Who is asked for credentials before each connection, if anybody is."""
        return self.options.get("credential_provider")

    async def login(self) -> tuple[str, str] | None:
        """Return user and password of the next connection; raises `RedisUnavailable` where a provider fails."""
        return self.credentials if self.provider is None else await self.provider.get_credentials_async()

    @property
    def tls(self) -> bool:
        """True for `rediss://`."""
        return self.scheme == "rediss"

    @property
    def local(self) -> bool:
        """True where traffic does not leave this machine."""
        places = self.nodes if self.sentinels is None else self.sentinels.hosts
        hosts = [place.host for place in places] or [self.host]
        return self.path is not None or all(host in ("localhost", "127.0.0.1", "::1") for host in hosts)

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
            return f"{self.scheme}+sentinel://{self.sentinels}/{self.db}"
        if self.cluster:
            return f"{self.scheme}+cluster://{','.join(map(str, self.nodes))}"
        return f"{'rediss' if self.tls else 'redis'}://{self.host}:{self.port}/{self.db}"


def _authority(url: str) -> str:
    """Return what stands between `://` and the path."""
    return re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]


def _options(scheme: str, url: str) -> dict[str, Any]:
    """Read redis-py's options from `url`; raises what redis-py raises where one is unknown or cannot be right."""
    if scheme != "unix" and not re.fullmatch(r"/?\d*", urlsplit(url).path):
        raise ValueError("the path is the number of a database")
    options: dict[str, Any] = dict(parse_url(_MIN_VERSION.sub(_as_number, url)))
    connection = options.pop("connection_class", Connection)
    if scheme == "unix" and not options.get("path"):
        raise ValueError("a unix socket has a path")
    if scheme == "rediss":
        options.setdefault("ssl_check_hostname", options.get("ssl_cert_reqs") != "none")
    if "ssl_min_version" in options:
        options["ssl_min_version"] = ssl.TLSVersion(int(options["ssl_min_version"]))
    connection(**{name: value for name, value in options.items() if name not in _POOL_OPTIONS})
    return options


def _fault(scheme: str, url: str, error: Exception) -> str:
    """What is wrong with a URL that cannot be read; repeats no more of it than the name of an unknown option."""
    unknown = _UNKNOWN.search(str(error))
    if unknown is None or "@" in url.partition("?")[2]:  # what looks like options is a password, not percent-encoded
        form = f"{scheme}://[[user]:password@]{_FORMS[scheme]}"
        return f"cannot be read; allowed: {form}, percent-encoded; options are redis-py's"
    own = ", sentinel_username, sentinel_password and sentinel_ssl" if scheme.endswith("+sentinel") else ""
    return f"has an unknown option {unknown[1]!r}; allowed are those of redis-py's connections{own}"


def _as_number(version: re.Match[str]) -> str:
    return str(int({"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version[1]]))


def mask(url: str) -> str:
    """Return `url` without its user, password and query; no more than its scheme where it is not clear what is what."""
    clear = _TCP.fullmatch(url) or _SENTINEL.fullmatch(url) or _UNIX.fullmatch(url)
    if clear is None:
        match = _SCHEME.match(url)
        return f"{match[1] if match else ''}://***"
    scheme, login, place = clear.groups()
    return f"{scheme}://{'***@' if login else ''}{place}"
