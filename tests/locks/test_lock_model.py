"""Locks of several processes under whatever may befall them, in histories that are made smaller where they fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from asgi_redis_guard.errors import LockNotOwnedError, RedisUnavailable
from tests.conftest import MakeServer
from tests.faults.locks import TIMEOUT, Process, held, is_free, nothing_is_left_of, outcome, steps
from tests.locks.judging import LONG, SHORT, Caller, Judge
from tests.redis.tools import eventually, within
from tests.servers import Server

PROCESSES, CALLERS = 2, 2

#: Their times, and whether they are renewed.
KINDS = [(SHORT, False), (SHORT, True), (LONG, True)]

#: What networks do.
FAULTS = ["cut", "cut", "reset_all", "drop_replies", "black_hole", "refuse", "slow"]


class Deed(NamedTuple):
    """What one caller does; which of it depends on how it stands. The first is who holds the lock, if anybody does."""

    who: int
    wait: float | None
    ends: bool
    after: int


DEEDS = st.lists(
    st.builds(
        Deed,
        st.sampled_from([0, 0, 0, 1, 2, 3]),
        st.sampled_from([0, 0, 0.03, 0.3, 5.0, None]),
        st.booleans(),
        st.integers(0, 12),
    ),
    min_size=2,
    max_size=8,
)


class Locks(RuleBasedStateMachine):
    """Some processes, each with a network of its own, on one server."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.judge = Judge()
        self.processes: list[Process] = []
        self.acquiring: dict[Caller, asyncio.Task[bool]] = {}

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
                    Caller(self.judge, process, ttl, renew)

        self.run(start())

    @rule(who=st.integers(0, PROCESSES - 1), fault=st.sampled_from(FAULTS), deeds=DEEDS, lasts=st.booleans())
    def the_network_fails(self, who: int, fault: str, deeds: list[Deed], lasts: bool) -> None:
        proxy = self.processes[who].proxy
        if fault == "slow":
            proxy.latency = 0.03
        elif fault == "cut":
            proxy.cut_after_request(b"EVALSHA")
        else:
            self.do(getattr(proxy, fault))
        self.they_act(deeds)
        if not lasts:
            self.the_network_heals()

    @rule()
    def the_network_heals(self) -> None:
        for process in self.processes:
            self.do(process.proxy.heal)

    @rule(deeds=DEEDS)
    def the_server_stops(self, deeds: list[Deed]) -> None:
        self.server.pause()
        try:
            self.they_act(deeds)
        finally:
            self.server.resume()

    @rule(how=st.sampled_from(["flush", "evict", "restart"]), deeds=DEEDS)
    def the_server_loses_its_data(self, how: str, deeds: list[Deed]) -> None:
        self.they_act(deeds)
        self.judge.era += 1
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

    @rule(deeds=DEEDS, seconds=st.sampled_from([0.05, SHORT * 1.2]))
    def they_act_now_and_then(self, deeds: list[Deed], seconds: float) -> None:
        for deed in deeds:
            self.they_act([deed])
            self.time_passes(seconds, blocked=False)

    @rule(deeds=DEEDS)
    def they_act(self, deeds: list[Deed]) -> None:
        """Each does what it can: one that is idle asks, one that waits may give up, a holder writes or releases."""
        for deed in deeds:
            self.settle()
            caller = sorted(self.judge.callers, key=lambda caller: not caller.held)[deed.who]
            if caller.held:
                self.run(self.goes_on(caller, deed))
            elif caller not in self.acquiring:
                self.asks(caller, deed)
            elif deed.ends:
                self.run(steps(deed.after))
                self.do(self.acquiring[caller].cancel)
                self.run(within(asyncio.wait([self.acquiring[caller]]), 5))

    def asks(self, caller: Caller, deed: Deed) -> None:
        if deed.ends and deed.after == 0:
            assert isinstance(self.run(outcome(caller.lock.release())), LockNotOwnedError)
        self.acquiring[caller] = self.loop.create_task(caller.acquire(deed.wait))
        if deed.wait is not None and deed.wait < 1:
            self.run(within(asyncio.wait([self.acquiring[caller]])))

    async def goes_on(self, caller: Caller, deed: Deed) -> None:
        if deed.ends:
            await caller.release(deed.after if deed.after > 4 else None)
        elif deed.after % 2:
            await caller.extend(0.2 if deed.after % 4 == 1 else 1, replace=deed.after < 6)
        else:
            caller.write()

    # What must hold.

    @invariant()
    def one_holds_it_at_most(self) -> None:
        self.settle()
        self.judge.look()

    @invariant()
    def leases_are_those_of_holders(self) -> None:
        for process in self.processes:
            callers = [caller for caller in self.judge.callers if caller.process is process]
            holding = sum(caller.held and not caller.lock.lost.is_set() for caller in callers)
            assert len(process.redis._links_by_loop[self.loop].leases) <= holding

    def settle(self) -> None:
        """Hear what has come of those who have ended meanwhile."""
        for caller, task in list(self.acquiring.items()):
            if task.done():
                del self.acquiring[caller]
                if not task.cancelled():
                    task.result()

    def teardown(self) -> None:
        try:
            self.run(within(self.end(), 45))
        finally:
            self.run(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def end(self) -> None:
        for process in self.processes:
            process.proxy.heal()
        for task in self.acquiring.values():
            task.cancel()
            await outcome(task)
        self.settle()
        for caller in self.judge.callers:
            if caller.held:
                await eventually(lambda caller=caller: not caller.process.redis.links.breaker.is_open)
                assert not isinstance(await outcome(within(caller.lock.release())), RedisUnavailable)
        for process in self.processes:
            await nothing_is_left_of(process.redis)
        await is_free(self.server)
        for process in self.processes:
            await process.__aexit__()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"


@pytest.mark.timeout(300)
def test_locks_under_whatever_may_befall_them(make_server: MakeServer) -> None:
    case = type("Case", (Locks,), {"server": make_server()})
    checks = settings(max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(case, settings=checks)  # type: ignore[no-untyped-call]
