"""The routes of a token service that take a token in the body: refresh, revocation, introspection.

Law: a token is used up only where all else about the request has been found right.
"""

from __future__ import annotations

from typing import NamedTuple

from ...core.exchange import Exchange
from ...core.steps import Answer
from ...errors import RefreshRefused
from ..service.access import scopes_of
from ..service.pair import TokenPair
from ..service.token_service import TokenService
from .answers import Refused, done, json_answer
from .clients import ClientCheck, presented, unauthenticated
from .parameters import Parameters, needed


class Call(NamedTuple):
    """One request to a route: what it says, apart from its body, and what its body says."""

    exchange: Exchange
    parameters: Parameters

    def __repr__(self) -> str:
        return f"<Call {self.exchange.path!r} with {sorted(self.parameters)}>"


class Grants:
    """Answers what is asked about tokens that stand in a body."""

    def __init__(self, tokens: TokenService, clients: ClientCheck, introspection: ClientCheck, *, strict: bool) -> None:
        self._tokens = tokens
        self._clients = clients
        self._introspection = introspection
        self._strict = strict

    async def token(self, call: Call) -> Answer:
        """Answer `POST /token` (RFC 6749 §6): a new pair for a refresh token."""
        if needed(call.parameters, "grant_type") != "refresh_token":
            raise _other_grant()
        return await self.granted(call)

    async def granted(self, call: Call) -> Answer:
        """Answer with a new pair for the refresh token of the body."""
        token = needed(call.parameters, "refresh_token")
        client = await self._clients.client_of(call.exchange, call.parameters)
        pair = await self.refreshed(call.parameters, token, client)
        return json_answer(pair.response(call.exchange.now))

    async def refreshed(self, parameters: Parameters, token: str | bytes, client: str | None) -> TokenPair:
        """Return the pair; raises `Refused`, and `RefreshRefused` for what is wrong with the token itself."""
        if parameters.get("grant_type", "refresh_token") != "refresh_token":
            raise _other_grant()
        scopes = _scopes(parameters)
        if scopes is not None:
            await self._check_scopes(token, scopes)
        return await self._tokens.refresh(token, scopes=scopes, client=client)

    async def _check_scopes(self, token: str | bytes, scopes: tuple[str, ...]) -> None:
        """Refuse scopes that were not granted before the token is used up: a client's mistake must not log it out."""
        look = await self._tokens.look(token)
        if look is not None and look.is_good and look.note is not None and not set(scopes).issubset(look.note.scopes):
            raise RefreshRefused("wrong_scope", "The refresh token does not grant what is asked for")

    async def revoke(self, call: Call) -> Answer:
        """Answer `POST /revoke` (RFC 7009): a token that is unknown, or over, is no error (§2.2)."""
        token = needed(call.parameters, "token")
        await self.check_body(call, token)
        await self._tokens.revoke(token)
        return done()

    async def check_body(self, call: Call, token: str) -> None:
        """Refuse whoever is not the client that the token of a body was issued to, where there are clients."""
        await self.check_owner(token, await self._clients.client_of(call.exchange, call.parameters))

    async def check_owner(self, token: str | bytes, client: str | None) -> None:
        """Refuse a token that was issued to another client (RFC 7009 §2.1), where there are clients."""
        if self._strict and await self._owner(token) not in (None, client):
            raise Refused("invalid_grant", "The token was issued to another client")

    async def _owner(self, token: str | bytes) -> str | None:
        """Return whom a token was issued to (RFC 7009 §2.1), None where that does not matter any more."""
        look = await self._tokens.look(token)
        if look is not None:
            return None if look.note is None else look.note.client or self._tokens.options.default_client
        access = self._tokens.read(token, whenever=True)
        return None if access is None else access.client

    async def introspect(self, call: Call) -> Answer:
        """Answer `POST /introspect` (RFC 7662), for those who may ask."""
        client, secret = presented(call.exchange, call.parameters)
        if client is None or not await self._introspection.accepts(client, secret):
            raise unauthenticated()
        token = needed(call.parameters, "token")
        is_refresh = call.parameters.get("token_type_hint") == "refresh_token"
        return json_answer(await self._tokens.introspect(token, refresh=is_refresh))


def refused(error: RefreshRefused) -> Refused:
    """Return the OAuth error for a refresh token that got no successor; why its family was ended is not told."""
    return Refused(error.error, str(error))


def _other_grant() -> Refused:
    return Refused("unsupported_grant_type", "Only refresh tokens are taken here")


def _scopes(parameters: Parameters) -> tuple[str, ...] | None:
    if "scope" not in parameters:
        return None
    try:
        return scopes_of(parameters["scope"])
    except ValueError:
        raise Refused("invalid_scope", "The scope is malformed") from None
