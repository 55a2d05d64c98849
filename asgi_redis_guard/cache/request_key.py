"""The key of a request: what it is for, whoever asks, as a digest; and the parts that stand for who asks. Pure.

Two requests share a key only if they differ by nothing but what is named here: GET and HEAD; the spelling of the host
(`hosts.py`); and of the query what the options leave out or put in order (`queries.py`). Path and query count as they
were sent, never decoded (`/a%2Fb` is not `/a/b`). Request fields that frameworks and proxies build answers from count
wherever they are present, so that nobody poisons the answer for those that do not send them.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import product
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ..core.checks import several
from ..errors import ConfigurationError, GuardError, PrincipalUnknown
from .hosts import LONGEST_HOST, Hosts, parse_pattern
from .queries import Queries, ignore_faults
from .tags import shows_its_address

_CHANGING = (
    *(b"forwarded", b"front-end-https", b"x-host", b"x-http-host-override", b"x-http-method"),
    *(b"x-http-method-override", b"x-forwarded-host", b"x-forwarded-path", b"x-forwarded-port", b"x-forwarded-prefix"),
    *(b"x-forwarded-proto", b"x-forwarded-protocol", b"x-forwarded-scheme", b"x-forwarded-server", b"x-forwarded-ssl"),
    *(b"x-method-override", b"x-original-host", b"x-original-url", b"x-rewrite-url", b"x-scheme", b"x-script-name"),
    *(b"x-url-scheme",),
)


def _spellings(name: bytes) -> Iterator[bytes]:
    """A name with `-` or `_` in each place: WSGI takes both for the same, behind an adapter as well."""
    return (bytes(parts) for parts in product(*(b"-_" if one == 45 else (one,) for one in name)))


#: Fields that change what frameworks answer, or for which host, path or method they take a request to be.
FIELDS = frozenset(spelling for name in _CHANGING for spelling in _spellings(name))
_READ = FIELDS | {b"host"}

#: What stays as it is in a path (RFC 3986 §3.3); the percent sign does not, so that two paths never become one.
_PLAIN = "/:@!$&'()*+,;=~-._"

#: What stays as it is in a query that somebody has written down.
_SENT = "".join(map(chr, range(0x21, 0x7F)))


class RequestKeys:
    """Builds the keys of requests.

    `hosts`: those the app is for, `example.com`, `*.example.com` or `example.com:8000`; none: every well-formed one,
    each with keys of its own. `sort_query`: the order of parameters with different names does not count.
    `ignore_query`: names of parameters that do not count, such as `utm_*`. Raises `ConfigurationError`.
    """

    __slots__ = ("_hosts", "_queries")

    def __init__(
        self, *, hosts: Iterable[str] = (), sort_query: bool = False, ignore_query: Iterable[str] = ()
    ) -> None:
        hosts = several(hosts)
        ignored = several(ignore_query)
        faults = [
            f"hosts: {host!r} given; allowed are such as 'example.com', '*.example.com' and 'example.com:8000'"
            for host in hosts
            if parse_pattern(host) is None
        ]
        ConfigurationError.raise_for(faults + ignore_faults("ignore_query", ignored))
        self._hosts = Hosts(hosts)
        self._queries = Queries(sort_query, ignored)

    def resource(self, scope: Mapping[str, Any]) -> bytes | None:
        """Return the digest of what is asked for, 20 ASCII characters, None where nothing may be kept or looked up.

        None: no Host field or several different ones, one that is malformed or not allowed, a target that is no path.
        """
        host = None
        fields = b""
        for name, value in scope["headers"]:
            if name in _READ:
                if name != b"host":
                    fields += b"%d:%b%d:%b" % (len(name), name, len(value), value)
                elif host is None:
                    host = value
                elif host != value:
                    return None
        return self._digest(scope, scope["method"], host, fields)

    def target(self, scope: Mapping[str, Any], method: str = "GET") -> bytes | None:
        """Return the digest for the URL of a request alone, without the fields: what a write to it concerns.

        Equals `resource` of a request with `method` that has none of `FIELDS`.
        """
        found = {value for name, value in scope["headers"] if name == b"host"}
        return self._digest(scope, method, found.pop(), b"") if len(found) == 1 else None

    def of_url(self, url: str, method: str = "GET", root_path: str = "") -> bytes | None:
        """Return the digest for an absolute URL, as `target` of a request for it; None for one that has none.

        `root_path` is that of the server, if it has one; the URL's path begins with it.
        """
        try:
            scheme, host, path, query, _ = urlsplit(url)
        except ValueError:
            return None
        if not host.isascii():
            return None  # a name in its ASCII form is what clients send
        raw = quote(path, _SENT).encode() or b"/"
        scope = {
            "scheme": scheme,
            "path": unquote(raw.decode("latin-1")),
            "raw_path": raw,
            "root_path": root_path,
            "query_string": quote(query, _SENT).encode(),
        }
        return self._digest(scope, method, host.encode(), b"")

    def _digest(self, scope: Mapping[str, Any], method: str, host: bytes | None, fields: bytes) -> bytes | None:
        if host is None or len(host) > LONGEST_HOST:
            return None
        scheme = scope.get("scheme", "http")
        authority = self._hosts.normal(scheme, host)
        path = scope["path"].encode("utf-8", "surrogatepass")
        raw = scope.get("raw_path")
        raw = raw.partition(b"?")[0] if raw else quote(path, _PLAIN).encode()
        if authority is None or raw[:1] != b"/":
            return None
        query = self._queries.normal(scope.get("query_string", b""))
        root = scope.get("root_path", "").encode("utf-8", "surrogatepass")
        kind = "GET" if method == "HEAD" else method
        # The decoded path counts as well: something further out may have put another app's there.
        text = b"%d:%b%d:%b%b %d:%b%d:%b%d:%b%d:%b%b" % (
            len(kind), kind.encode(), len(scheme), scheme.encode(), authority,
            len(root), root, len(raw), raw, len(path), path, len(query), query, fields,
        )  # fmt: skip
        return b2a_base64(blake2b(text, digest_size=15).digest(), newline=False)

    def __repr__(self) -> str:
        return f"<RequestKeys {'of its hosts' if self._hosts else 'of any host'}>"


def fields_of(scope: Mapping[str, Any], names: frozenset[bytes] = FIELDS) -> list[bytes]:
    """Return names and values of those of the request's fields in turn, for a digest of their own."""
    return [part for pair in scope["headers"] if pair[0] in names for part in pair]


