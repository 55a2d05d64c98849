"""Locks of several processes under whatever may befall them, in random histories that are made smaller where they fail.

Judged is what holders may rely on: of those who hold it by their own clock there is one, unless the server has lost its
data; whoever came later has the greater fence, so that a store that refuses older ones never takes writes in the wrong
order; and when everybody has gone, nothing is left, in Redis and in the processes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

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

PROCESSES, LOCKS = 3, 2

#: Seconds: one that runs out within a history, and one that does not.
SHORT, LONG = 0.4, 300.0

#: Seconds by which the clocks of the server and of this process may differ in what they call a millisecond.
GRAIN = 0.005


class Store:
    """What a lock is for: takes what is written with a fence, unless one with a later fence has written before."""

    def __init__(self) -> None:
        self.last = 0
        self.refused = 0

    def write(self, fence: int) -> bool:
        """Write; tell whether that was taken."""
        if fence < self.last:
            self.refused += 1
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
        self.fences: list[int] = []
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

    @initialize(
        ttls=st.lists(
            st.tuples(st.sampled_from([SHORT, LONG]), st.booleans()),
            min_size=PROCESSES * LOCKS,
            max_size=PROCESSES * LOCKS,
        )
    )
    def begin(self, ttls: list[tuple[float, bool]]) -> None:
        self.server.command("FLUSHALL")

        async def start() -> None:
            for number in range(PROCESSES):
                process = await Process(self.server.url, timeout=TIMEOUT).__aenter__()
                self.processes.append(process)
                for ttl, renew in ttls[number * LOCKS : (number + 1) * LOCKS]:
                    self.callers.append(Caller(process, ttl, renew))

        self.run(start())

    @rule(who=st.integers(0, PROCESSES - 1), after=st.integers(0, 3))
    def connections_are_reset(self, who: int, after: int) -> None:
        self.run(steps(after))
        self.do(self.processes[who].proxy.reset_all)

    @rule(who=st.integers(0, PROCESSES - 1))
    def the_next_reply_is_lost(self, who: int) -> None:
        self.processes[who].proxy.cut_after_request(b"EVALSHA")

    @rule(who=st.integers(0, PROCESSES - 1), fault=st.sampled_from(["drop_replies", "black_hole", "refuse"]))
    def the_network_fails(self, who: int, fault: str) -> None:
        self.do(getattr(self.processes[who].proxy, fault))

    @rule(who=st.integers(0, PROCESSES - 1), seconds=st.sampled_from([0.0, 0.01, 0.05]))
    def the_network_is_slow(self, who: int, seconds: float) -> None:
        self.processes[who].proxy.latency = seconds

    @rule(who=st.integers(0, PROCESSES - 1))
    def the_network_heals(self, who: int) -> None:
        self.do(self.processes[who].proxy.heal)

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

    @rule(how=st.sampled_from(["flush", "evict", "evict", "restart"]))
    @precondition(lambda self: not self.paused)
    def the_server_loses_its_data(self, how: str) -> None:
        self.era += 1
        if how == "restart":
            self.server.restart()
        elif how == "flush":
            self.server.command("FLUSHALL")
        elif keys := held(self.server):
            self.server.command("DEL", *keys)

    @rule(seconds=st.sampled_from([0.01, 0.15, SHORT * 1.2]))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([0.15, SHORT * 1.2]))
    def the_loop_is_blocked(self, seconds: float) -> None:
        self.run(steps(1))
        time.sleep(seconds)
        self.run(steps(1))

    # What they do.

    @rule(who=st.integers(0, PROCESSES * LOCKS - 1), wait=st.sampled_from([0, 0, 0.03, 0.3]))
    def tries(self, who: int, wait: float) -> None:
        self.begins(who, wait)
        caller = self.callers[who]
        if caller.acquiring is not None:
            self.run(within(asyncio.wait([caller.acquiring])))
            self.settle()

    @rule(who=st.integers(0, PROCESSES * LOCKS - 1), wait=st.sampled_from([0.05, 5.0, None]))
    def begins(self, who: int, wait: float | None) -> None:
        caller = self.callers[who]
        if caller.acquiring is None and not caller.held:
            caller.acquiring = self.loop.create_task(self.acquire(caller, wait))

    async def acquire(self, caller: Caller, wait: float | None) -> None:
        era = self.era
        try:
            got = await (caller.lock.acquire(blocking=False) if wait == 0 else self.acquire_within(caller.lock, wait))
        except RedisUnavailable:
            return
        if got:
            caller.held, caller.era = True, self.era
            self.granted(caller, same_era=era == self.era)

    async def acquire_within(self, lock: Lock, wait: float | None) -> bool:
        return await lock.acquire(blocking_timeout=wait)

    def granted(self, caller: Caller, *, same_era: bool) -> None:
        """Somebody was told that the lock is his."""
        fence = caller.lock.fence
        assert fence is not None
        assert fence not in self.eras, "a fence is given once"
        if same_era and caller.believes:
            earlier = [other for other, era in self.eras.items() if era == self.era]
            assert all(other < fence for other in earlier), "who comes later has the greater fence"
        self.eras[fence] = self.era

    @rule(who=st.integers(0, PROCESSES * LOCKS - 1), after=st.integers(0, 25))
    def gives_up(self, who: int, after: int) -> None:
        caller = self.callers[who]
        if caller.acquiring is not None:
            self.run(steps(after))
            caller.acquiring.cancel()
            self.run(within(asyncio.wait([caller.acquiring])))
            self.settle()

    @rule(who=st.integers(0, PROCESSES * LOCKS - 1), cancelled_after=st.sampled_from([None, None, 0, 1, 2, 5, 12]))
    def releases(self, who: int, cancelled_after: int | None) -> None:
        caller = self.callers[who]
        if caller.acquiring is not None:
            return
        self.run(self.release(caller, cancelled_after))

    async def release(self, caller: Caller, cancelled_after: int | None) -> None:
        believed, doubt = caller.believes, caller.era != self.era
        task = asyncio.ensure_future(caller.lock.release())
        if cancelled_after is not None:
            await steps(cancelled_after)
            task.cancel()
        ended = await outcome(within(task))
        if isinstance(ended, LockNotOwnedError):
            assert not believed or doubt or not caller.lock.remaining() > GRAIN, "it was held, as far as anybody knows"
        elif isinstance(ended, asyncio.CancelledError):
            if await outcome(within(caller.lock.owned())) is True:
                return  # it was cancelled before it began
        else:
            assert ended is None or isinstance(ended, RedisUnavailable), repr(ended)
            assert caller.held, "released twice"
        caller.held = False

    @rule(who=st.integers(0, PROCESSES * LOCKS - 1))
    def extends(self, who: int) -> None:
        caller = self.callers[who]
        if caller.acquiring is None and caller.held:
            believed, doubt = caller.believes, caller.era != self.era
            ended = self.run(outcome(within(caller.lock.extend(0.2))))
            if isinstance(ended, LockNotOwnedError):
                assert not believed or doubt or caller.lock.remaining() <= GRAIN
            else:
                assert ended is True or isinstance(ended, RedisUnavailable), repr(ended)

    @rule(who=st.integers(0, PROCESSES * LOCKS - 1))
    def writes(self, who: int) -> None:
        caller = self.callers[who]
        if caller.believes:
            assert caller.lock.fence is not None
            taken = self.store.write(caller.lock.fence)
            assert taken or caller.era != self.era or any(other.era != self.era for other in self.callers)

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
    checks = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(case, settings=checks)  # type: ignore[no-untyped-call]
