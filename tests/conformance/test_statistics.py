"""Statistics over random histories: totals are exact, the heaviest are never missed, labels never pile up.

Time is given to the server's script, see `clockwork`.
"""

import random
from collections import Counter
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import digest
from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.ratelimit.ledger import HIDDEN, KEPT, TALLY, Ban, Ledger
from tests.conformance.clockwork import PASSED, STOPPED, Clockwork
from tests.conformance.operations import KEYS, SECOND, START, Bound

PLACES = TOTALS, BUSIEST, REFUSALS, LABELS = KEYS.limit_statistics(b"limits", 1)
LIFE = 60_000  # ms


def tally(who: str, hidden: int = 0, most: int = 10, label: str | None = None) -> Operation:
    return Operation(TALLY, PLACES, (who, f"user {who}" if label is None else label, hidden, most, LIFE))


def flush(counts: dict[str, int], most: int = 10) -> Operation:
    return Operation(HIDDEN, PLACES, (" ".join(f"{who} {count}" for who, count in counts.items()), most, LIFE))


class Books:
    """What stands in the statistics now."""

    def __init__(self, manager: RedisManager) -> None:
        self.manager = manager

    async def totals(self) -> dict[str, int]:
        return {name: int(count) for name, count in (await self._hash(TOTALS)).items()}

    async def labels(self) -> dict[str, str]:
        return await self._hash(LABELS)

    async def heavy(self, key: bytes) -> dict[str, int]:
        flat = await self.manager.execute("ZRANGE", key, 0, -1, "WITHSCORES")
        pairs = flat if flat and isinstance(flat[0], list | tuple) else zip(flat[::2], flat[1::2], strict=True)
        return {who.decode(): int(float(count)) for who, count in pairs}

    async def _hash(self, key: bytes) -> dict[str, str]:
        found: Any = await self.manager.execute("HGETALL", key)
        pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
        return {name.decode(): value.decode() for name, value in pairs}


@pytest.fixture
def books(manager: RedisManager) -> Books:
    return Books(manager)


def somebody(dice: random.Random) -> str:
    """Few who come often, and a crowd that comes once."""
    return dice.choice(["often", "twice", f"{dice.randrange(12)}", f"{dice.randrange(12)}", f"{dice.random()}"])


def never_missed(heavy: dict[str, int], true: Counter[str], most: int) -> None:
    """The promise of space saving: nobody above one part in `most` is missed, and no count is too small."""
    assert len(heavy) <= most
    assert sum(heavy.values()) == true.total()
    for who, count in true.items():
        assert heavy.get(who, true.total()) >= count, who
        if count * most > true.total():
            assert who in heavy
    least = min(heavy.values(), default=0) if len(heavy) == most else 0
    assert all(count - true[who] <= least for who, count in heavy.items())
    assert all(count <= least for who, count in true.items() if who not in heavy)


@pytest.mark.parametrize("most", [1, 5, 16])
@pytest.mark.parametrize("seed", range(2))
async def test_totals_are_exact_and_the_heaviest_are_known(
    clockwork: Clockwork, books: Books, most: int, seed: int
) -> None:
    """Some are refused by a limit, some refusals were hidden, of which some are told later and of somebody else."""
    dice = random.Random(seed)
    limit, now = Bound("log", 2, 1, 2), START
    totals, requests, refusals = Counter[str](), Counter[str](), Counter[str]()
    for _ in range(150):
        now += dice.choice([0, 1000, SECOND // 3])
        who, hidden = somebody(dice), dice.choice([0, 0, 0, 1, 5])
        late = {somebody(dice): dice.randint(1, 4) for _ in range(dice.choice([0, 0, 0, 2]))}
        operations = [tally(who, hidden, most), limit.take(), *([flush(late, most)] if late else [])]
        counted = (await clockwork.at(now, operations))[0][1]
        denied = hidden + (counted.status == STOPPED)
        totals.update(allowed=counted.status == PASSED, denied=denied)
        requests[who] += hidden + 1
        refusals[who] += denied
        if late and counted.status == PASSED:
            totals.update(denied=sum(late.values()))
            requests.update(late)
            refusals.update(late)
        labels = await books.labels()
        assert labels.keys() <= (await books.heavy(BUSIEST)).keys() | (await books.heavy(REFUSALS)).keys()
        assert all(label == f"user {name}" for name, label in labels.items())
    assert await books.totals() == totals
    never_missed(await books.heavy(BUSIEST), requests, most)
    never_missed(await books.heavy(REFUSALS), +refusals, most)


async def test_who_is_refused_most_keeps_a_label_though_many_others_are_busier(
    clockwork: Clockwork, books: Books
) -> None:
    for _ in range(3):
        await clockwork.one(START, tally("offender", hidden=1, most=2))
    for _ in range(9):
        for who in ("busy", "busier"):
            await clockwork.one(START, tally(who, most=2))
    assert "offender" not in await books.heavy(BUSIEST)
    assert "offender" in await books.heavy(REFUSALS)
    assert set(await books.labels()) == {"offender", "busy", "busier"}
    for who in ("x", "y"):
        await clockwork.one(START, flush({who: 9}, most=2))
    assert "offender" not in await books.labels()


async def test_everything_that_is_kept_ends(clockwork: Clockwork) -> None:
    limit = Bound("log", 1, 60, 1)
    for second in range(3):
        now = START + second * SECOND
        await clockwork.at(now, [tally("who", hidden=second), limit.take()])
        await clockwork.one(now, flush({"other": 2}))
        ends = await clockwork.ends()
        assert {key: ends[key] for key in PLACES} == dict.fromkeys(PLACES, now // 1000 + LIFE)


async def test_without_a_label_nothing_tells_who_it_was(clockwork: Clockwork) -> None:
    await clockwork.one(START, tally("who", label=""))
    assert set(await clockwork.ends()) == {TOTALS, BUSIEST}


async def test_somebody_banned_is_counted_as_refused(clockwork: Clockwork, books: Books) -> None:
    ban, strikes = Ban(1), KEYS.ban(b"limits", digest("who"))
    for _ in range(3):
        await clockwork.at(START, [tally("who"), ban.operation(strikes, 0), Bound("log", 1, 60, 1).take()])
    assert await books.totals() == {"allowed": 1, "denied": 2}


async def test_what_a_guard_in_front_refuses_is_not_this_guards(clockwork: Clockwork, books: Books) -> None:
    front = Bound("log", 1, 60, 1)
    for _ in range(4):
        await clockwork.at(START, [front.take()], [tally("who")])
    assert await books.totals() == {"allowed": 1}


async def test_refusals_that_nobody_was_asked_about_are_told_as_the_ledger_writes_them(
    clockwork: Clockwork, books: Books
) -> None:
    ledger = Ledger("limits", None, statistics=True, labels=True)
    alice, bob = digest("user", "alice"), digest("user", "bob/+ ")
    await clockwork.one(START, ledger.flush(KEYS, [(alice, 3), (bob, 1_000_000)], 3600))
    assert await books.totals() == {"denied": 1_000_003}
    assert await books.heavy(REFUSALS) == {alice.decode(): 3, bob.decode(): 1_000_000}
    (asked,) = ledger.operations(KEYS, ("user", "alice"), alice, 2, 3600)
    await clockwork.one(START, asked)
    assert await books.totals() == {"allowed": 1, "denied": 1_000_005}
    assert await books.labels() == {alice.decode(): "user alice"}
    assert (await books.heavy(BUSIEST))[alice.decode()] == 6
    assert set((await clockwork.ends()).values()) == {START // 1000 + KEPT}
