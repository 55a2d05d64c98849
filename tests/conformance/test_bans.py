"""Bans over random histories: when they begin, how long they last and what they hold back, on all servers.

Time is given to the server's script, see `clockwork`.
"""

import random

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import digest
from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.ratelimit.ledger import Ban
from tests.conformance.clockwork import HELD_BACK, NOT_RUN, PASSED, STOPPED, Clockwork, Said
from tests.conformance.operations import ALGORITHMS, KEYS, SECOND, START, Bound

STRIKES = KEYS.ban(b"limits", digest("who"))


class Model:
    """One identity's breaches, and the bans that they led to."""

    def __init__(self, ban: Ban) -> None:
        self.ban = ban
        self.ends = self.bans = self.breaches = self.since = 0

    def left(self, now: int) -> int:
        return max(0, self.ends - now)

    def breach(self, now: int, more: int) -> None:
        """Count breaches of somebody who is not banned."""
        if now >= self.ends + self.ban.longest * SECOND:
            self.bans = 0
        if not self.in_window(now):
            self.breaches, self.since = 0, now
        self.breaches += more
        if self.ban.after and self.breaches >= self.ban.after:
            seconds = min(self.ban.lasts * self.ban.factor**self.bans, self.ban.longest)
            self.ends, self.bans = now + round(seconds * SECOND), self.bans + 1
            self.breaches, self.since = 0, now

    def in_window(self, now: int) -> bool:
        return self.since > 0 and now < self.since + self.ban.within * SECOND


def limit(amount: int = 2) -> Bound:
    return Bound("log", amount, 1, amount)


BANS = [
    Ban(3, 10, 5, 2, 60),
    Ban(1, 1, 1, 3, 20),
    Ban(5, 100, 7, 1, 30),
    Ban(2, 60, 300, 100, 86_400),
    Ban(4, 5, 90, 2, 10),
    Ban(0, 10, 5, 2, 60),
]


@pytest.mark.parametrize("ban", BANS, ids=repr)
async def test_every_ban_is_the_models(clockwork: Clockwork, ban: Ban) -> None:
    """Requests of which the limit lets some through; breaches that the server was not asked about come on top."""
    dice, model, now, bans = random.Random(repr(ban)), Model(ban), START, 0
    bound = limit()
    for _ in range(250):
        now += dice.choice([0, 0, 0, 1, SECOND, dice.randrange(20 * SECOND), model.left(now), model.left(now) - 1, 0])
        now += dice.choice([0] * 30 + [round(ban.longest * SECOND), round(ban.longest + ban.within) * SECOND])
        hidden = dice.choice([0, 0, 0, 1, 2, 7])
        left = model.left(now)
        ((judged, counted),) = await clockwork.at(now, [ban.operation(STRIKES, hidden), bound.take()])
        if left:
            assert judged == Said(STOPPED, (left,))
            assert counted.status in (HELD_BACK, STOPPED)
        else:
            assert judged == Said(PASSED, (0,))
            if more := hidden + (counted.status == STOPPED):
                model.breach(now, more)
        bans += model.left(now) > left
        for key, ends in (await clockwork.ends()).items():
            assert ends is not None, key
        await remembers_no_longer_than_it_says(clockwork, model, now)
    assert bans > 3 or not ban.after


async def remembers_no_longer_than_it_says(clockwork: Clockwork, model: Model, now: int) -> None:
    """A ban until `longest` after its end, breaches for `within`."""
    ends = (await clockwork.ends()).get(STRIKES)
    if ends is not None and ends >= now // 1000:
        known = [model.ends + model.ban.longest * SECOND if model.bans else 0]
        known += [model.since + model.ban.within * SECOND]
        assert ends <= max(known) / 1000 + 1
        assert ends >= known[0] // 1000


