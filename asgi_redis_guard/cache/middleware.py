"""The engine with one `ResponseCache`, for `app.add_middleware`. Constructors and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from ..core.asgi import ASGIApp
from ..core.key_tag import KeyTagLike
from ..errors import ConfigurationError
from ..middleware.engine import GuardMiddleware
from ..middleware.lifespan import faults_told
from ..observability.events import Hook
from ..redis.manager import RedisManager
from .guard import ResponseCache
from .options import ResponseCacheOptions


class ResponseCacheMiddleware(GuardMiddleware):
    """Cache the responses of `app`: the options are those of `ResponseCache`, or a `guard` made of it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        guard: ResponseCache | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[ResponseCacheOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", options)
            super().__init__(app, (guard or ResponseCache(**options),), redis=redis, hooks=hooks, key_tag=key_tag)
