"""Who calls the routes of a token service: clients, and their secrets (RFC 6749 §2.3, RFC 7617).

Law: a secret is compared in constant time, and stands in no text.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from inspect import isawaitable
from typing import NamedTuple
from urllib.parse import unquote_plus

from ...core.exchange import Exchange
from .answers import Refused, malformed
from .parameters import Parameters

#: Clients and their secrets, None for public ones; or a function of both, which may be a coroutine function.
Clients = Mapping[str, str | None] | Callable[[str, str | None], bool | Awaitable[bool]]

_CHALLENGE = (b"www-authenticate", b'Basic realm="token", charset="UTF-8"')

#: Compared with where a client is unknown, so that this takes as long as a wrong secret.
_NOBODY = "nobody"

#: Characters of a secret, which nobody types.
_SHORTEST = 16


class Presented(NamedTuple):
    """What a request says of its client: None for what it does not say."""

    client: str | None
    secret: str | None

    def __repr__(self) -> str:
        return f"<Presented {self.client!r}>"


class ClientCheck:
    """Tells whether clients are who they say. Without `clients` there are public ones alone, and any name is believed.

    `own` is the service's own client, for requests that name none: it is asked for like others, without a secret; in a
    mapping it need not stand.
    """

    def __init__(self, clients: Clients | None, own: str | None = None) -> None:
        self._clients = {own: None, **clients} if own is not None and isinstance(clients, Mapping) else clients
        self._own = own

    async def client_of(self, exchange: Exchange, parameters: Parameters) -> str | None:
        """Return the client that a request comes from, None if it names none; raises `Refused` (`invalid_client`)."""
        client, secret = presented(exchange, parameters)
        if self._clients is None:
            if secret is not None:
                raise unauthenticated()  # who sends a secret means to be checked, and nobody could
            return client
        client = client if client is not None else self._own
        if client is None or not await self.accepts(client, secret):
            raise unauthenticated()
        return client

    async def accepts(self, client: str, secret: str | None) -> bool:
        """Tell whether this is that client."""
        clients = self._clients
        if isinstance(clients, Mapping):
            expected = clients.get(client, _NOBODY)
            if expected is None:
                return not secret
            fits = hmac.compare_digest(_hashed(expected), _hashed(secret or ""))
            return fits and client in clients
        if clients is None:
            return False
        verdict = clients(client, secret)
        return (await verdict if isawaitable(verdict) else verdict) is True

    def __repr__(self) -> str:
        return f"<ClientCheck: {len(self._clients) if isinstance(self._clients, Mapping) else self._clients!r}>"


def presented(exchange: Exchange, parameters: Parameters) -> Presented:
    """Return the client's name and secret from HTTP Basic or from the body; raises `Refused` for both (§2.3)."""
    client, secret = parameters.get("client_id"), parameters.get("client_secret")
    basic = _basic(exchange)
    if basic is None:
        if secret is not None and client is None:
            raise malformed("The parameter client_id is missing")
        return Presented(client, secret)
    if secret is not None or client not in (None, basic.client):
        raise malformed("The client is told in more than one way")
    return basic


def unauthenticated() -> Refused:
    """Return the 401 of a client that is not who it says (RFC 6749 §5.2)."""
    return Refused("invalid_client", "The client is not authenticated", status=401, headers=[_CHALLENGE])


def client_faults(option: str, clients: object, *, public: bool) -> list[str]:
    """What is wrong with clients, some of which may be `public`; no secret is repeated."""
    if clients is None or (callable(clients) and not isinstance(clients, Mapping)):
        return []
    if not isinstance(clients, Mapping):
        return [
            f"{option}: a {type(clients).__name__} given; allowed are a mapping of client to secret, and a function"
        ]
    return [
        f"{option}: {client!r} has a secret that cannot be; allowed is text of {_SHORTEST} characters or more"
        for client, secret in clients.items()
        if not isinstance(client, str) or not client or not (_is_long(secret) or (public and secret is None))
    ]


def _is_long(secret: object) -> bool:
    return isinstance(secret, str) and len(secret) >= _SHORTEST


def _basic(exchange: Exchange) -> Presented | None:
    """Read HTTP Basic; RFC 6749 §2.3.1: name and secret are encoded as in forms, for a name may hold a colon."""
    fields = exchange.headers(b"authorization")
    if len(fields) > 1:
        raise malformed("More than one Authorization field was sent")
    scheme, _, coded = fields[0].strip().partition(b" ") if fields else (b"", b"", b"")
    if scheme.lower() != b"basic":
        return None
    try:
        client, found, secret = b64decode(coded.strip(), validate=True).decode("utf-8").partition(":")
        name, word = (unquote_plus(part, errors="strict") for part in (client, secret))
    except ValueError:
        raise unauthenticated() from None
    if not found or not name:
        raise unauthenticated()
    return Presented(name, word)


def _hashed(secret: str) -> bytes:
    """Return what is compared, so that no length shows."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
