"""`core/admissions.py`: random stacks of guards against a sequential model of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgi_redis_guard import Answer, Ask, Body, Operation, Pass, Responder, Wait
from asgi_redis_guard.core.admissions import Admissions
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.steps import Admission
from tests.core.stores import STEP, drive
from tests.guards import Does, exchange


class Noted(Responder):
    """Somebody who must be told of the end."""

    def __init__(self, place: int) -> None:
        self.place = place


@dataclass(frozen=True)
class Plan:
    """A guard that asks at most once. `says`: pass, or be stopped by Redis and answer, or answer before it asks."""

    says: Literal["pass", "stopped", "answer"]
    asks: int
    before: Literal["nothing", "wait", "body"]
    tells: Literal["early", "late", "never"]
    needs: frozenset[int]

    def guard(self, place: int, seen: dict[int, Any]) -> Does:
        def admit(exchange: Exchange) -> Admission:
            seen[place] = {need: exchange.facts.get(f"fact {need}") for need in sorted(self.needs)}
            if self.before != "nothing":
                yield Body(1) if self.before == "body" else Wait(None, 1.0)  # type: ignore[arg-type]
            if self.says == "answer":
                return Answer(400 + place, [])
            facts = {} if self.tells == "never" else {f"fact {place}": place}
            if self.asks:
                # An answer by Redis is one by the last operation, so that none of this guard's is cut off.
                operations = [
                    Operation(STEP, (), (place, number, self.says == "stopped" and number == self.asks - 1))
                    for number in range(self.asks)
                ]
                replies = yield Ask(operations, facts if self.tells == "early" else None)
                assert [reply.values for reply in replies] == [[(place, number)] for number in range(self.asks)]
                if not all(reply.passed for reply in replies):
                    return Answer(400 + place, [])
            return Pass(facts, responder=Noted(place))

        return Does(
            admit,
            name=str(place),
            needs=frozenset(f"fact {need}" for need in self.needs),
            provides=frozenset([f"fact {place}"]),
        )


#: A guard that decides by itself and has nothing to tell.
LOCAL = Plan("pass", 0, "nothing", "never", frozenset())


@st.composite
def stacks(draw: st.DrawFn) -> list[Plan]:
    plans: list[Plan] = []
    for place in range(draw(st.integers(0, 6))):
        asks = draw(st.integers(0, 2))
        says: Any = draw(st.sampled_from(["pass"] * 5 + ["answer", "stopped"] if asks else ["pass"] * 5 + ["answer"]))
        before: Any = draw(st.sampled_from(["nothing"] * 5 + ["wait", "body"]))
        tells: Any = draw(st.sampled_from(["early", "late", "never"]))
        needs = draw(st.frozensets(st.integers(0, place - 1), max_size=2)) if place else frozenset()
        plans.append(Plan(says, asks, before, tells, needs))
    return plans


@dataclass
class Expected:
    """What a stack does if its guards are run one after the other, and how few rounds it could take."""

    answered_by: int
    passed: list[int]
    effects: list[tuple[int, int]]
    seen: dict[int, dict[int, int | None]]
    rounds: int


def one_after_the_other(plans: Sequence[Plan]) -> Expected:
    passed: list[int] = []
    effects: list[tuple[int, int]] = []
    seen: dict[int, dict[int, int | None]] = {}
    starts, decided = [0], [0]  # for each guard, the rounds that are over when it starts, and when it has decided
    for place, plan in enumerate(plans):
        seen[place] = {need: need if plans[need].tells != "never" else None for need in sorted(plan.needs)}
        late = [need for need in plan.needs if plans[need].asks and plans[need].tells != "early"]
        start = max([starts[-1], *(decided[need + 1] for need in late)])
        if plan.before != "nothing":
            start = max([start, *decided])  # it waits until all before it have decided
        starts.append(start)
        asks = bool(plan.asks) and plan.says != "answer"
        decided.append(start + asks)
        effects += [(place, number) for number in range(plan.asks if asks else 0)]
        if plan.says != "pass":
            if plan.says == "stopped":
                effects.pop()
            return Expected(place, passed, effects, seen, max(decided))
        passed.append(place)
    return Expected(-1, passed, effects, seen, max(decided))


@example([Plan("pass", 1, "nothing", "late", frozenset()), LOCAL, Plan("pass", 1, "nothing", "late", frozenset([1]))])
@settings(max_examples=400, deadline=None)
@given(stacks())
def test_a_stack_does_what_its_guards_do_one_after_the_other_in_the_fewest_rounds(plans: list[Plan]) -> None:
    seen: dict[int, Any] = {}
    admissions = Admissions([plan.guard(place, seen) for place, plan in enumerate(plans)], exchange())
    store = drive(admissions)
    expected = one_after_the_other(plans)
    assert admissions.answered_by == expected.answered_by
    assert admissions.answer is None or admissions.answer.status == 400 + expected.answered_by
    assert (admissions.answer is None) == (expected.answered_by < 0)
    assert [responder.place for responder in admissions.responders] == expected.passed  # type: ignore[attr-defined]
    assert store.effects == expected.effects
    assert {place: seen[place] for place in expected.seen} == expected.seen
    assert store.rounds == expected.rounds
