"""Logins and refreshes of browsers, whose tokens are in cookies.

Law: cookies are taken away only where their token is refused for good. While Redis is away, and where another tab was
faster, they stay: the browser asks again, or has the successor already.
"""

from __future__ import annotations

from os import urandom

from ...core.asgi import Headers
from ...core.csrf_token import MASK
from ...core.exchange import Exchange
from ...core.steps import Answer
from ...errors import RefreshRefused
from ..service.pair import TokenPair
from ..service.refresh_token import RefreshToken
from ..service.token_service import TokenService
from .answers import json_answer, malformed
from .cookie_transport import CookieTransport
from .grants import Call, Grants, refused


class Browsers:
    """Answers browsers. `cookie` is None where tokens are in bodies alone; `client` is whose tokens are in cookies."""

    def __init__(
        self, tokens: TokenService, grants: Grants, cookie: CookieTransport | None, client: str | None
    ) -> None:
        self._tokens = tokens
        self._grants = grants
        self._cookie = cookie
        self._client = client

    def login(self, pair: TokenPair, now: float) -> Answer:
        """Return what a client gets that has a new pair: in cookies where that is how, else in the body."""
        if self._cookie is None:
            return json_answer(pair.response(now))
        csrf = self._csrf_of(pair)
        return json_answer(self._cookie.document(pair, now, csrf), headers=self._cookie.give(pair, now, csrf))

    def cookies(self, pair: TokenPair, now: float) -> Headers:
        """Return the Set-Cookie fields of a pair, none where tokens are in bodies."""
        return [] if self._cookie is None else self._cookie.give(pair, now, self._csrf_of(pair))

    def cleared(self) -> Headers:
        """Return the Set-Cookie fields that delete the cookies."""
        return [] if self._cookie is None else self._cookie.take()

    def carried(self, exchange: Exchange) -> bytes | None:
        """Return the refresh token of the cookie; raises `Refused` for several."""
        return None if self._cookie is None else self._cookie.token_of(exchange)

    async def refresh(self, call: Call) -> Answer:
        """Answer `POST /refresh`: a new pair, for the token of the cookie or of the body, in the way that it came."""
        token = self.carried(call.exchange)
        if token is None or self._cookie is None:
            if self._cookie is not None and "refresh_token" not in call.parameters:
                self._cookie.check(call.exchange)
                name = self._cookie.name
                raise malformed(
                    f"There is no refresh token: no cookie {name} has come with this path, nor one in the body"
                )
            return await self._grants.granted(call)
        if "refresh_token" in call.parameters:
            raise malformed("A refresh token is given in a cookie and in the body")
        forged = self.forged(call.exchange, self._tokens.refresh_keys.read(token))
        if forged is not None:
            return forged
        try:
            pair = await self._grants.refreshed(call.parameters, token, self._client)
        except RefreshRefused as error:
            answer = refused(error).answer()
            if error.error == "invalid_grant":
                answer.headers += self._cookie.take()
            return answer
        return self.login(pair, call.exchange.now)

    async def check_owner(self, call: Call, carried: bytes | None, given: str | None) -> None:
        """Refuse a refresh token, of the cookie or of the body, that was issued to another client."""
        if carried is not None:
            await self._grants.check_owner(carried, self._client)
        elif given is not None:
            await self._grants.check_body(call, given)

    def forged(self, exchange: Exchange, presented: RefreshToken | None) -> Answer | None:
        """Return the 403 of a request that another site may have made a browser send, None for any other.

        A token that is none belongs to no login: there is nothing to show, and nothing to protect.
        """
        if self._cookie is None:
            return None
        foreign = self._cookie.foreign(exchange)
        if foreign is not None or presented is None:
            return foreign
        keys = self._tokens.refresh_keys
        return self._cookie.unshown(exchange, lambda shown: keys.is_csrf_token(shown, presented.family))

    def _csrf_of(self, pair: TokenPair) -> str:
        if self._cookie is None or not self._cookie.has_csrf:
            return ""
        return self._tokens.refresh_keys.csrf_token(pair.family.encode(), urandom(MASK))

    def __repr__(self) -> str:
        return f"<Browsers {self._cookie!r}>"
