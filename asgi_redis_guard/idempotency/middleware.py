"""`IdempotencyMiddleware`: the engine with one `Idempotency`, for `app.add_middleware`."""

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
from .guard import Idempotency


class IdempotencyOptions(TypedDict, total=False):
    """The keyword options of `Idempotency`, for type checkers; their meaning stands there."""

    methods: Iterable[str]
    required: bool
    key: KeyPart | Iterable[KeyPart]
    ttl: float
    lease: float
    wait: float
    max_body: int
    max_response: int
    on_outage: Literal["closed", "open"]
    unidentified: Literal["refuse", "allow"]
    paths: Iterable[str]
    exempt: Iterable[str]
    exempt_preflight: bool
    trusted_proxies: Iterable[str] | TrustedProxies
    name: str | None
    header: str
    on_refused: OnRefused | None


class IdempotencyMiddleware(GuardMiddleware):
    """Carry out requests with an `Idempotency-Key` once: options are those of `Idempotency`, or a `guard` of it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: Idempotency | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[IdempotencyOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", options)
            super().__init__(app, (guard or Idempotency(**options),), redis=redis, hooks=hooks, key_tag=key_tag)
