"""Token services for tests, and their tokens read by hand. Law: a service here is one of its own; Redis is shared."""

import json
import time
from typing import Any

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.service.token_service import TokenService
from tests.jwt.tokens import SECRET, unb64

ISSUER = "https://issuer.example"
REFRESH_KEY = "a secret of 32 bytes at least, for refresh tokens"


class Clock:
    """This host's time, moved by hand."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def service(redis: RedisManager, keys: Any = SECRET, **options: Any) -> TokenService:
    return TokenService(redis, keys, **{"issuer": ISSUER, "refresh_keys": REFRESH_KEY, **options})


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = json.loads(unb64(token.encode().split(b".")[1]))
    return claims


def header_of(token: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(unb64(token.encode().split(b".")[0]))
    return header
