"""`redis/flight.py`: one leads, the others wait; no leadership is lost or held twice, nobody waits for ever."""

import asyncio
import random
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.redis.flight import Flight, Flights, Landing, Lead
from tests.redis.tools import PATIENCE, within

ALONE = Landing("alone")


@pytest.fixture
async def flights() -> Flights:
    return Flights(asyncio.get_running_loop())


def found(flights: Flights, key: str = "k") -> Flight:
    flight = flights.find(key)
    assert flight is not None
    return flight


async def followers(flights: Flights, number: int, key: str = "k") -> list[asyncio.Task[Landing]]:
    """Start tasks that wait, and let them."""
    tasks = [asyncio.create_task(found(flights, key).wait()) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


async def all_of(tasks: list[asyncio.Task[Landing]]) -> list[Landing]:
    return list(await within(asyncio.gather(*tasks)))


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Await the end of a task that was cancelled."""
    with pytest.raises(asyncio.CancelledError):
        await within(task)


async def lead_of(task: asyncio.Task[Landing]) -> Lead:
    kind, value, lead = await within(task)
    assert (kind, value) == ("lead", None)
    assert lead is not None
    return lead


async def test_everybody_who_waits_gets_what_the_leader_lands_with(flights: Flights) -> None:
    assert flights.find("k") is None
    lead = flights.begin("k")
    waiting = await followers(flights, 3)
    assert lead.waiting == found(flights).waiting == 3
    value = object()
    lead.land(value)
    assert (flights.find("k"), len(flights), lead.waiting) == (None, 0, 0)
    assert await all_of(waiting) == [Landing("landed", value)] * 3


@pytest.mark.parametrize("value", [None, False, ValueError("no"), asyncio.CancelledError()])
async def test_no_value_is_special(flights: Flights, value: object) -> None:
    lead = flights.begin("k")
    waiting = await followers(flights, 1)
    lead.land(value)
    assert await all_of(waiting) == [Landing("landed", value)]


async def test_everybody_is_let_go_where_there_is_nothing_to_share(flights: Flights) -> None:
    lead = flights.begin("k")
    waiting = await followers(flights, 3)
    lead.scatter()
    assert len(flights) == 0
    assert await all_of(waiting) == [ALONE] * 3


async def test_the_first_who_waits_takes_over_and_the_others_go_on_waiting(flights: Flights) -> None:
    lead = flights.begin("k")
    first, second, third = await followers(flights, 3)
    flight = found(flights)
    lead.hand_over()
    heir = await lead_of(first)
    assert flights.find("k") is flight
    assert heir.waiting == 2
    heir.hand_over()
    heir = await lead_of(second)
    heir.land("at last")
    assert await all_of([third]) == [Landing("landed", "at last")]


async def test_what_is_handed_over_to_nobody_is_over(flights: Flights) -> None:
    lead = flights.begin("k")
    lead.hand_over()
    assert len(flights) == 0
    flights.begin("k").land(1)


async def test_keys_have_nothing_to_do_with_each_other(flights: Flights) -> None:
    one, other = flights.begin("one"), flights.begin("other")
    waiting = [*await followers(flights, 1, "one"), *await followers(flights, 1, "other")]
    one.land(1)
    assert (flights.find("one"), len(flights)) == (None, 1)
    other.land(2)
    assert [landing.value for landing in await all_of(waiting)] == [1, 2]


async def test_what_is_under_way_is_not_begun_again(flights: Flights) -> None:
    lead = flights.begin("secret")
    with pytest.raises(ValueError, match="wait for it") as refused:
        flights.begin("secret")
    assert "secret" not in f"{refused.value} {flights!r} {found(flights, 'secret')!r} {lead!r}"
    lead.land(None)
    assert "ended" in repr(lead)


@pytest.mark.parametrize("first", ["land", "scatter", "hand_over"])
@pytest.mark.parametrize("then", ["land", "scatter", "hand_over"])
async def test_a_leader_ends_a_flight_once_and_never_that_of_the_next(flights: Flights, first: str, then: str) -> None:
    lead = flights.begin("k")
    waiting = await followers(flights, 2)

    def end(how: str) -> None:
        getattr(lead, how)(*(["late"] if how == "land" else []))

    end(first)
    end(then)
    if first == "hand_over":
        heir = await lead_of(waiting.pop(0))
        end(then)
        assert heir.waiting == 1
        heir.land("late")
    own = flights.begin("k")
    end(then)
    assert found(flights).waiting == own.waiting == 0
    assert await all_of(waiting) == [ALONE if first == "scatter" else Landing("landed", "late")] * len(waiting)
    own.scatter()


async def test_a_follower_that_is_cancelled_is_gone_and_disturbs_nobody(flights: Flights) -> None:
    lead = flights.begin("k")
    one, other = await followers(flights, 2)
    one.cancel()
    assert lead.waiting == 1
    await cancelled(one)
    assert len(found(flights)._waiters) == 1  # a flight may last, and many may come and go
    lead.land(5)
    assert await all_of([other]) == [Landing("landed", 5)]


async def test_who_is_cancelled_and_has_not_left_yet_is_not_made_the_leader(flights: Flights) -> None:
    lead = flights.begin("k")
    one, other = await followers(flights, 2)
    one.cancel()
    lead.hand_over()
    await cancelled(one)
    (await lead_of(other)).land(None)
    assert len(flights) == 0


async def test_leadership_is_not_lost_with_one_who_is_cancelled_before_taking_it(flights: Flights) -> None:
    lead = flights.begin("k")
    first, second, third = await followers(flights, 3)
    lead.hand_over()
    first.cancel()  # it was told already, and has not run
    second.cancel()  # it is still waiting
    await cancelled(first)
    await cancelled(second)
    (await lead_of(third)).land(None)
    assert len(flights) == 0


async def test_it_is_over_when_the_last_one_is_cancelled_before_taking_the_lead(flights: Flights) -> None:
    lead = flights.begin("k")
    (only,) = await followers(flights, 1)
    lead.hand_over()
    only.cancel()
    await cancelled(only)
    assert len(flights) == 0


async def test_a_deadline_that_passes_on_the_turn_of_promotion_hands_over(flights: Flights) -> None:
    lead = flights.begin("k")
    deadlines: list[asyncio.Timeout] = []

    async def impatient() -> None:
        async with asyncio.timeout(1000) as deadline:
            deadlines.append(deadline)
            await found(flights).wait()

    task = asyncio.create_task(impatient())
    await asyncio.sleep(0)
    (other,) = await followers(flights, 1)
    deadlines[0].reschedule(0)  # it passes first, and is noticed after the promotion
    lead.hand_over()
    (await lead_of(other)).land(None)
    with pytest.raises(TimeoutError):
        await task
    assert len(flights) == 0


async def test_a_wait_whose_coroutine_is_closed_passes_leadership_on(flights: Flights) -> None:
    lead = flights.begin("k")
    closed = found(flights).wait()
    closed.send(None)
    (other,) = await followers(flights, 1)
    lead.hand_over()
    closed.close()
    (await lead_of(other)).land(None)
    assert len(flights) == 0


async def test_who_comes_to_wait_after_the_end_is_told_at_once(flights: Flights) -> None:
    lead = flights.begin("k")
    flight = found(flights)
    late = [asyncio.create_task(flight.wait())]  # it has not run yet
    lead.land(3)
    assert await all_of(late) == [Landing("landed", 3)]
    assert await within(flight.wait()) == Landing("landed", 3)


async def test_who_comes_after_an_end_without_anything_leads_or_waits_for_the_next(flights: Flights) -> None:
    lead = flights.begin("k")
    flight = found(flights)
    lead.hand_over()
    one, other = (asyncio.create_task(flight.wait()) for _ in range(2))
    (await lead_of(one)).land("new")
    assert await all_of([other]) == [Landing("landed", "new")]


async def test_a_close_lets_everybody_go_and_leaders_change_nothing_more(flights: Flights) -> None:
    leads = [flights.begin(key) for key in "ab"]
    waiting = [*await followers(flights, 2, "a"), *await followers(flights, 1, "b")]
    flights.close()
    assert await all_of(waiting) == [ALONE] * 3
    new = flights.begin("a")
    for lead in leads:
        lead.hand_over()
    assert len(flights) == 1
    new.land(None)


async def test_a_manager_has_flights_of_each_loop_and_lets_go_who_waits_when_it_closes() -> None:
    manager = RedisManager("memory://")
    flights = manager.flights
    assert manager.flights is flights
    lead = flights.begin("k")
    waiting = await followers(flights, 2)
    await manager.aclose()
    assert await all_of(waiting) == [ALONE] * 2
    lead.land("late")
    assert manager.flights is not flights
    await manager.aclose()


def test_flights_of_a_loop_that_ended_leave_nothing_behind() -> None:
    flights: Flights
    waits: list[Any] = []

    async def begin() -> Lead:
        nonlocal flights
        flights = Flights(asyncio.get_running_loop())
        lead = flights.begin("k")
        for _ in range(2):
            waits.append(found(flights).wait())
            waits[-1].send(None)
        return lead

    lead = asyncio.run(begin())
    lead.hand_over()  # nobody can be told any more
    assert len(flights) == 0
    for wait in waits:
        wait.close()

    lead = asyncio.run(begin())
    flights.abandon()
    assert len(flights) == 0
    lead.land(1)
    for wait in waits:
        wait.close()


class Crowd:
    """Some keys, who leads them, and who waits, at random; it is an error at once if two lead the same."""

    def __init__(self, flights: Flights, seed: int) -> None:
        self.flights = flights
        self.dice = random.Random(seed)
        self.leads: dict[str, Lead] = {}
        self.former: list[Lead] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.told = {"landed": 0, "alone": 0, "lead": 0, "cancelled": 0}

    def take(self, key: str, lead: Lead | None) -> None:
        assert lead is not None
        assert key not in self.leads, "two leaders"
        self.leads[key] = lead

    async def follow(self, key: str, flight: Flight) -> None:
        try:
            kind, value, lead = await flight.wait()
        except asyncio.CancelledError:
            self.told["cancelled"] += 1
            return
        self.told[kind] += 1
        if kind == "lead":
            self.take(key, lead)
        assert value == (key if kind == "landed" else None)

    def come(self) -> None:
        key = self.dice.choice("abc")
        flight = self.flights.find(key)
        if flight is None:
            self.take(key, self.flights.begin(key))
        else:
            self.tasks.append(asyncio.create_task(self.follow(key, flight)))

    def leave(self) -> None:
        if waiting := [task for task in self.tasks if not task.done()]:
            self.dice.choice(waiting).cancel()

    def end(self) -> None:
        if self.leads:
            key = self.dice.choice(sorted(self.leads))
            lead = self.leads.pop(key)
            self.former.append(lead)
            self.end_by(lead, key)

    def repeat(self) -> None:
        """A former leader, who has no say any more."""
        if self.former:
            self.end_by(self.dice.choice(self.former), "nothing")

    def end_by(self, lead: Lead, value: str) -> None:
        how = self.dice.choice([lambda: lead.land(value), lead.scatter, lead.hand_over, lead.hand_over])
        how()


@pytest.mark.parametrize("seed", range(40))
async def test_at_random_there_is_never_a_second_leader_and_nobody_is_left(flights: Flights, seed: int) -> None:
    crowd = Crowd(flights, seed)
    for _ in range(600):
        crowd.dice.choices([crowd.come, crowd.leave, crowd.end, crowd.repeat], [6, 2, 3, 1])[0]()
        for _ in range(crowd.dice.choice([0, 0, 1, 2])):
            await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        while len(flights):
            crowd.end()
            await asyncio.sleep(0)
    await within(asyncio.gather(*crowd.tasks, return_exceptions=True))  # some were cancelled before they began
    assert not [task for task in crowd.tasks if not task.cancelled() and task.exception()]
    assert (len(flights), crowd.leads) == (0, {})
    assert all(crowd.told.values()), crowd.told
    assert sum(crowd.told.values()) <= len(crowd.tasks)


async def test_who_ends_a_marked_flight_is_told_unless_somebody_leads_it_on() -> None:
    flights = Flights(asyncio.get_running_loop())
    for end in (lambda lead: lead.land(1), lambda lead: lead.scatter(), lambda lead: lead.hand_over()):
        lead = flights.begin("a")
        assert end(lead) is False, "nobody has left anything"
        lead = flights.begin("a")
        flight = flights.find("a")
        assert flight is not None
        flight.marked = True
        assert end(lead) is True
        assert end(lead) is False, "it is told once"
    lead = flights.begin("a")
    flight = flights.find("a")
    assert flight is not None
    flight.marked = True
    waiting = asyncio.ensure_future(flight.wait())
    await asyncio.sleep(0)
    assert lead.hand_over() is False, "it is the next one's"
    following = (await waiting).lead
    assert following is not None
    assert following.scatter() is True
