"""The faults of the campaign: each a context in which something is wrong with the servers, or with the way to them.

Law: when a context ends, its fault is over and the servers can serve again: from there the time to recover is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from asgi_redis_guard.redis.slots import slot_of
from tests.faults.campaign.means import empty, fill, latency, often
from tests.faults.campaign.oracle import LIMIT, LOCK, SESSION, TOKEN, TWICE
from tests.faults.campaign.world import OfCluster, World, keys_of
from tests.servers import Option

#: What may be gone with a server's data, or where a replica takes over that did not have it yet. Revocations are not
#: among it: they are acknowledged when a replica has them.
DATA = (LIMIT, LOCK, SESSION, TWICE)

Act = Callable[[World], AsyncIterator[None]]


@dataclass(frozen=True)
class Fault:
    """One fault: `on` these worlds, for some `seconds`; `excused` are the wrong answers that come of lost data.

    With `recent`, nothing is lost that replicas had. `options` are the servers'; `warns` is what `health()` must say
    meanwhile. `accepted`: in the end an operator says go, although revocations are lost. `mirrored`: the processes have
    mirrors of the blacklist.
    """

    name: str
    act: Callable[[World], AbstractAsyncContextManager[None]]
    on: tuple[str, ...]
    seconds: float
    proxied: bool
    excused: frozenset[str]
    recent: bool
    options: dict[str, Option] = field(default_factory=dict)
    warns: str | None = None
    accepted: bool = False
    mirrored: bool = False


FAULTS: dict[str, Fault] = {}


def fault(
    name: str,
    *,
    on: Iterable[str] = ("single", "cluster", "sentinel"),
    seconds: float = 2.0,
    proxied: bool = False,
    excused: Iterable[str] = (),
    recent: bool = False,
    warns: str | None = None,
    accepted: bool = False,
    mirrored: bool = False,
    **options: Option,
) -> Callable[[Act], Act]:
    """Enter a fault into the list."""

    def enter(act: Act) -> Act:
        FAULTS[name] = Fault(
            name,
            asynccontextmanager(act),
            on=tuple(on),
            seconds=seconds,
            proxied=proxied,
            excused=frozenset(excused),
            recent=recent,
            options=options,
            warns=warns,
            accepted=accepted,
            mirrored=mirrored,
        )
        return act

    return enter


off = asyncio.to_thread

SLOTS_TO_MOVE = 24


@fault("killed, back with its data", appendonly="yes", on=("single",))
async def killed(world: World) -> AsyncIterator[None]:
    await off(world.victim.kill)
    yield
    await off(world.victim.start)


@fault("restarted empty, accepted", seconds=4.0, excused=DATA, warns="data_lost", accepted=True)
async def emptied(world: World) -> AsyncIterator[None]:
    await world.empty()
    yield
    await world.until_well()


@fault("restarted empty, mirrored", seconds=4.0, excused=DATA, mirrored=True)
async def emptied_under_mirrors(world: World) -> AsyncIterator[None]:
    """What processes hold in memory comes back, before anybody goes by what is there."""
    await world.empty()
    yield
    await world.until_well()


@fault("killed, a replica takes over", on=("cluster", "sentinel"), seconds=4.0, excused=DATA, recent=True)
async def replaced(world: World) -> AsyncIterator[None]:
    await off(world.victim.kill)
    yield
    await off(world.victim.start)
    await world.until_well()


@fault("failed over in order", on=("cluster",))
async def failed_over(world: World) -> AsyncIterator[None]:
    """The replica has everything before it takes over."""
    await world.fail_over()
    yield


@fault("failed over at once", on=("sentinel",), excused=DATA, recent=True)
async def failed_over_at_once(world: World) -> AsyncIterator[None]:
    await world.fail_over()
    yield


@fault("stopped and continued", on=("single",))
async def stopped(world: World) -> AsyncIterator[None]:
    world.victim.pause()
    yield
    world.victim.resume()


@fault("stopped, replaced and continued", on=("cluster", "sentinel"), seconds=4.0, excused=DATA, recent=True)
async def stopped_for_long(world: World) -> AsyncIterator[None]:
    world.victim.pause()
    yield
    world.victim.resume()
    await world.until_well()


@fault("resharded", on=("cluster",), seconds=0.0)
async def resharded(world: World) -> AsyncIterator[None]:
    """Some slots with keys move from one to the next, and back."""
    assert isinstance(world, OfCluster)
    source, *others = world.primaries
    keys = [key for key, _ in await off(lambda: list(keys_of(source)))]
    for slot in sorted({slot_of(key) for key in keys})[:SLOTS_TO_MOVE]:
        for begin, end in ((source, others[0]), (others[0], others[1]), (others[1], source)):
            await off(world.cluster.migrate, slot, begin, end)
    yield


@fault("full, noeviction", on=("single", "cluster"))
async def full(world: World) -> AsyncIterator[None]:
    for server in world.primaries:
        await off(fill, server)
    yield
    for server in world.primaries:
        await off(empty, server)


@fault("full, volatile-lru", on=("single", "cluster"), excused=(*DATA, TOKEN), warns="eviction", accepted=True)
async def evicting(world: World) -> AsyncIterator[None]:
    """A server that drops revocations cannot know it; only where it drops its record of them, too, is it noticed."""
    for server in world.primaries:
        await off(server.command, "CONFIG", "SET", "maxmemory-policy", "volatile-lru")
        await off(fill, server)
    yield
    for server in world.primaries:
        await off(empty, server)


@fault("CLIENT PAUSE", seconds=1.5, on=("single", "cluster"))
async def client_pause(world: World) -> AsyncIterator[None]:
    for server in world.primaries:
        await off(server.command, "CLIENT", "PAUSE", 1500, "ALL")
    yield


@fault("CLIENT PAUSE, replaced meanwhile", on=("sentinel",), seconds=4.0, excused=DATA, recent=True)
async def paused_for_long(world: World) -> AsyncIterator[None]:
    """Sentinels count such a server as down; until they have told it so, it takes writes that nobody will have."""
    await off(world.victim.command, "CLIENT", "PAUSE", 1500, "ALL")
    yield
    await world.until_well()


@fault("SCRIPT FLUSH")
async def script_flush(world: World) -> AsyncIterator[None]:
    async with often(lambda: [off(server.command, "SCRIPT", "FLUSH") for server in world.primaries]):
        yield


@fault("another password")
async def another_password(world: World) -> AsyncIterator[None]:
    await world.change_password("second")
    yield
    world.provider.password = "second"


@fault("a black hole", proxied=True)
async def black_hole(world: World) -> AsyncIterator[None]:
    for proxy in world.proxies:
        proxy.black_hole()
    yield
    for proxy in world.proxies:
        proxy.heal()


@fault("slower by 50 ms", proxied=True)
async def slower(world: World) -> AsyncIterator[None]:
    async with latency(world, 0.05):
        yield


@fault("slower by 500 ms", proxied=True)
async def much_slower(world: World) -> AsyncIterator[None]:
    async with latency(world, 0.5):
        yield


@fault("cut before the reply", proxied=True)
async def cut(world: World) -> AsyncIterator[None]:
    async def cut_all() -> None:
        for proxy in world.proxies:
            proxy.cut_after_request(b"EVALSHA")

    async with often(lambda: [cut_all()]):
        yield
    for proxy in world.proxies:
        proxy.heal()
