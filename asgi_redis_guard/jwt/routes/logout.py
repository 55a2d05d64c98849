"""The logout route of a token service: ends a login, or all of a user's.

Law: a 204 says that what was asked for is so. Logging out again is success, for that login is over; where "everywhere"
was asked for by whoever cannot be told to be the user any more, nothing else is ended, and that is said.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

from ...core.asgi import Headers
from ...core.exchange import Exchange
from ...core.steps import Answer
from ...errors import TokenInvalid, TokenRevoked
from ..credentials import BadCredentials, TokenSources
from ..service.access import AccessToken
from ..service.family_look import Look
from ..service.refresh_token import RefreshToken
from ..service.token_service import TokenService
from .answers import Refused, malformed, nothing
from .cookies import Browsers
from .grants import Call
from .parameters import flag

logger = logging.getLogger("asgi_redis_guard.jwt")

_BEARER = TokenSources()


@dataclass(frozen=True, slots=True)
class Logout:
    """A user has logged out: of `family`, or `everywhere`."""

    user: str
    family: str
    everywhere: bool


#: Is told of logouts; it may be a coroutine function.
OnLogout = Callable[[Logout], Awaitable[Any] | Any]


class Logouts:
    """Answers `POST /logout`."""

    def __init__(
        self, tokens: TokenService, browsers: Browsers, on_logout: OnLogout | None, clear_site_data: tuple[str, ...]
    ) -> None:
        self._tokens = tokens
        self._browsers = browsers
        self._on_logout = on_logout
        data = ", ".join(f'"{kind}"' for kind in clear_site_data)
        self._clear: Headers = [(b"clear-site-data", data.encode())] if data else []

    async def logout(self, call: Call) -> Answer:
        """End the login of the refresh token (body or cookie), and of the access token (Authorization).

        They are one as a rule. Whose logins are to end everywhere is told by the refresh token where there is one.
        Cookies are taken away where tokens come in them, and where no other site has made the browser ask for it.
        """
        everywhere = flag(call.parameters, "everywhere")
        carried, given = self._browsers.carried(call.exchange), call.parameters.get("refresh_token")
        if carried is not None and given is not None:
            raise malformed("A refresh token is given in a cookie and in the body")
        bearer = _bearer(call.exchange)
        token = carried if carried is not None else given
        presented = None if token is None else self._tokens.refresh_keys.read(token)
        forged = None if given is not None else self._browsers.forged(call.exchange, presented)
        if forged is not None and (carried is not None or bearer is None):
            return forged
        taken = [] if given is not None or forged is not None else self._browsers.cleared()
        await self._browsers.check_owner(call, carried, given)
        try:
            await self._end(presented, bearer, everywhere=everywhere)
        except Refused as error:
            error.headers += taken
            raise
        if token is None and bearer is None and not taken:
            raise malformed("The parameter refresh_token is missing")
        return nothing([*taken, *self._clear])

    async def _end(self, presented: RefreshToken | None, bearer: bytes | None, *, everywhere: bool) -> None:
        if presented is not None:
            await self._by_refresh(presented, everywhere=everywhere)
            access = None if bearer is None else self._tokens.read(bearer)
            if access is not None and access.family != presented.family.decode():
                await self._end_login(access)
        elif bearer is not None:
            await self._by_access(bearer, everywhere=everywhere)
        elif everywhere:
            raise Refused("invalid_grant", "Nothing tells whose logins to end")

    async def _by_refresh(self, presented: RefreshToken, *, everywhere: bool) -> None:
        family = presented.family.decode()
        look = await self._tokens.look_at(presented) if everywhere or self._on_logout is not None else None
        if not everywhere or look is None:
            if await self._tokens.revoke_family(family) and look is not None:
                await self._tell(look, family)
            return
        if look.is_good and look.note is not None:
            await self._everywhere(look.note.user, family)
        elif look.was_ended_everywhere and look.note is not None:
            await self._tokens.finish_user(look.note.user)
        else:
            await self._tokens.revoke_family(family)
            raise Refused("invalid_grant", "The refresh token is not valid any more; log in to end other logins")

    async def _by_access(self, token: bytes, *, everywhere: bool) -> None:
        access = self._tokens.read(token)
        if access is None:
            raise _unauthorized("The access token is invalid")
        if everywhere:
            await self._everywhere_by(access, token)
        else:
            await self._end_login(access)

    async def _end_login(self, access: AccessToken) -> None:
        """End the login of an access token; whoever has one that was revoked has no business with it."""
        if not await self._tokens.is_revoked(access) and await self._tokens.revoke_family(access.family):
            await self._told(Logout(access.user, access.family, everywhere=False))

    async def _everywhere_by(self, access: AccessToken, token: bytes) -> None:
        try:
            await self._tokens.verify(token)
        except TokenRevoked:
            look = await self._tokens.look_at(RefreshToken(access.family.encode(), 1))
            if not look.was_ended_everywhere:
                raise _unauthorized("The access token was revoked") from None
            await self._tokens.finish_user(access.user)
        except TokenInvalid:  # its time has come since it was read
            raise _unauthorized("The access token is invalid") from None
        else:
            await self._everywhere(access.user, access.family)

    async def _everywhere(self, user: str, family: str) -> None:
        await self._tokens.revoke_user(user)
        await self._told(Logout(user, family, everywhere=True))

    async def _tell(self, look: Look, family: str) -> None:
        if look.note is not None:
            await self._told(Logout(look.note.user, family, everywhere=False))

    async def _told(self, logout: Logout) -> None:
        """Tell the app; the logout stands, whatever comes of that."""
        if self._on_logout is None:
            return
        try:
            told = self._on_logout(logout)
            if isawaitable(told):
                await told
        except Exception:
            logger.exception("on_logout failed")


def _bearer(exchange: Exchange) -> bytes | None:
    try:
        found = _BEARER.find(exchange)
    except BadCredentials as error:
        raise malformed(str(error)) from None
    return None if found is None else found[0]


def _unauthorized(description: str) -> Refused:
    """Return the 401 of RFC 6750 §3.1."""
    challenge = f'Bearer error="invalid_token", error_description="{description}"'.encode()
    return Refused("invalid_token", description, status=401, headers=[(b"www-authenticate", challenge)])
