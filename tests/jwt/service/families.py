"""Refresh families as the tests want them: long-lived, with a grace or without."""

from asgi_redis_guard.jwt.service.families import FamilyLimits, Verdict
from asgi_redis_guard.jwt.service.family_store import FamilyStore
from asgi_redis_guard.jwt.service.refresh_token import RefreshToken

DAY = 86_400_000  # ms
LIMITS = FamilyLimits(idle=7 * DAY, lifetime=30 * DAY, grace=20_000, most_replays=100, keep=3_600_000)
STRICT = FamilyLimits(idle=7 * DAY, lifetime=30 * DAY, grace=0, most_replays=0, keep=3_600_000)
NOTE = b'{"sub":"user-1234567","scope":"orders:read orders:write profile","client":"web","auth_time":1700000000}'


async def begun(store: FamilyStore, user: str = "ann", **marks: str) -> RefreshToken:
    """Begin a family, and return its first token."""
    family, _ = await store.begin(user, NOTE, **marks)
    return RefreshToken(family, 1)


async def verdict(store: FamilyStore, token: RefreshToken) -> Verdict:
    """Present a token."""
    return (await store.rotate(token)).verdict


def successor(token: RefreshToken) -> RefreshToken:
    return token._replace(number=token.number + 1)
