"""`SessionMiddleware`: sessions as a middleware of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict, Unpack

from ..core.asgi import ASGIApp
from ..core.client_ip import TrustedProxies
from ..core.guard import OnRefused
from ..core.key_tag import KeyTagLike
from ..errors import ConfigurationError
from ..middleware.engine import GuardMiddleware
from ..middleware.lifespan import faults_told
from ..observability.events import Hook
from ..redis.manager import RedisManager
from .crypto import SessionCipher
from .events import SecurityEvents
from .guard import Sessions
from .policy import OnExcess, SameSite


class SessionOptions(TypedDict, total=False):
    """The options of `Sessions`."""

    session_cookie: str
    max_age: float
    idle: float | None
    path: str
    domain: str | None
    same_site: SameSite
    https_only: bool
    partitioned: bool
    persistent: bool
    key: str | bytes
    principal: Iterable[str]
    overlap: float
    origins: Iterable[str]
    max_size: int
    max_sessions: int | None
    on_excess: OnExcess
    trusted_proxies: Iterable[str] | TrustedProxies
    statistics: bool
    events: SecurityEvents | None
    remembered: int
    lazy: bool
    read_from_replicas: bool
    encryption: SessionCipher | None
    exempt: Iterable[str]
    exempt_preflight: bool
    on_outage: Literal["closed", "anonymous"]
    on_refused: OnRefused | None
    name: str


class SessionMiddleware(GuardMiddleware):
    """Give requests of `app` a session; options are those of `Sessions`, or a `guard` made of it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: Sessions | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[SessionOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", options)
            super().__init__(app, (guard or Sessions(**options),), redis=redis, hooks=hooks, key_tag=key_tag)
