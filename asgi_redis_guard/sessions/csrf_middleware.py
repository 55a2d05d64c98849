"""`CSRFMiddleware`: the engine with one `CSRF`, for `app.add_middleware`. A constructor and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict, Unpack

from ..core.asgi import ASGIApp
from ..core.client_ip import TrustedProxies
from ..core.guard import OnRefused
from ..core.key_tag import KeyTagLike
from ..errors import ConfigurationError
from ..middleware.engine import GuardMiddleware
from ..middleware.fusion import guards_inside
from ..middleware.lifespan import faults_told
from ..observability.events import Hook
from ..redis.manager import RedisManager
from .csrf import CSRF
from .events import SecurityEvents
from .guard import Sessions


class CSRFOptions(TypedDict, total=False):
    """The keyword options of `CSRF`, for type checkers; their meaning stands there."""

    key: str | bytes | Iterable[str | bytes]
    header: str
    field: str | None
    max_body: int
    origins: Iterable[str]
    bearer_exempt: bool
    events: SecurityEvents | None
    trusted_proxies: Iterable[str] | TrustedProxies
    exempt: Iterable[str]
    exempt_preflight: bool
    on_refused: OnRefused | None
    name: str


class CSRFMiddleware(GuardMiddleware):
    """Protect the sessions of `app` against forged requests; options are those of `CSRF`, or a `guard` made of it.

    It belongs inside of `SessionMiddleware`, so it is added before it; the other way round is refused.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: CSRF | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[CSRFOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", options)
            super().__init__(app, (guard or CSRF(**options),), redis=redis, hooks=hooks, key_tag=key_tag)
            inside = [guard for guard in guards_inside(self.app) if isinstance(guard, Sessions)]
            if inside and not any(isinstance(other, Sessions) for other in self.guards):
                raise ConfigurationError(
                    "guards: csrf stands outside of sessions; add it before SessionMiddleware, so that it runs after"
                )