async def test_each_further_ban_is_longer_up_to_the_longest_and_is_forgotten_after_that(clockwork: Clockwork) -> None:
    ban, now, lengths = Ban(2, 10, 5, 2, 30), START, list[int]()
    for _ in range(5):
        await clockwork.one(now, ban.operation(STRIKES, 2))
        lengths.append((await clockwork.one(now, ban.operation(STRIKES, 0))).values[0] // SECOND)
        now += lengths[-1] * SECOND
    assert lengths == [5, 10, 20, 30, 30]
    now += 30 * SECOND
    await clockwork.one(now, ban.operation(STRIKES, 2))
    assert (await clockwork.one(now, ban.operation(STRIKES, 0))).values[0] == 5 * SECOND


async def test_breaches_too_few_for_a_ban_do_not_keep_the_last_one_in_mind(clockwork: Clockwork) -> None:
    ban = Ban(3, 10, 5, 2, 30)
    await clockwork.one(START, ban.operation(STRIKES, 3))
    for second in range(10, 45, 6):
        assert (await clockwork.one(START + second * SECOND, ban.operation(STRIKES, 1))).status == PASSED
    now = START + 60 * SECOND
    await clockwork.one(now, ban.operation(STRIKES, 3))
    assert (await clockwork.one(now, ban.operation(STRIKES, 0))).values[0] == 5 * SECOND


@pytest.mark.parametrize("ban", [Ban(0, 10, 5, 2, 60), Ban(3, 10, 5, 2, 60)], ids=["by hand alone", "both"])
async def test_a_ban_by_hand_holds_and_counts_as_the_ones_it_says(
    clockwork: Clockwork, manager: RedisManager, ban: Ban
) -> None:
    await manager.execute("SET", STRIKES, f"{START + 9 * SECOND}:2:0:{START}")
    await manager.execute("SET", STRIKES + b"/ends", START // 1000 + 60_000)
    assert await clockwork.one(START, ban.operation(STRIKES, 5)) == Said(STOPPED, (9 * SECOND,))
    over = START + 9 * SECOND
    assert await clockwork.one(over, ban.operation(STRIKES, 3)) == Said(PASSED, (0,))
    said = await clockwork.one(over, ban.operation(STRIKES, 0))
    assert said == (Said(STOPPED, (20 * SECOND,)) if ban.after else Said(PASSED, (0,)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_ban_holds_back_all_limits_before_it_and_runs_none_behind(clockwork: Clockwork, algorithm: str) -> None:
    ban = Ban(1, 10, 5, 2, 60)
    outer, own, inner = (Bound(algorithm, 3, 60, 3, name) for name in ("outer", "own", "inner"))
    await clockwork.one(START, ban.operation(STRIKES, 1))
    before = await clockwork.content()
    said = await clockwork.at(START, [outer.take()], [ban.operation(STRIKES, 0), own.take()], [inner.take()])
    assert [[one.status for one in guard] for guard in said] == [[HELD_BACK], [STOPPED, HELD_BACK], [NOT_RUN]]
    assert await clockwork.content() == before


async def test_a_breach_counts_although_its_guard_refuses_and_one_of_another_guard_does_not(
    clockwork: Clockwork,
) -> None:
    ban = Ban(2, 10, 5, 2, 60)
    own, behind = Bound("log", 1, 60, 1, "own"), Bound("log", 1, 60, 1, "behind")
    guards = [ban.operation(STRIKES, 0), own.take(0)], [behind.take()]
    for _ in range(5):
        said = await clockwork.at(START, *guards)
    assert said[1][0].status == STOPPED, "the guard behind refuses"
    assert STRIKES not in await clockwork.content()
    await clockwork.one(START, own.take())
    asked = [ban.operation(STRIKES, 0), own.take()]
    statuses = [[one.status for one in (await clockwork.at(START, asked))[0]] for _ in range(3)]
    assert statuses == [[PASSED, STOPPED], [PASSED, STOPPED], [STOPPED, STOPPED]]


@pytest.mark.parametrize("back", [1, SECOND, 3600 * SECOND])
async def test_a_clock_that_jumps_back_is_no_error_and_frees_nobody(clockwork: Clockwork, back: int) -> None:
    ban = Ban(2, 10, 5, 2, 60)
    await clockwork.one(START, ban.operation(STRIKES, 2))
    said = await clockwork.one(START - back, ban.operation(STRIKES, 0))
    assert said == Said(STOPPED, (5 * SECOND + back,))


async def test_bans_without_number_stay_at_the_longest(clockwork: Clockwork, manager: RedisManager) -> None:
    ban = Ban(1, 60, 366 * 86_400, 100, 366 * 86_400)
    await manager.execute("SET", STRIKES, f"{START}:5000:0:{START}")
    await clockwork.one(START, ban.operation(STRIKES, 1))
    said = await clockwork.one(START, ban.operation(STRIKES, 0))
    assert said == Said(STOPPED, (366 * 86_400 * SECOND,))


async def test_what_is_no_record_of_bans_is_none(clockwork: Clockwork, manager: RedisManager) -> None:
    for spoiled in ("", "x", "1:2:3", "-1:0:0:0", "1:2:3:4:5"):
        await manager.execute("SET", STRIKES, spoiled)
        assert await clockwork.one(START, Ban(2).operation(STRIKES, 0)) == Said(PASSED, (0,))


def test_the_operation_is_of_no_group_and_stops_that_of_the_limits() -> None:
    kind = Operation(*Ban().operation(STRIKES, 0)).kind
    assert (kind.group, kind.stops) == (None, "limits")