def principal_parts(user: Any, auth: Any) -> list[bytes | str] | None:
    """Return what stands for a verified principal and its scopes, for a digest; None for nobody.

    `user` has `is_authenticated`, `identity` and perhaps `namespace` (whose name the identity is), `auth` has `scopes`.
    Never the token, which changes while the principal does not. Raises `PrincipalUnknown` for a verified user without
    an identity: a display name may be shared, and what is kept for one must not reach another.
    """
    if not getattr(user, "is_authenticated", user is not None):
        return None
    try:
        identity = user.identity
    except GuardError:
        raise  # a session that was not loaded
    except Exception:  # whatever users do that have none, or cannot tell it now
        identity = None
    if identity is None or (isinstance(identity, str | bytes) and not identity) or shows_its_address(type(identity)):
        raise PrincipalUnknown(f"{type(user).__name__}: a verified user without an identity")
    namespace = getattr(user, "namespace", None) or ""
    return [*_typed(identity), *_typed(namespace), *sorted(set(_scopes_of(auth)))]


def _typed(value: object) -> Iterator[bytes | str]:
    """A value after its type: the number 1 and the text "1" may be two users."""
    yield type(value).__name__
    yield value if isinstance(value, str | bytes) else str(value)


def _scopes_of(auth: Any) -> Iterator[str]:
    scopes = getattr(auth, "scopes", None) or ()
    return (str(scope) for scope in (scopes.split() if isinstance(scopes, str) else scopes))
