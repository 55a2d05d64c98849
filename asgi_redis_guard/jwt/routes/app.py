"""`TokenRoutes`: the HTTP side of a token service, an ASGI app to mount.

    POST /token                             RFC 6749 §6     a new pair for a refresh token, as a form
    POST /refresh                           the same for browsers and apps: the token in a cookie, as JSON, as a form
    POST /revoke                            RFC 7009        ends a token, and with a refresh token its login
    POST /introspect                        RFC 7662        whether a token is good, for those who may ask
    POST /logout                            ends a login, or with `everywhere=true` all of its user's
    GET  /jwks.json, /.well-known/jwks.json RFC 7517        the public keys

Law: no request makes it fail. What is malformed gets a 4xx, and while Redis is away a 503, with nothing changed that
the same request would not change when it is sent again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from os import urandom
from typing import NamedTuple

from starlette.responses import Response

from ...core.asgi import Message, Receive, Scope, Send
from ...core.checks import bytes_faults, seconds_faults, several
from ...core.exchange import Exchange
from ...core.steps import Answer
from ...errors import ConfigurationError, RedisUnavailable, RefreshRefused
from ...middleware.body import ClientGone, RequestBody
from ...middleware.lifespan import guard_lifespan
from ..service.pair import TokenPair
from ..service.token_service import TokenService
from .answers import Refused, away, malformed, not_allowed, unknown
from .clients import ClientCheck, Clients, client_faults
from .cookie_transport import CookieTransport
from .cookies import Browsers
from .grants import Call, Grants, refused
from .keys import keys_answer
from .logout import Logouts, OnLogout
from .parameters import check_type, parameters_of

#: All that there are, by the names that `endpoints` knows.
ENDPOINTS = ("token", "refresh", "revoke", "introspect", "logout", "jwks")

#: W3C Clear-Site-Data §3.1.
_SITE_DATA = ("cache", "cookies", "storage", "executionContexts", "clientHints", "*")

_LONGEST_MAX_AGE = 366 * 86_400


class Endpoint(NamedTuple):
    """What answers at a path, and what bodies it takes: JSON beside forms, and none at all where that is `optional`."""

    answer: Callable[[Call], Awaitable[Answer]]
    methods: bytes = b"POST"
    json: bool = False
    optional: bool = False


class TokenRoutes:
    """The routes of `tokens`, a `TokenService`, as an ASGI app: `app.mount("/auth", TokenRoutes(tokens))`.

    `cookie`: a `CookieTransport`, where browsers keep refresh tokens in cookies. `clients`: OAuth clients and their
    secrets, None for public ones; or a function of both, which may be a coroutine function and returns true for a
    client that is who it says. A request that names no client is the service's own. Without `clients` all are public.
    `introspection`: the same for those who may ask about tokens; without it there is no such route.
    `on_logout` is told of each `Logout`. `clear_site_data`: what else a browser is to forget then, such as `storage`.
    `max_age`: seconds that others may keep the keys. `max_body`: bytes of a request. `endpoints`: which routes there
    are, of `token`, `refresh`, `revoke`, `introspect`, `logout`, `jwks`.

    Nothing limits how often secrets and tokens are tried: put a `RateLimit` in front. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        tokens: TokenService,
        *,
        cookie: CookieTransport | None = None,
        clients: Clients | None = None,
        introspection: Clients | None = None,
        on_logout: OnLogout | None = None,
        clear_site_data: str | Iterable[str] = (),
        max_age: float = 3600.0,
        max_body: int = 65_536,
        endpoints: Iterable[str] = ENDPOINTS,
    ) -> None:
        site_data, wanted = several(clear_site_data), several(endpoints)
        faults = _faults(tokens, cookie, on_logout, site_data, wanted)
        if endpoints is not ENDPOINTS and "introspect" in wanted and introspection is None:
            faults.append("endpoints: 'introspect' given; it needs introspection=, which names those who may ask")
        faults += client_faults("clients", clients, public=True)
        faults += client_faults("introspection", introspection, public=False)
        faults += seconds_faults("max_age", max_age, 0, _LONGEST_MAX_AGE) + bytes_faults("max_body", max_body, 1024)
        ConfigurationError.raise_for(faults)
        self.tokens = tokens
        self._max_age, self._max_body = max_age, max_body
        own = tokens.options.default_client
        client = None if cookie is None else cookie.client or (own if clients is not None else None)
        grants = Grants(tokens, ClientCheck(clients, own), ClientCheck(introspection), strict=clients is not None)
        self._browsers = Browsers(tokens, grants, cookie, client)
        logouts = Logouts(tokens, self._browsers, on_logout, site_data)
        hidden = set(ENDPOINTS).difference(wanted) | ({"introspect"} if introspection is None else set())
        self._endpoints = {
            name: endpoint for name, endpoint in self._made(grants, logouts).items() if name not in hidden
        }

    def _made(self, grants: Grants, logouts: Logouts) -> dict[str, Endpoint]:
        return {
            "token": Endpoint(grants.token),
            "refresh": Endpoint(self._browsers.refresh, json=True, optional=True),
            "revoke": Endpoint(grants.revoke),
            "introspect": Endpoint(grants.introspect),
            "logout": Endpoint(logouts.logout, json=True, optional=True),
            "jwks": Endpoint(self._keys, methods=b"GET, HEAD"),
        }

    # For the app's own routes.

    def login(self, pair: TokenPair) -> Response:
        """Return what the app's login route answers: the tokens, in cookies where that is how they travel."""
        answer = self._browsers.login(_pair(pair), self.tokens.clock())
        response = Response(answer.body, answer.status)
        response.raw_headers = list(answer.headers)
        return response

    def cookies(self, pair: TokenPair) -> list[str]:
        """Return the values of the Set-Cookie fields for a pair, for responses of other frameworks."""
        return [value.decode() for _, value in self._browsers.cookies(_pair(pair), self.tokens.clock())]

    def cleared_cookies(self) -> list[str]:
        """Return the values of the Set-Cookie fields that delete the cookies."""
        return [value.decode() for _, value in self._browsers.cleared()]

    # The app.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; as an app by itself, connect and close the manager with the server."""
        if scope["type"] == "lifespan":
            await guard_lifespan(_lifespan, lambda: self.tokens.redis, scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            exchange = Exchange(scope, self.tokens.clock(), urandom, self.tokens.redis.keys)
            try:
                answer = await self._answer(exchange, receive)
            except ClientGone:
                return
            await _send(answer, send, content=exchange.method != "HEAD")

    async def _answer(self, exchange: Exchange, receive: Receive) -> Answer:
        path = exchange.path.removesuffix("/")  # Litestar appends one to what is mounted
        endpoint = self._endpoints.get(_NAMES.get(path, ""))
        if endpoint is None:
            return unknown()
        if exchange.method.encode() not in endpoint.methods.split(b", "):
            return not_allowed(endpoint.methods)
        try:
            return await endpoint.answer(await self._read(exchange, endpoint, receive))
        except Refused as error:
            return error.answer()
        except RefreshRefused as error:
            return refused(error).answer()
        except RedisUnavailable:
            return away()

    async def _read(self, exchange: Exchange, endpoint: Endpoint, receive: Receive) -> Call:
        if endpoint.methods != b"POST":
            return Call(exchange, {})
        kind = check_type(exchange, json=endpoint.json, optional=endpoint.optional)
        body = await RequestBody(receive).read(self._max_body)
        if body is None:
            raise malformed("The body is too long", 413)
        return Call(exchange, parameters_of(kind, body))

    async def _keys(self, call: Call) -> Answer:
        return keys_answer(call.exchange, self.tokens.public_jwks, self._max_age)

    def __repr__(self) -> str:
        return f"<TokenRoutes {', '.join(self._endpoints)} of {self.tokens!r}>"


_NAMES = {f"/{name}": name for name in ENDPOINTS if name != "jwks"} | {
    "/jwks.json": "jwks",
    "/.well-known/jwks.json": "jwks",
}


async def _lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    """The lifespan of an app that has nothing of its own to start."""
    while True:
        message: Message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _send(answer: Answer, send: Send, *, content: bool) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body if content else b""})


