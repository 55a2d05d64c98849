"""`core/admissions.py`: guards that ask several times, wait in between, or refuse what Redis let pass."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard import Answer, Ask, Body, Operation, Pass, Responder, Wait
from asgi_redis_guard.core.admissions import Admissions
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.steps import Admission
from tests.core.stores import STEP, drive
from tests.guards import Does, exchange

Deed = Literal["ask", "ask and be stopped", "wait", "body"]


@dataclass(frozen=True)
class Plan:
    """A guard that does one deed after the other, goes on also where it is stopped, and then passes or answers."""

    deeds: tuple[Deed, ...]
    answers: bool


class Noted(Responder):
    """Somebody who must be told of the end."""

    def __init__(self, place: int) -> None:
        self.place = place


class Run:
    """A stack of plans, and the generators that it has started."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.flows: dict[int, Generator[Any, Any, Any]] = {}
        self.heard: list[tuple[int, int]] = []
        guards = [Does(self._admit(place, plan), name=str(place)) for place, plan in enumerate(plans)]
        self.admissions = Admissions(guards, exchange())
        self.store = drive(self.admissions)

    def _admit(self, place: int, plan: Plan) -> Any:
        def flow() -> Admission:
            for number, deed in enumerate(plan.deeds):
                if deed == "wait":
                    yield Wait(None, 1.0)  # type: ignore[arg-type]
                elif deed == "body":
                    yield Body(1)
                else:
                    stopping = deed != "ask"
                    (reply,) = yield Ask([Operation(STEP, (), (place, number, stopping))])
                    assert (reply.passed, reply.values) == (not stopping, [(place, number)])
                    self.heard.append((place, number))
            return Answer(400 + place, []) if plan.answers else Pass(responder=Noted(place))

        def admit(exchange: Exchange) -> Admission:
            self.flows[place] = flow()
            return self.flows[place]

        return admit

    def effects(self, *places: int) -> list[tuple[Any, ...]]:
        """What Redis has done for the guards at `places`."""
        return [effect for effect in self.store.effects if effect[0] in places]


deeds: st.SearchStrategy[Deed] = st.sampled_from(["ask", "ask", "ask and be stopped", "wait", "body"])
plans = st.builds(Plan, st.lists(deeds, max_size=4).map(tuple), st.sampled_from([False, False, False, True]))


@settings(max_examples=300, deadline=None)
@given(st.lists(plans, max_size=5))
def test_whatever_guards_do_in_between_the_outermost_answer_wins_and_everything_is_done_once(plans: list[Plan]) -> None:
    run = Run(plans)
    answered_by = next((place for place, plan in enumerate(plans) if plan.answers), -1)
    assert run.admissions.answered_by == answered_by
    in_front = range(answered_by + 1 if answered_by >= 0 else len(plans))
    for place in in_front:
        done = [(place, number) for number, deed in enumerate(plans[place].deeds) if deed == "ask"]
        assert run.effects(place) == done
    assert len(set(run.store.effects)) == len(run.store.effects)


@settings(max_examples=300, deadline=None)
@given(st.lists(plans, max_size=5))
def test_no_guard_is_left_hanging_and_whoever_passed_behind_an_answer_is_told_of_the_end(plans: list[Plan]) -> None:
    run = Run(plans)
    assert all(flow.gi_frame is None for flow in run.flows.values())
    told = {responder.place for responder in (*run.admissions.responders, *run.admissions.orphans)}  # type: ignore[attr-defined]
    behind = range(run.admissions.answered_by + 1, len(plans)) if run.admissions.answer else ()
    for place in behind:
        deeds = plans[place].deeds
        came_to_its_end = place in run.flows and (not deeds or (place, len(deeds) - 1) in run.heard)
        assert (place in told) == (came_to_its_end and not plans[place].answers)


@settings(max_examples=300, deadline=None)
@given(st.lists(plans, max_size=5))
def test_a_reply_that_redis_gave_is_always_heard(plans: list[Plan]) -> None:
    run = Run(plans)
    assert set(run.store.effects) <= set(run.heard)
