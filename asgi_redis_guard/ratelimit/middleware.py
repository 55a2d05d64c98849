"""The engine with one `RateLimit` or `MessageLimit`, for `app.add_middleware`. Constructors and nothing else."""

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
from .guard import RateLimit
from .options import MessageLimitOptions, RateLimitOptions
from .rules import LimitsFor
from .sockets import MessageLimit


class RateLimitMiddleware(GuardMiddleware):
    """Limit the requests of `app`: `limits` and options are those of `RateLimit`, or a `guard` made of it."""

    def __init__(
        self,
        app: ASGIApp,
        *limits: str | LimitsFor,
        guard: RateLimit | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[RateLimitOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", [*map(str, limits), *options])
            super().__init__(app, (guard or RateLimit(*limits, **options),), redis=redis, hooks=hooks, key_tag=key_tag)


class MessageLimitMiddleware(GuardMiddleware):
    """Limit the messages to the WebSockets of `app`: as `MessageLimit`, or a `guard` made of it."""

    def __init__(
        self,
        app: ASGIApp,
        *limits: str | LimitsFor,
        guard: MessageLimit | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[MessageLimitOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", [*map(str, limits), *options])
            super().__init__(
                app, (guard or MessageLimit(*limits, **options),), redis=redis, hooks=hooks, key_tag=key_tag
            )
