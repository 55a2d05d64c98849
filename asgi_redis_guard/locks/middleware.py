"""`RouteLockMiddleware`: the engine with one `RouteLock`, for `app.add_middleware`. A constructor and nothing else."""

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
from .guard import RouteLock
from .options import RouteLockOptions


class RouteLockMiddleware(GuardMiddleware):
    """Let one request at a time into `app` for each `key`: options are those of `RouteLock`, or a `guard` of it."""

    def __init__(
        self,
        app: ASGIApp,
        key: str | Iterable[str] | None = None,
        *,
        guard: RouteLock | None = None,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        **options: Unpack[RouteLockOptions],
    ) -> None:
        with faults_told():
            if guard is not None:
                ConfigurationError.refuse_both("guard", [*(["key"] if key is not None else []), *options])
            elif key is None:
                raise ConfigurationError("key: none given; say what is locked, as 'import:{user}'")
            else:
                guard = RouteLock(key, **options)
            super().__init__(app, (guard,), redis=redis, hooks=hooks, key_tag=key_tag)
