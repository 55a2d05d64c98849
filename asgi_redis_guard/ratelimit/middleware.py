"""`RateLimitMiddleware`: the engine with one `RateLimit`, for `app.add_middleware`. A constructor and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.asgi import ASGIApp
from ..middleware.engine import GuardMiddleware
from ..observability.events import Hook
from ..redis.manager import RedisManager
from .guard import RateLimit


class RateLimitMiddleware(GuardMiddleware):
    """Limit the requests of `app`: `limits` and options are those of `RateLimit`, or a `policy` made of it."""

    def __init__(
        self,
        app: ASGIApp,
        *limits: str,
        policy: RateLimit | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        **options: Any,
    ) -> None:
        super().__init__(app, (policy or RateLimit(*limits, **options),), redis=redis, hooks=hooks)
