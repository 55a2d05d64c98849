"""Locks of several processes under whatever may befall them, in random histories that are made smaller where they fail.

Judged is what holders may rely on: of those who hold it by their own clock there is one, unless the server has lost its
data; whoever came later has the greater fence, so that a store that refuses older ones never takes writes in the wrong
order; and when everybody has gone, nothing is left, in Redis and in the processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from asgi_redis_guard.errors import LockNotOwnedError, RedisUnavailable
from asgi_redis_guard.locks.lock import Lock
from tests.conftest import MakeServer
from tests.faults.locks import TIMEOUT, Process, held, nothing_is_left_of, outcome, steps
from tests.redis.tools import PATIENCE, eventually, within
from tests.servers import Server

PROCESSES, CALLERS = 2, 2

#: Seconds: one that runs out within a history, and one that does not.
SHORT, LONG = 0.4, 300.0

#: Their times, and whether they are renewed.
KINDS = [(SHORT, False), (SHORT, True), (LONG, True)]

#: What networks do.
FAULTS = ["cut", "cut", "reset_all", "drop_replies", "black_hole", "refuse", "slow"]


class Deed(NamedTuple):
    """What a caller does when it is its turn; which of it depends on how it stands."""

    who: int
    wait: float | None
    ends: bool
    after: int


DEED = st.builds(
    Deed,
    st.integers(0, PROCESSES * CALLERS - 1),
    st.sampled_from([0, 0, 0.03, 0.3, 5.0, None]),
    st.booleans(),
    st.integers(0, 12),
)

#: Seconds by which the clocks of the server and of this process may differ in what they call a millisecond.
GRAIN = 0.005


class Store:
    """What a lock is for: takes what is written with a fence, unless one with a later fence has written before."""

    def __init__(self) -> None:
        self.last = 0

    def write(self, fence: int) -> bool:
        """Write; tell whether that was taken."""
        if fence < self.last:
            return False
        self.last = fence
        return True


class Caller:
    """One who wants the lock, again and again, by one object; has one thing at a time under way."""

    def __init__(self, process: Process, ttl: float, renew: bool) -> None:
        self.process = process
        self.lock: Lock = process.lock(ttl=ttl, renew=renew, on_lost="tell")
        self.ttl = ttl
        self.held = False  # by what it was told, until it released it
        self.era = 0  # how often the server had lost its data when it got the lock
        self.acquiring: asyncio.Task[Any] | None = None

    @property
    def believes(self) -> bool:
        """True if it may go on, as far as it can know."""
        return self.held and not self.lock.lost.is_set() and self.lock.remaining() > GRAIN


class Locks(RuleBasedStateMachine):
    """Some processes, each with a network of its own, on one server."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.era = 0
        self.eras: dict[int, int] = {}
        self.store = Store()
        self.paused = False
        self.callers: list[Caller] = []
        self.processes: list[Process] = []

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    def do(self, what: Callable[[], Any]) -> Any:
        """Call it within the loop."""

        async def call() -> Any:
            return what()

        return self.run(call())

    # What befalls them.

    @initialize(kinds=st.lists(st.sampled_from(KINDS), min_size=PROCESSES * CALLERS, max_size=PROCESSES * CALLERS))
    def begin(self, kinds: list[tuple[float, bool]]) -> None:
        self.server.command("FLUSHALL")

        async def start() -> None:
            for number in range(PROCESSES):
                process = await Process(self.server.url, timeout=TIMEOUT).__aenter__()
                self.processes.append(process)
                for ttl, renew in kinds[number * CALLERS : (number + 1) * CALLERS]:
                    self.callers.append(Caller(process, ttl, renew))

        self.run(start())

    @rule(who=st.integers(0, PROCESSES - 1), fault=st.sampled_from(FAULTS))
    def the_network_fails(self, who: int, fault: str) -> None:
        proxy = self.processes[who].proxy
        if fault == "slow":
            proxy.latency = 0.03
        elif fault == "cut":
            proxy.cut_after_request(b"EVALSHA")
        else:
            self.do(getattr(proxy, fault))

    @rule()
    def the_network_heals(self) -> None:
        for process in self.processes:
            self.do(process.proxy.heal)

    @rule()
    @precondition(lambda self: not self.paused)
    def the_server_stops(self) -> None:
        self.server.pause()
        self.paused = True

    @rule()
    @precondition(lambda self: self.paused)
    def the_server_goes_on(self) -> None:
        self.server.resume()
        self.paused = False

    @rule(how=st.sampled_from(["flush", "evict", "restart"]))
    @precondition(lambda self: not self.paused)
    def the_server_loses_its_data(self, how: str) -> None:
        self.era += 1
        if how == "restart":
            self.server.restart()
        elif how == "flush":
            self.server.command("FLUSHALL")
        elif keys := held(self.server):
            self.server.command("DEL", *keys)

    @rule(seconds=st.sampled_from([0.01, 0.15, SHORT * 1.2]), blocked=st.booleans())
    def time_passes(self, seconds: float, blocked: bool) -> None:
        if blocked:
            time.sleep(seconds)
        self.run(asyncio.sleep(0.001 if blocked else seconds))

    # What they do.

    @rule(deeds=st.lists(DEED, min_size=1, max_size=4))
    def they_act(self, deeds: list[Deed]) -> None:
        """Each does what it can: one that is idle asks, one that waits may give up, a holder writes or releases."""
        for deed in deeds:
            self.settle()
            caller = self.callers[deed.who]
            if caller.held:
                self.run(self.goes_on(caller, deed))
            elif caller.acquiring is None:
                self.asks(caller, deed)
            elif deed.ends:
                self.run(steps(deed.after))
                self.do(caller.acquiring.cancel)
                self.run(within(asyncio.wait([caller.acquiring]), 5))

    def asks(self, caller: Caller, deed: Deed) -> None:
        if deed.ends and deed.after == 0:
            assert isinstance(self.run(outcome(caller.lock.release())), LockNotOwnedError)
        caller.acquiring = self.loop.create_task(self.acquire(caller, deed.wait))
        if deed.wait is not None and deed.wait < 1:
            self.run(within(asyncio.wait([caller.acquiring])))

    async def goes_on(self, caller: Caller, deed: Deed) -> None:
        if deed.ends:
            await self.release(caller, deed.after if deed.after > 4 else None)
        elif deed.after % 2:
            await self.extend(caller, 0.2 if deed.after % 4 == 1 else 1, replace=deed.after < 6)
        elif caller.believes:
            assert caller.lock.fence is not None
            taken = self.store.write(caller.lock.fence)
            assert taken or caller.era != self.era, "who holds it for certain is refused"

    async def acquire(self, caller: Caller, wait: float | None) -> None:
        era, lock = self.era, caller.lock
        try:
            got = await (lock.acquire(blocking=False) if wait == 0 else lock.acquire(blocking_timeout=wait))
        except RedisUnavailable:
            return
        if got:
            caller.held, caller.era = True, self.era
            self.granted(caller, same_era=era == self.era)

    def granted(self, caller: Caller, *, same_era: bool) -> None:
        """Somebody was told that the lock is his."""
        fence = caller.lock.fence
        assert fence is not None
        assert fence not in self.eras, "a fence is given once"
        if same_era:
            earlier = [other for other, era in self.eras.items() if era == self.era]
            assert all(other < fence for other in earlier), "who comes later has the greater fence"
        self.eras[fence] = self.era

    def certain_until(self, caller: Caller) -> float:
        """Until when nobody may tell a holder that it is none, by the loop's clock."""
        certain = caller.believes and caller.era == self.era
        return self.loop.time() + caller.lock.remaining() - GRAIN if certain else 0.0

    async def release(self, caller: Caller, cancelled_after: int | None) -> None:
        until = self.certain_until(caller)
        task = asyncio.ensure_future(caller.lock.release())
        if cancelled_after is not None:
            await steps(cancelled_after)
            task.cancel()
        ended = await outcome(within(task))
        if isinstance(ended, LockNotOwnedError):
            assert self.loop.time() >= until, "it was held, as far as anybody knows"
        elif isinstance(ended, asyncio.CancelledError):
            if caller.lock.token is not None:
                return  # it was cancelled before it began
        else:
            assert ended is None or isinstance(ended, RedisUnavailable), repr(ended)
        caller.held = False

    async def extend(self, caller: Caller, seconds: float, *, replace: bool) -> None:
        until = self.certain_until(caller)
        ended = await outcome(within(caller.lock.extend(seconds, replace)))
        if isinstance(ended, LockNotOwnedError):
            assert self.loop.time() >= until, "it was held, as far as anybody knows"
        else:
            assert ended is True or isinstance(ended, RedisUnavailable), repr(ended)

    # What must hold.

    def settle(self) -> None:
        """Hear what has come of those who have ended meanwhile."""
        for caller in self.callers:
            if caller.acquiring is not None and caller.acquiring.done():
                task, caller.acquiring = caller.acquiring, None
                if not task.cancelled():
                    task.result()

    @invariant()
    def one_holds_it_at_most(self) -> None:
        self.settle()
        holders = [caller for caller in self.callers if caller.believes and caller.era == self.era]
        assert len(holders) <= 1, f"{len(holders)} hold it"

    @invariant()
    def leases_are_those_of_holders(self) -> None:
        for process in self.processes:
            callers = [caller for caller in self.callers if caller.process is process]
            holding = sum(caller.held and not caller.lock.lost.is_set() for caller in callers)
            assert len(process.redis._links_by_loop[self.loop].leases) <= holding

    def teardown(self) -> None:
        try:
            if self.paused:
                self.server.resume()
            self.run(within(self.end(), 45))
        finally:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def end(self) -> None:
        for process in self.processes:
            process.proxy.heal()
        for caller in self.callers:
            if caller.acquiring is not None:
                caller.acquiring.cancel()
                await outcome(caller.acquiring)
        self.settle()
        for caller in self.callers:
            if caller.held:
                await eventually(lambda caller=caller: not caller.process.redis.links.breaker.is_open)
                assert not isinstance(await outcome(within(caller.lock.release())), RedisUnavailable)
        for process in self.processes:
            await nothing_is_left_of(process.redis)
        deadline = self.loop.time() + PATIENCE
        while held(self.server):
            assert self.loop.time() < deadline, "somebody's lock was left behind"
            await asyncio.sleep(0.01)
        for process in self.processes:
            await process.__aexit__()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"


@pytest.mark.timeout(300)
def test_locks_under_whatever_may_befall_them(make_server: MakeServer) -> None:
    case = type("Case", (Locks,), {"server": make_server()})
    checks = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(case, settings=checks)  # type: ignore[no-untyped-call]
