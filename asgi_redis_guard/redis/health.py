"""What `INFO` says about a server that is to keep revocations, sessions and locks: named warnings, no judgement."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, TypeVar

from ..errors import OperationFailed, RedisUnavailable
from .address import Address
from .slots import SLOTS

if TYPE_CHECKING:
    from ..settings import Settings
    from .cluster_node import ClusterNode
    from .links import Links
    from .manager import RedisManager
    from .topology import Topology

logger = logging.getLogger("asgi_redis_guard.redis")

T = TypeVar("T")
Submit = Callable[[tuple[Any, ...]], Awaitable[Any]]

OLDEST = (6, 2)

#: Seconds by which the server's clock may differ from this machine's; times of tokens are judged by both.
CLOCK = 2.0

#: Policies under which a full server never drops a key.
_KEEPS_ALL = ("noeviction",)


class NodeHealth(TypedDict):
    """One primary of a cluster, and how many slots it serves."""

    address: str
    slots: int
    healthy: bool
    latency_ms: float | None
    breaker: Literal["open", "closed"]
    error: str | None


class Health(TypedDict):
    """What `RedisManager.health()` tells. `latency_ms` is that of one PING; `warnings` maps names to sentences.

    A cluster has `nodes`; it is healthy if all of them are and no slot is without one.
    """

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
    nodes: list[NodeHealth]


async def examine(manager: RedisManager) -> Health:
    """PING and INFO over lane 2 in one round trip, of each primary of a cluster; as one dictionary."""
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
        nodes=[],
    )
    if links.topology is None:
        seen = await _look(links.lane2.submit)
        if seen.info is not None:
            health["server"], health["version"] = describe(seen.info)
            health["warnings"] = _audit(seen, manager, links.address)
        health["healthy"] = health["connected"] = seen.latency is not None
        health["latency_ms"], health["error"] = seen.latency, seen.error
    else:
        await _examine_cluster(health, manager, links, links.topology)
    health["warnings"].update(links.losses.warnings())
    for resident in links.residents.values():
        health["warnings"].update(resident.warnings())
    if links.replicas is not None:
        health["warnings"].update(links.replicas.warnings())
    health["breaker"] = links.breaker.state
    return health


async def _examine_cluster(health: Health, manager: RedisManager, links: Links, topology: Topology) -> None:
    """Look at all primaries at once; where none is known yet, that is waited for."""
    if not topology.known and (seen := await _look(links.lane2.submit)).error is not None:
        health["error"] = seen.error
        return
    nodes = topology.primaries
    looks = await asyncio.gather(*(_look(node.lane2.submit) for node in nodes))
    for node, seen in zip(nodes, looks, strict=True):
        health["nodes"].append(_node_health(topology, node, seen))
        if seen.info is not None:
            health["server"], health["version"] = describe(seen.info)
            for name, sentence in _audit(seen, manager, node.address).items():
                health["warnings"].setdefault(name, f"{node.place}: {sentence}")
    if topology.map.missing:
        health["warnings"]["slots"] = f"{topology.map.missing} of {SLOTS} slots are served by nobody"
    health["connected"] = any(found["healthy"] for found in health["nodes"])
    health["healthy"] = all(found["healthy"] for found in health["nodes"]) and not topology.map.missing
    health["latency_ms"] = max((seen.latency for seen in looks if seen.latency is not None), default=None)
    health["error"] = next((found["error"] for found in health["nodes"] if found["error"] is not None), None)


def _node_health(topology: Topology, node: ClusterNode, seen: _Seen) -> NodeHealth:
    return NodeHealth(
        address=str(node.place),
        slots=topology.map.slots_of(node.place),
        healthy=seen.latency is not None,
        latency_ms=seen.latency,
        breaker=node.breaker.state,
        error=None if seen.error is None else f"{node.place}: {seen.error}",
    )


class _Seen(NamedTuple):
    """What one server has told: the milliseconds of a PING, INFO, and what went wrong."""

    latency: float | None
    info: dict[str, str] | None
    error: str | None


async def _look(submit: Submit) -> _Seen:
    latency, info = await asyncio.gather(_or_error(_ping, submit), _or_error(_info, submit))
    return _Seen(
        latency if isinstance(latency, float) else None,
        info if isinstance(info, dict) else None,
        next((str(error) for error in (latency, info) if isinstance(error, RedisUnavailable)), None),
    )


def _audit(seen: _Seen, manager: RedisManager, address: Address) -> dict[str, str]:
    info, latency = seen.info or {}, (seen.latency or 0.0) / 1000
    place = address if manager.address.cluster else manager.address  # an embedded server has a socket of its own
    protected = address.credentials is not None or address.provider is not None
    found = audit(info, place, manager.settings, protected=protected) | clock(info, time.time(), latency)
    if info.get("cluster_enabled") == "1" and not manager.address.cluster:
        found["cluster"] = "the server is one of a cluster and refuses what concerns others; say redis+cluster://"
    return found


def tell(health: Health) -> None:
    """Log the warnings, a line each."""
    for name, sentence in health["warnings"].items():
        logger.warning("[%s] %s", name, sentence)


async def _or_error(ask: Callable[[Submit], Awaitable[T]], submit: Submit) -> T | RedisUnavailable:
    try:
        return await ask(submit)
    except RedisUnavailable as error:
        return error


async def _ping(submit: Submit) -> float:
    """Return the milliseconds that a PING takes."""
    started = time.perf_counter()
    try:
        await submit(("PING",))
    except OperationFailed as error:
        if error.code != "NOPERM":  # an account without the right to it has been answered too
            raise
    return round((time.perf_counter() - started) * 1000, 3)


async def _info(submit: Submit) -> dict[str, str]:
    """INFO where it is allowed; an account without the right to it tells nothing, which is no fault."""
    try:
        return parse_info(await submit(("INFO",)))
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
