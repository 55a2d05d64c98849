"""Where a token stands in a request: exactly one, or none (RFC 6750 §2)."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.cookies import cookie_values
from ..core.exchange import Exchange
from ..core.steps import RequestEdits


class BadCredentials(Exception):
    """The request is malformed (RFC 6750 §3.1, invalid_request)."""


#: A token as it was found, and whether a browser attaches it by itself (a cookie).
Credential = tuple[bytes, bool]


@dataclass(frozen=True, slots=True)
class TokenSources:
    """Where to look: the Authorization header always, and what is named here.

    `query` is a parameter and `subprotocol` a prefix (`bearer` for `bearer.<token>`); both count for WebSockets alone,
    whose browser API cannot set headers.
    """

    cookie: bytes | None = None
    query: str | None = None
    subprotocol: str | None = None

    def find(self, exchange: Exchange) -> Credential | None:
        """Return the one credential, None if there is none; raises `BadCredentials` for two or a malformed one."""
        fields = exchange.headers(b"authorization")
        if len(fields) == 1 and self.cookie is None and not exchange.is_websocket:
            return _from_field(fields[0])  # by far the commonest
        found = [credential for field in fields if (credential := _from_field(field)) is not None]
        if self.cookie is not None:
            found += [(value, True) for value in cookie_values(exchange, self.cookie) if value]
        if exchange.is_websocket:
            if self.query is not None:
                found += [(value.encode("utf-8", "replace"), False) for value in exchange.query(self.query)]
            if self.subprotocol is not None:
                prefix = f"{self.subprotocol}."
                found += [
                    (name.removeprefix(prefix).encode("latin-1", "replace"), False)
                    for name in self._subprotocols(exchange)
                ]
        if len(found) > 1:
            raise BadCredentials("More than one access token was sent")
        return found[0] if found else None

    def subprotocols(self, exchange: Exchange) -> RequestEdits | None:
        """Return the edits that take the subprotocols that are tokens out of the request, None if there are none."""
        names = self._subprotocols(exchange)
        if not names:
            return None
        return RequestEdits(drop_headers=frozenset((b"sec-websocket-protocol",)), drop_subprotocols=frozenset(names))

    def _subprotocols(self, exchange: Exchange) -> list[str]:
        if self.subprotocol is None:
            return []
        return [name for name in exchange.scope.get("subprotocols", ()) if name.startswith(f"{self.subprotocol}.")]


def _from_field(field: bytes) -> Credential | None:
    """Read an Authorization field; a scheme with nothing behind it is no credential."""
    if field[:7] == b"Bearer ":
        token = field[7:].strip()
    else:
        scheme, _, rest = field.strip().partition(b" ")
        token = rest.strip() if scheme.lower() == b"bearer" else b""
    return (token, False) if token else None
