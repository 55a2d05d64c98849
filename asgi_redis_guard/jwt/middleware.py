"""`JWTAuthMiddleware`: the engine with one `JWTAuth`, for `app.add_middleware`. A constructor and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.asgi import ASGIApp
from ..middleware.engine import GuardMiddleware
from ..observability.events import Hook
from ..redis.manager import RedisManager
from .guard import JWTAuth


class JWTAuthMiddleware(GuardMiddleware):
    """Authenticate every request of `app` by a JSON Web Token; options are those of `JWTAuth`, or a `policy` made of it."""

    def __init__(
        self,
        app: ASGIApp,
        policy: JWTAuth | None = None,
        *,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        **options: Any,
    ) -> None:
        super().__init__(app, (policy or JWTAuth(**options),), redis=redis, hooks=hooks)
