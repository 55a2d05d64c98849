"""`RateLimitMiddleware`: the engine with one `RateLimit`, for `app.add_middleware`. A constructor and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict, Unpack

from ..core.asgi import ASGIApp
from ..core.client_ip import TrustedProxies
from ..core.guard import OnRefused
from ..errors import ConfigurationError
from ..middleware.engine import GuardMiddleware
from ..middleware.lifespan import faults_told
from ..observability.events import Hook
from ..redis.manager import RedisManager
from .guard import Cost, RateLimit
from .identity import KeyPart
from .policy import Algorithm


class RateLimitOptions(TypedDict, total=False):
    """The keyword options of `RateLimit`, for type checkers; their meaning stands there."""

    key: KeyPart | Iterable[KeyPart]
    cost: Cost
    name: str | None
    algorithm: Algorithm
    burst: int | None
    paths: Iterable[str]
    exempt: Iterable[str]
    exempt_preflight: bool
    trusted_proxies: Iterable[str] | TrustedProxies
    unidentified: Literal["refuse", "allow"]
    on_outage: Literal["local", "open", "closed"]
    on_refused: OnRefused | None
    local_keys: int
    legacy_headers: bool


class RateLimitMiddleware(GuardMiddleware):
    """Limit the requests of `app`: `limits` and options are those of `RateLimit`, or a `guard` made of it."""

    def __init__(
        self,
        app: ASGIApp,
        *limits: str,
        guard: RateLimit | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        **options: Unpack[RateLimitOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", [*limits, *options])
            super().__init__(app, (guard or RateLimit(*limits, **options),), redis=redis, hooks=hooks)
