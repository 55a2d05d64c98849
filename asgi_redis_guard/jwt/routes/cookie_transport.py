"""`CookieTransport`: refresh tokens in cookies, which no script can read, and what protects them. Pure.

Law: a cookie is sent along by the browser, whoever has made it send the request. So what comes with one counts only
where the browser says that the request is of this origin, and by option where it shows a token of its login.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal

from ...core.asgi import Headers
from ...core.checks import is_token, several
from ...core.cookies import cookie_values
from ...core.exchange import Exchange
from ...core.origin import is_cross_origin, origin_faults
from ...core.problem import foreign_cookie, problem
from ...core.set_cookie import SetCookie, drops_secure, is_cookie_name, place_faults, prefix_faults
from ...core.steps import Answer
from ...errors import ConfigurationError
from ..service.pair import TokenPair
from .answers import malformed

logger = logging.getLogger("asgi_redis_guard.jwt")


class CookieTransport:
    """How `TokenRoutes` keeps tokens in a browser.

    `refresh` is the name of the cookie with the refresh token, which is HttpOnly; `access` that of one with the access
    token, for `JWTAuth(cookie=…)`, where a script is not to see that either. Names are given whole: with the prefix
    `__Host-` browsers take them from this very host alone, with `__Secure-` over TLS alone (RFC 6265bis §4.1.3); over
    plain HTTP, `secure=False`, they must have none. `path` is that of the refresh cookie, such as the one that the
    routes are mounted at; the others go to all paths. `domain`, `same_site`: as in Set-Cookie. `persistent=False`:
    cookies last until the browser is closed.

    Requests with such a cookie are refused where they come from another origin (W3C Fetch Metadata §2.1, RFC 6454 §7)
    than `origins`, whole ones that may call from elsewhere. `csrf`: they must also bring a token that is bound to the
    login, as `header`. Scripts find it in the cookie `csrf_cookie`, and as `csrf_token` in the answers to a login and a
    refresh. `client`: whose tokens come in cookies; the service's own where `TokenRoutes` knows `clients`, else
    anybody's. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        refresh: str = "__Host-refresh",
        *,
        access: str | None = None,
        csrf: bool = False,
        csrf_cookie: str = "__Host-csrf",
        header: str = "x-csrf-token",
        path: str = "/",
        domain: str | None = None,
        same_site: Literal["lax", "strict", "none"] = "strict",
        secure: bool = True,
        persistent: bool = True,
        origins: Iterable[str] = (),
        client: str | None = None,
    ) -> None:
        trusted = several(origins)
        names = {"refresh": refresh, "access": access, "csrf_cookie": csrf_cookie if csrf else None}
        faults = place_faults(path, domain, same_site) + origin_faults(trusted)
        faults += _name_faults(names, path=path, domain=domain, secure=secure)
        if not is_token(header):
            faults.append(f"header: {header!r} given; allowed are names of header fields (RFC 9110 §5.1)")
        if same_site == "none" and not secure:
            faults.append("secure: False given with same_site='none'; browsers drop such a cookie")
        ConfigurationError.raise_for(faults)

        def cookie(name: str, path: str = "/", *, readable: bool = False) -> SetCookie:
            return SetCookie(name, path=path, domain=domain, same_site=same_site, secure=secure, http_only=not readable)

        self._refresh = cookie(refresh, path)
        self._access = None if access is None else cookie(access)
        self._csrf = cookie(csrf_cookie, readable=True) if csrf else None
        self._header = header.lower().encode()
        self._origins = frozenset(trusted)
        self._persistent = persistent
        self._untold = secure
        self.client = client

    @property
    def has_csrf(self) -> bool:
        """True where requests must show a token of their login."""
        return self._csrf is not None

    @property
    def name(self) -> str:
        """The name of the refresh token's cookie."""
        return self._refresh.name.decode()

    def token_of(self, exchange: Exchange) -> bytes | None:
        """Return the refresh token that came in a cookie; raises `Refused` for several, of which nobody knows whose."""
        found = {value for value in cookie_values(exchange, self._refresh.name) if value}
        if len(found) > 1:
            raise malformed("More than one refresh token was sent")
        return found.pop() if found else None

    def foreign(self, exchange: Exchange) -> Answer | None:
        """Return the 403 of a request that another site may have sent, None for one that is this site's."""
        return foreign_cookie() if is_cross_origin(exchange, self._origins) else None

    def unshown(self, exchange: Exchange, fits: Callable[[bytes], bool]) -> Answer | None:
        """Return the 403 of a request without a token that fits its login, None where it has one, or needs none."""
        shown = exchange.headers(self._header)
        if self._csrf is None or (len(shown) == 1 and fits(shown[0])):
            return None
        detail = f"The header {self._header.decode()} shows no token of this login."
        return problem(403, "csrf_failed", detail)

    def give(self, pair: TokenPair, now: float, csrf: str) -> Headers:
        """Return the fields that put a pair into the browser; `csrf` is the token of its login."""
        refresh, access = (
            max(1, int(end - now)) if self._persistent else None for end in (pair.refresh_expires_at, pair.expires_at)
        )
        given = [self._refresh.give(pair.refresh_token.encode(), refresh)]
        if self._access is not None:
            given.append(self._access.give(pair.access_token.encode(), access))
        if self._csrf is not None:
            given.append(self._csrf.give(csrf.encode(), refresh))
        return [(b"set-cookie", field) for field in given]

    def take(self) -> Headers:
        """Return the fields that delete what `give` gives."""
        cookies = (self._refresh, self._access, self._csrf)
        return [(b"set-cookie", cookie.take()) for cookie in cookies if cookie is not None]

    def document(self, pair: TokenPair, now: float, csrf: str) -> dict[str, Any]:
        """Return what a script is told beside: nothing that is in a cookie which it cannot read."""
        said = pair.response(now)
        del said["refresh_token"]
        if self._access is not None:
            del said["access_token"]
        return {**said, "csrf_token": csrf} if self._csrf is not None else said

    def check(self, exchange: Exchange) -> None:
        """Warn, once, where a request without the cookie came in a way that browsers drop it over."""
        if self._untold and drops_secure(exchange.scope):
            self._untold = False
            logger.warning(
                "the cookie %s is Secure and browsers drop it over plain HTTP; say secure=False there, or let the "
                "server trust the proxy's X-Forwarded-Proto",
                self.name,
            )

    def __repr__(self) -> str:
        return f"<CookieTransport {self._refresh!r}>"


def _name_faults(names: dict[str, str | None], *, path: str, domain: str | None, secure: bool) -> list[str]:
    """What is wrong with the names of cookies; None is one that is not used."""
    faults = []
    given = {option: name for option, name in names.items() if name is not None}
    for option, name in given.items():
        if not is_cookie_name(name):
            faults.append(f"{option}: {name!r} given; allowed are letters, digits and most signs")
            continue
        place = path if option == "refresh" else "/"
        faults += prefix_faults(option, name, path=place, domain=domain, secure=secure)
    if len(set(given.values())) < len(given):
        faults.append(f"{', '.join(given)}: the same name given twice; each cookie needs its own")
    return faults