def _pair(given: object) -> TokenPair:
    """Return the pair that an app has given; TypeError for what is none, a call that was not awaited say."""
    if isinstance(given, TokenPair):
        return given
    raise TypeError(f"pair: a {type(given).__name__} given; allowed is a TokenPair, as `await tokens.issue(…)`")


def _faults(
    tokens: object, cookie: object, on_logout: object, site_data: tuple[str, ...], endpoints: tuple[str, ...]
) -> list[str]:
    faults = []
    if not isinstance(tokens, TokenService):
        faults.append(f"tokens: {type(tokens).__name__} given; allowed is a TokenService")
    faults += [
        f"clear_site_data: {kind!r} given; allowed are {', '.join(_SITE_DATA)}"
        for kind in site_data
        if kind not in _SITE_DATA
    ]
    faults += [
        f"endpoints: {name!r} given; allowed are {', '.join(ENDPOINTS)}" for name in endpoints if name not in ENDPOINTS
    ]
    if cookie is not None and not isinstance(cookie, CookieTransport):
        faults.append(f"cookie: {type(cookie).__name__} given; allowed is a CookieTransport")
    if on_logout is not None and not callable(on_logout):
        faults.append(f"on_logout: {type(on_logout).__name__} given; allowed is a function of a Logout")
    return faults
