"""`ConcurrencyLimitMiddleware`: the engine with one `ConcurrencyLimit`, for `app.add_middleware`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict, Unpack

from ..core.asgi import ASGIApp
from ..core.client_ip import TrustedProxies
from ..core.guard import OnRefused
from ..core.identity import KeyPart
from ..core.key_tag import KeyTagLike
from ..errors import ConfigurationError
from ..middleware.engine import GuardMiddleware
from ..middleware.lifespan import faults_told
from ..observability.events import Hook
from ..redis.manager import RedisManager
from .concurrency import ConcurrencyLimit
from .options import Cost


class ConcurrencyLimitOptions(TypedDict, total=False):
    """The keyword options of `ConcurrencyLimit`, for type checkers; their meaning stands there."""

    key: KeyPart | Iterable[KeyPart]
    cost: Cost
    ttl: float
    name: str | None
    paths: Iterable[str]
    exempt: Iterable[str]
    exempt_preflight: bool
    trusted_proxies: Iterable[str] | TrustedProxies
    unidentified: Literal["refuse", "allow"]
    on_outage: Literal["local", "open", "closed"]
    on_refused: OnRefused | None


class ConcurrencyLimitMiddleware(GuardMiddleware):
    """Limit how many requests of `app` run at once: options are those of `ConcurrencyLimit`, or a `guard` of it."""

    def __init__(
        self,
        app: ASGIApp,
        amount: int | None = None,
        *,
        guard: ConcurrencyLimit | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[ConcurrencyLimitOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", [*(["amount"] if amount is not None else []), *options])
            elif amount is None:
                raise ConfigurationError("amount: none given; say how many requests of an identity may run at once")
            else:
                guard = ConcurrencyLimit(amount, **options)
            super().__init__(app, (guard,), redis=redis, hooks=hooks, key_tag=key_tag)
