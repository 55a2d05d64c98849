"""One cell of the campaign: a fault on a world under load, and what must hold before, meanwhile and after.

Law: nothing is forgiven here but the slowness of the machine, which is measured and taken off.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from asgi_redis_guard import RedisManager
from tests.faults.campaign.callers import Leaver, load_on
from tests.faults.campaign.faults import Fault
from tests.faults.campaign.load import Load
from tests.faults.campaign.measure import Lines, longest, recovery, resident, settled, speed
from tests.faults.campaign.oracle import TOKEN, Oracle
from tests.faults.campaign.site import LOCK_TTL, Site
from tests.faults.campaign.world import WORLDS, World
from tests.faults.locks import nothing_is_left_of

#: Managers with stacks of their own that serve the load, as processes do.
PROCESSES = 2

#: Seconds that a request waits for Redis at the most, as they are by default.
TIMEOUT = 0.5

#: Seconds within which a mirror has what was revoked elsewhere, as is the default.
STALE = 2.0

#: Seconds after the server's return within which there is full speed again.
RECOVERY = 5.0

#: Bytes by which memory may have grown: the samples of a run are kept, and the allocator keeps what was free.
GROWTH = 24 << 20

#: Lines that a fault may make in the log, of each node and process.
LINES = 15


@dataclass
class Row:
    """A line of the table."""

    world: str
    fault: str
    requests: int = 0
    speed: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    longest: float = 0.0
    recovery: float | None = None
    growth: int = 0
    lines: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


async def run(kind: str, fault: Fault, *, steady: float) -> Row:
    """Run one cell, with `steady` seconds of load before the fault; `Row.faults` says what was wrong."""
    row, oracle = (
        Row(kind, fault.name),
        Oracle(fault.excused, recent=fault.recent, stale=STALE if fault.mirrored else 0.0),
    )
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(WORLDS[kind](proxied=fault.proxied, **fault.options))
        stack.push_async_callback(_closed, row, world)
        for _ in range(PROCESSES):
            manager = RedisManager(world.url, credential_provider=world.provider, timeout=TIMEOUT)
            world.managers.append(await stack.enter_async_context(manager))
        await _load(row, fault, world, oracle, steady)
        row.faults += await _left(world)
    row.lost = dict(oracle.lost)
    row.faults += oracle.wrong[:20]
    return row


async def _load(row: Row, fault: Fault, world: World, oracle: Oracle, steady: float) -> None:
    sites = [Site(manager, oracle, replicas=world.replicas, mirrored=fault.mirrored) for manager in world.managers]
    with Lines() as lines:
        async with load_on(sites, oracle, timeout=TIMEOUT) as load:
            await asyncio.sleep(steady)  # scripts are loaded, what is remembered is there
            memory, began = resident(), time.perf_counter()
            await asyncio.sleep(steady)
            row.speed = speed(load.samples, began, time.perf_counter())
            before = await world.connections()
            if any(load.errors[kind] for kind in load.errors if kind.startswith("5") and "lock" not in kind):
                row.faults.append(f"errors before the fault: {dict(load.errors)}")
            load.errors.clear()
            oracle.fault_begins()
            async with fault.act(world):
                await asyncio.sleep(fault.seconds)
                row.faults += await _unsaid(fault, world)
            oracle.fault_ends()
            if fault.accepted:
                oracle.excused |= {TOKEN}
                await world.managers[0].accept_loss()
            row.recovery = await _recover(load, row.speed)
        row.growth, row.lines = resident() - memory, len(lines.lines)
        await _come_again(load)
    _judge(row, load, len(world.servers))
    if (after := await world.connections()) > before:
        row.faults.append(f"{after} connections, {before} before")


async def _unsaid(fault: Fault, world: World) -> list[str]:
    """Return what `health()` should say of a fault and does not, in any process, once it has found the server again."""
    deadline = time.perf_counter() + RECOVERY
    while fault.warns:
        told = [(await manager.health())["warnings"] for manager in world.managers]
        if all(fault.warns in warnings for warnings in told):
            break
        if time.perf_counter() > deadline:
            return [f"health() does not warn of {fault.warns}: {told}"]
        await asyncio.sleep(0.1)
    return []


async def _recover(load: Load, before: float) -> float | None:
    """Wait for a second of full speed; where it comes late, it may be the machine that has become slower."""
    back, lag, found = time.perf_counter(), load.lag.total(), None
    while (now := time.perf_counter()) < back + RECOVERY + 2 + min(RECOVERY, load.lag.total() - lag) and found is None:
        await asyncio.sleep(0.05)
        found = recovery(load.samples, back, now, before)
    if found is None or found > RECOVERY:
        found = recovery(load.samples, back, now, settled(load.samples, now - 2, now, before))
    return found


async def _come_again(load: Load) -> None:
    """Nobody with a token that was revoked gets in, now that all is well."""
    leaver = Leaver(load, "leaver")
    for token in load.oracle.revoked:
        if await leaver.comes_with(token) == 503:
            load.oracle.found("well", "503 after all was well again")
            return


def _judge(row: Row, load: Load, nodes: int) -> None:
    row.requests, row.errors, row.longest = len(load.samples), dict(load.errors.most_common()), longest(load)
    row.faults += load.late[:5]
    if row.recovery is None or row.recovery > RECOVERY:
        row.faults.append(f"no full speed ({row.speed:.0f} requests/s before) within {RECOVERY:g} s")
    if row.growth > GROWTH:
        row.faults.append(f"memory grew by {row.growth >> 20} MB")
    if row.lines > LINES * nodes * PROCESSES:
        row.faults.append(f"{row.lines} lines in the log")


async def _left(world: World) -> list[str]:
    """Return what was left behind by the load: leases, tasks, keys without an end, locks that nobody gives back."""
    for manager in world.managers:
        await nothing_is_left_of(manager)
    deadline = time.perf_counter() + LOCK_TTL + 2
    while True:
        keys = await world.keys()
        held = [key for key in keys if key.startswith((b"guard:k:", b"guard:c:"))]
        if not held or time.perf_counter() > deadline:
            break
        await asyncio.sleep(0.2)
    endless = [key for key, left in keys.items() if left == -1]
    return [f"left: {key!r}" for key in [*held, *endless][:5]]


async def _closed(row: Row, world: World) -> None:
    """No connection outlives its manager."""
    open_ = await world.connections()
    deadline = time.perf_counter() + 5
    while open_ and time.perf_counter() < deadline:
        await asyncio.sleep(0.05)
        open_ = await world.connections()
    if open_:
        row.faults.append(f"{open_} connections outlive the manager")
