"""The bookkeeping of a link, against a model of a server that knows which command it was given."""

from collections import Counter, deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from asgi_redis_guard.errors import OperationFailed, RedisOverloaded, RedisTimeout, RedisUnavailable
from asgi_redis_guard.redis.pipeline import Pipeline, Slot


class Caller:
    """A future that may be told one outcome, and no second one."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.outcome: Any = None

    def done(self) -> bool:
        return self.outcome is not None

    def set_result(self, result: Any, /) -> None:
        assert not self.done()
        self.outcome = ("result", result)

    def set_exception(self, exception: BaseException, /) -> None:
        assert not self.done()
        self.outcome = exception

    def cancel(self) -> None:
        self.outcome = self.outcome or "cancelled"


class FakeScript:
    """A script by name."""

    def __init__(self, sha: str) -> None:
        self.sha = sha
        self.load_payload = b"load " + sha.encode()


SCRIPTS = {name: FakeScript(name) for name in ("one", "two")}
LIMIT = 6


class Links(RuleBasedStateMachine):
    """Callers, the pipeline under test, and a server at the other end of one link after another."""

    callers = Bundle("callers")

    @initialize()
    def start(self) -> None:
        self.pipeline = Pipeline(LIMIT)
        self.now = 0.0
        self.number = 0
        self.slots: dict[bytes, Slot] = {}
        self.wire: deque[bytes] = deque()  # written on this link and not answered yet
        self.on_link: set[str] = set()  # scripts that went out on this link
        self.on_server: set[str] = set()
        self.runs: Counter[bytes] = Counter()
        self.held: set[bytes] = set()  # what could not be written at once

    @rule(target=callers, repeatable=st.booleans(), script=st.sampled_from([None, *SCRIPTS]))
    def submit(self, repeatable: bool, script: str | None) -> Caller:
        self.number += 1
        caller = Caller(self.number)
        payload = b"command %d" % self.number
        slot = Slot(payload, caller, 1.0, self.now + 1.0, repeatable, SCRIPTS[script] if script else None)
        full = len(self.pipeline) >= LIMIT
        try:
            self.pipeline.submit(slot)
        except RedisOverloaded as error:
            assert full
            caller.set_exception(error)
        else:
            assert not full
            self.slots[payload] = slot
        return caller

    @rule()
    def write(self) -> None:
        expected = [slot for slot in self.pipeline.waiting if not slot.abandoned]
        kept = {slot.payload: slot.deadline for slot in expected if slot.payload in self.held or slot.attempts}
        chunks = self.pipeline.take(self.now)
        assert [chunk for chunk in chunks if not chunk.startswith(b"load")] == [slot.payload for slot in expected]
        for chunk in chunks:
            if chunk.startswith(b"load"):
                self.on_link.add(chunk.removeprefix(b"load ").decode())
            else:
                script = self.slots[chunk].script
                assert script is None or script.sha in self.on_link
                assert self.slots[chunk].deadline == kept.get(chunk, self.now + 1.0)
        assert not self.pipeline.waiting
        self.wire.extend(chunks)

    @rule()
    def cannot_write(self) -> None:
        self.pipeline.hold()
        self.held |= {slot.payload for slot in self.pipeline.waiting}

    def carry_out(self, payload: bytes) -> bytes | None:
        """What the server does with a command; None stands for NOSCRIPT."""
        if payload.startswith(b"load"):
            self.on_server.add(payload.removeprefix(b"load ").decode())
        else:
            script = self.slots[payload].script
            if script is not None and script.sha not in self.on_server:
                return None
            self.runs[payload] += 1
        return payload

    @rule()
    def answer(self) -> None:
        if not self.wire:
            assert self.pipeline.answer() is None
            return
        payload = self.wire.popleft()
        reply = self.carry_out(payload)
        slot = self.pipeline.answer()
        assert slot is not None
        assert slot.payload == payload
        if reply is not None:
            if slot.future is not None and not slot.future.done():
                slot.future.set_result(reply)
        elif self.pipeline.missing_script(slot):
            assert slot in self.pipeline.waiting
            self.on_link.discard(slot.script.sha)  # type: ignore[union-attr]
        else:
            assert slot.attempts == 2
            slot.fail(OperationFailed("NOSCRIPT"))

    @rule()
    def script_flush(self) -> None:
        self.on_server.clear()

    @rule(caller=callers)
    def cancel(self, caller: Caller) -> None:
        caller.cancel()

    @rule(seconds=st.sampled_from([0.3, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for slot in self.pipeline.expired(self.now):
            assert slot.deadline <= self.now
            slot.fail(RedisTimeout("late", maybe_executed=slot.sent))
        assert not self.pipeline.expired(self.now)

    @rule(seconds=st.sampled_from([0.5, 3.0]))
    def the_loop_is_held_up(self, seconds: float) -> None:
        waiting = [slot for slot in self.slots.values() if not slot.abandoned]
        left = {slot: slot.deadline - self.now for slot in waiting}
        self.now += seconds
        self.pipeline.forgive(self.now, seconds)
        for slot in waiting:
            assert slot.deadline - self.now == pytest.approx(left[slot])

    @rule(unheard=st.integers(0, 8), restarted=st.booleans())
    def link_breaks(self, unheard: int, restarted: bool) -> None:
        """The server carried out the first `unheard` of what it owes, and nobody will hear of it."""
        for payload in list(self.wire)[:unheard]:
            self.carry_out(payload)
        if restarted:
            self.on_server.clear()
        before = list(self.pipeline.inflight)
        waited = list(self.pipeline.waiting)
        lost = self.pipeline.broken()
        again = [slot for slot in before if not slot.abandoned and slot not in lost]
        assert all(slot.repeatable and slot.attempts == 1 for slot in again)
        assert list(self.pipeline.waiting) == again + waited
        for slot in lost:
            slot.fail(RedisUnavailable("broken", maybe_executed=True))
        self.wire.clear()
        self.on_link.clear()

    @rule()
    def give_up(self) -> None:
        for slot in self.pipeline.drop_waiting():
            slot.fail(RedisUnavailable("away", maybe_executed=slot.sent))

    @invariant()
    def replies_never_shift(self) -> None:
        assert list(self.wire) == [slot.payload for slot in self.pipeline.inflight]

    @invariant()
    def every_caller_that_waits_is_in_one_place(self) -> None:
        places = Counter(slot.payload for slot in [*self.pipeline.waiting, *self.pipeline.inflight] if slot.future)
        assert all(count == 1 for count in places.values())
        assert {payload for payload, slot in self.slots.items() if not slot.abandoned} <= places.keys()
        assert places.total() <= LIMIT

    @invariant()
    def nothing_ran_too_often(self) -> None:
        for payload, slot in self.slots.items():
            outcome = slot.future.outcome  # type: ignore[union-attr]
            assert self.runs[payload] <= 1 + slot.repeatable
            if isinstance(outcome, RedisUnavailable) and not outcome.maybe_executed:
                assert self.runs[payload] == 0
            if isinstance(outcome, tuple):
                assert outcome == ("result", payload)

    def teardown(self) -> None:
        """With nothing more going wrong, everybody who still waits gets an outcome, and nothing is kept."""
        while hasattr(self, "pipeline") and len(self.pipeline):
            self.write()
            while self.wire:
                self.answer()
        assert all(slot.abandoned for slot in getattr(self, "slots", {}).values())


Links.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLinks = Links.TestCase
