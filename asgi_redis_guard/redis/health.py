"""What `INFO` says about a server that is to keep revocations, sessions and locks: named warnings, no judgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypedDict, TypeVar

from ..errors import OperationFailed, RedisUnavailable
from .address import Address

if TYPE_CHECKING:
    from ..settings import Settings
    from .links import Links
    from .manager import RedisManager

logger = logging.getLogger("asgi_redis_guard.redis")

T = TypeVar("T")

OLDEST = (6, 2)

#: Seconds by which the server's clock may differ from this machine's; times of tokens are judged by both.
CLOCK = 2.0

#: Policies under which a full server never drops a key.
_KEEPS_ALL = ("noeviction",)


class Health(TypedDict):
    """What `RedisManager.health()` tells. `latency_ms` is that of one PING; `warnings` maps names to sentences."""

    healthy: bool
    latency_ms: float | None
    connected: bool
    pool_size: int
    in_flight: int
    server: str | None
    version: str | None
    breaker: Literal["open", "closed"]
    error: str | None
    warnings: dict[str, str]


async def examine(manager: RedisManager) -> Health:
    """PING and INFO over lane 2 in one round trip, as one dictionary."""
    links = manager.links
    health = Health(
        healthy=False,
        latency_ms=None,
        connected=False,
        pool_size=manager.settings.max_connections,
        in_flight=links.lane1.in_flight + links.lane2.in_flight,
        server=None,
        version=None,
        breaker=links.breaker.state,
        error=None,
        warnings={},
    )
    latency, info = await asyncio.gather(_or_error(_ping, links), _or_error(_info, links))
    if isinstance(latency, float):
        health["latency_ms"] = latency
        health["healthy"] = health["connected"] = True
    if isinstance(info, dict):
        health["server"], health["version"] = describe(info)
        protected = links.address.credentials is not None or links.address.provider is not None
        told = audit(info, manager.address, manager.settings, protected=protected)
        health["warnings"] = told | clock(info, time.time(), (health["latency_ms"] or 0) / 1000)
    for resident in links.residents.values():
        health["warnings"].update(resident.warnings())
    health["error"] = next((str(error) for error in (latency, info) if isinstance(error, RedisUnavailable)), None)
    health["breaker"] = links.breaker.state
    return health


def tell(health: Health) -> None:
    """Log the warnings, a line each."""
    for name, sentence in health["warnings"].items():
        logger.warning("[%s] %s", name, sentence)


async def _or_error(ask: Callable[[Links], Awaitable[T]], links: Links) -> T | RedisUnavailable:
    try:
        return await ask(links)
    except RedisUnavailable as error:
        return error


async def _ping(links: Links) -> float:
    """Return the milliseconds that a PING takes."""
    started = time.perf_counter()
    try:
        await links.lane2.submit(("PING",))
    except OperationFailed as error:
        if error.code != "NOPERM":  # an account without the right to it has been answered too
            raise
    return round((time.perf_counter() - started) * 1000, 3)


async def _info(links: Links) -> dict[str, str]:
    """INFO where it is allowed; an account without the right to it tells nothing, which is no fault."""
    try:
        return parse_info(await links.lane2.submit(("INFO",)))
    except OperationFailed:
        return {}


def parse_info(raw: bytes | str) -> dict[str, str]:
    """Return the fields of an `INFO` reply."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    pairs = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def describe(info: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the server's name (`valkey`, `redis`) and version, as far as INFO tells."""
    if "valkey_version" in info:
        return "valkey", info["valkey_version"]
    return ("redis", info["redis_version"]) if "redis_version" in info else (None, None)


def clock(info: Mapping[str, str], now: float, latency: float) -> dict[str, str]:
    """Return a warning where the server's clock is not this machine's, whose time is `now`; all in seconds.

    `latency` is how long ago the server may have looked at its clock.
    """
    told = info.get("server_time_usec", "")
    off = int(told) / 1e6 - now if told.isdigit() else 0.0
    if -CLOCK - latency <= off <= CLOCK:
        return {}
    sense = "ahead of" if off > 0 else "behind"
    return {
        "clock": f"the server's clock is {abs(off):.1f} s {sense} this machine's: limits, locks and sessions go by the "
        "one, tokens by the other; see to both"
    }


def audit(info: Mapping[str, str], address: Address, settings: Settings, *, protected: bool) -> dict[str, str]:
    """Return named warnings, each one sentence; `protected` says whether the server asked for a password."""
    found: dict[str, str] = {}
    policy = info.get("maxmemory_policy")
    if policy is not None and policy not in _KEEPS_ALL:
        found["eviction"] = (
            f"maxmemory-policy is {policy}: a full server may drop revoked tokens, limits, sessions and locks; "
            "use noeviction, or a server of its own"
        )
    version = info.get("redis_version", "")
    if version and tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        found["version"] = f"the server is version {version}; {OLDEST[0]}.{OLDEST[1]} is the oldest supported"
    if info.get("role") == "slave":
        found["role"] = "the server is a replica: it refuses writes"
    if address.scheme in ("memory", "embedded"):
        if settings.production:
            found["one_process"] = (
                f"{address.scheme}:// is of one process: others share neither its revocations nor its limits, "
                "and a restart forgets them"
            )
        return found
    if settings.production and info.get("aof_enabled") == "0":
        found["persistence"] = (
            "the append-only file is off (appendonly no): after a crash the server knows revoked tokens and sessions "
            "as of its last snapshot, if it makes any"
        )
    if not protected and (settings.production or not address.local):
        found["password"] = f"{address} asks for no password"
    if settings.production and not address.tls and not address.local:
        found["tls"] = f"{address} is reached without TLS (rediss://) in production"
    return found
