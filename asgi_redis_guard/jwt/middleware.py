"""`JWTAuthMiddleware`: the engine with one `JWTAuth`, for `app.add_middleware`. A constructor and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypedDict, Unpack

from ..core.asgi import ASGIApp
from ..core.guard import OnRefused
from ..core.key_tag import KeyTagLike
from ..errors import ConfigurationError
from ..middleware.engine import GuardMiddleware
from ..middleware.lifespan import faults_told
from ..observability.events import Hook
from ..redis.manager import RedisManager
from .guard import JWTAuth
from .key_source import KeySource
from .keys import KeyLike
from .revocation.blacklist import Blacklist


class JWTAuthOptions(TypedDict, total=False):
    """The keyword options of `JWTAuth`, for type checkers; their meaning stands there."""

    key: KeyLike | Sequence[KeyLike] | Mapping[str, KeyLike]
    keys: KeySource | None
    algorithms: Iterable[str]
    issuer: str | Iterable[str] | None
    audience: str | Iterable[str] | None
    leeway: float
    required: Iterable[str]
    typ: str | None
    scopes: Iterable[str]
    cookie: str | None
    origins: Iterable[str]
    query: str | None
    subprotocol: str | None
    exempt: Iterable[str]
    exempt_preflight: bool
    optional: bool
    revocation: bool | Blacklist
    legacy: str | Iterable[str]
    without_jti: Literal["hash", "refuse"]
    max_lifetime: float
    on_outage: Literal["closed", "open", "last_known"]
    max_age: float
    keep_sockets: bool
    on_refused: OnRefused | None
    max_size: int
    cache_size: int
    realm: str
    tenant: str | None
    name: str


class JWTAuthMiddleware(GuardMiddleware):
    """Authenticate requests of `app` by JSON Web Tokens; options are those of `JWTAuth`, or a `guard` made of it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: JWTAuth | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[JWTAuthOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", options)
            super().__init__(app, (guard or JWTAuth(**options),), redis=redis, hooks=hooks, key_tag=key_tag)
