"""`redis/leases.py`: leases are renewed in time, nobody is told of a loss that is none, and who is told is told once.

Time is moved by hand, and the server is a list of futures, except where a test says otherwise.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, RedisUnavailable
from asgi_redis_guard.core.script import PASSED, STOPPED, Batch, Operation
from asgi_redis_guard.redis.leases import Lease, Leases
from asgi_redis_guard.redis.program import Program
from tests.clockwork import Clockwork
from tests.redis.tools import eventually, kind

RENEW = kind("if call('GET', k) ~= v then stop = true end", "call('PEXPIRE', k, 60000)", keys="k", args="v")
OTHER = kind("", keys="k", args="v", name="other")
TTL = 30.0


class Server:
    """Keeps what it is asked; answers at once with `says`, or when the test does if that is None."""

    def __init__(self, clock: Clockwork) -> None:
        self._clock = clock
        self.says: Any = PASSED
        self.asked: list[tuple[float, bytes]] = []
        self.programs: set[Program] = set()
        self.open: list[asyncio.Future[Any]] = []

    def __call__(self, program: Program, batches: Sequence[Batch]) -> asyncio.Future[Any]:
        if isinstance(self.says, RedisUnavailable):
            raise self.says
        ((key,),) = [batch.keys for batch in batches]
        self.asked.append((self._clock.now, key))
        self.programs.add(program)
        reply = asyncio.get_running_loop().create_future()
        if self.says is None:
            self.open.append(reply)
        else:
            reply.set_result([self.says, 0])
        return reply


class House:
    """Leases, their clock, their server, and who was told of a loss when."""

    def __init__(self) -> None:
        self.clock = Clockwork()
        self.server = Server(self.clock)
        self.leases = Leases(self.clock, self.server)  # type: ignore[arg-type]
        self.lost: list[tuple[float, str]] = []
        self.began = self.clock.now

    def keep(self, name: str = "a", ttl: float = TTL, operation: Any = RENEW) -> Lease:
        asked = Operation(operation, (name.encode(),), ("token",))
        return self.leases.keep(asked, ttl, lambda: self.lost.append((self.since, name)))

    @property
    def since(self) -> float:
        return self.clock.now - self.began

    @property
    def renewals(self) -> list[float]:
        return [round(at - self.began, 3) for at, _ in self.server.asked]

    async def pass_(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass; replies are heard meanwhile."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.advance(min(step, end - self.clock.now))
            await self.hear()

    async def hear(self) -> None:
        asked = -1
        while asked != len(self.server.asked):
            asked = len(self.server.asked)
            for _ in range(3):
                await asyncio.sleep(0)


@pytest.fixture
def house() -> House:
    return House()


async def test_a_lease_is_renewed_at_a_third_of_its_ttl_for_as_long_as_it_is_kept(house: House) -> None:
    lease = house.keep()
    await house.pass_(1000)
    gaps = [b - a for a, b in zip([0, *house.renewals], house.renewals, strict=False)]
    assert 100 <= len(gaps) <= 115
    assert all(TTL / 3 - TTL / 32 <= gap <= TTL / 3 for gap in gaps)
    assert (house.lost, len(house.leases)) == ([], 1)
    lease.drop()


async def test_without_a_lease_there_is_neither_a_timer_nor_a_task(house: House) -> None:
    tasks = asyncio.all_tasks()
    assert house.clock.due == []
    lease = house.keep()
    assert len(house.clock.due) == 1
    assert asyncio.all_tasks() == tasks
    lease.drop()
    await house.pass_(TTL / 3)
    assert house.clock.due == []
    assert house.server.asked == []


async def test_a_thousand_leases_have_one_timer_and_each_is_renewed_in_its_turn(house: House) -> None:
    for number in range(1000):
        house.keep(f"{number}")
        house.clock.advance(0.003)
    assert len(house.clock.due) == 1
    await house.pass_(TTL / 3)
    assert len({key for _, key in house.server.asked}) == 1000
    assert len({at for at, _ in house.server.asked}) <= 10, "what is nearly due goes together"


async def test_all_leases_of_a_kind_share_one_program(house: House) -> None:
    for number in range(1000):
        house.keep(f"{number}", operation=(RENEW, OTHER)[number % 2])
    await house.pass_(TTL / 3)
    assert len(house.server.asked) == 1000
    assert len(house.server.programs) == 2


async def test_no_more_than_64_are_on_their_way_at_a_time(house: House) -> None:
    house.server.says = None
    for number in range(200):
        house.keep(f"{number}")
    house.clock.advance(TTL / 3)
    assert len(house.server.open) == 64
    for count in (128, 192, 200, 200):
        for reply in house.server.open:
            if not reply.done():
                reply.set_result([PASSED, 0])
        await house.hear()
        assert len(house.server.open) == count
    assert len({key for _, key in house.server.asked}) == 200


async def test_one_that_is_no_longer_held_is_lost_once_and_never_renewed_again(house: House) -> None:
    house.keep("a")
    other = house.keep("b")
    house.server.says = STOPPED
    await house.pass_(TTL / 3)
    assert [name for _, name in house.lost] == ["a", "b"] or [name for _, name in house.lost] == ["b", "a"]
    asked = len(house.server.asked)
    await house.pass_(3 * TTL)
    assert (len(house.lost), len(house.server.asked), len(house.leases)) == (2, asked, 0)
    other.drop()


@pytest.mark.parametrize("trouble", [RedisUnavailable("away"), b"OOM command not allowed", None])
@pytest.mark.parametrize("outage", [0.3, 0.66, 0.95])
async def test_an_outage_that_is_shorter_than_the_ttl_loses_nothing(house: House, trouble: Any, outage: float) -> None:
    house.keep()
    house.server.says = trouble
    await house.pass_(TTL * outage)
    house.server.says = PASSED
    for reply in house.server.open:
        reply.set_exception(RedisUnavailable("no answer"))
    await house.pass_(2 * TTL)
    assert house.lost == []
    assert len(house.leases) == 1


@pytest.mark.parametrize("trouble", [RedisUnavailable("away"), b"OOM command not allowed"])
async def test_when_redis_cannot_be_asked_until_the_ttl_is_over_it_is_lost_then(house: House, trouble: Any) -> None:
    house.keep()
    house.server.says = trouble
    await house.pass_(TTL * 2)
    assert house.lost == [(TTL, "a")]
    house.server.says = PASSED
    await house.pass_(TTL * 2)
    assert len(house.lost) == 1
    assert house.clock.due == []


async def test_the_ttl_counts_from_before_the_last_renewal_that_succeeded_was_sent(house: House) -> None:
    house.keep()
    house.server.says = None
    await house.pass_(TTL / 3)
    (sent,) = house.renewals
    await house.pass_(5)
    house.server.open[0].set_result([PASSED, 0])
    await house.hear()
    house.server.says = RedisUnavailable("away")
    await house.pass_(2 * TTL)
    assert house.lost == [(pytest.approx(sent + TTL, abs=0.001), "a")]


async def test_a_server_that_says_nothing_loses_it_and_what_it_says_later_is_too_late(house: House) -> None:
    house.keep()
    house.server.says = None
    await house.pass_(TTL)
    assert house.lost == [(TTL, "a")]
    house.server.open[0].set_result([PASSED, 0])
    await house.pass_(TTL)
    assert (house.lost, len(house.server.asked), len(house.leases)) == ([(TTL, "a")], 1, 0)


async def test_a_loop_that_was_held_up_for_longer_than_the_ttl_finds_it_lost(house: House) -> None:
    house.keep()
    house.clock.now += TTL + 1
    house.clock.advance(0)
    assert [name for _, name in house.lost] == ["a"]
    assert house.server.asked == []


@pytest.mark.parametrize("reply", [[PASSED, 0], [STOPPED, 0], RedisUnavailable("away")])
async def test_one_that_is_dropped_hears_of_nothing_more(house: House, reply: Any) -> None:
    house.server.says = None
    lease = house.keep()
    house.clock.advance(TTL / 3)
    lease.drop()
    lease.drop()
    (future,) = house.server.open
    future.set_exception(reply) if isinstance(reply, Exception) else future.set_result(reply)
    await house.pass_(2 * TTL)
    assert (house.lost, len(house.server.asked), len(house.leases)) == ([], 1, 0)


async def test_one_that_is_dropped_while_it_waits_for_its_turn_is_not_renewed(house: House) -> None:
    house.server.says = None
    leases = [house.keep(f"{number}") for number in range(65)]
    house.clock.advance(TTL / 3)
    asked = {key for _, key in house.server.asked}
    (waiting,) = [lease for lease in leases if lease.operation.keys[0] not in asked]
    waiting.drop()
    house.server.open[0].set_result([PASSED, 0])
    await house.hear()
    assert len(house.server.open) == 64


async def test_holders_that_fail_when_they_are_told_keep_nobody_from_being_told(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("boom")

    house.leases.keep(Operation(RENEW, (b"first",), ("token",)), TTL, fail)
    house.keep("second")
    house.server.says = RedisUnavailable("away")
    await house.pass_(TTL)
    assert house.lost == [(TTL, "second")]
    assert [record.message for record in caplog.records] == ["who held a lease failed when it was lost"]


async def test_one_that_is_dropped_because_another_is_lost_is_not_told(house: House) -> None:
    dropped: list[int] = []
    leases: list[Lease] = []

    def lost(number: int) -> None:
        dropped.append(number)
        leases[1 - number].drop()

    for number in (0, 1):
        operation = Operation(RENEW, (b"%d" % number,), ("token",))
        leases.append(house.leases.keep(operation, TTL, lambda number=number: lost(number)))  # type: ignore[misc]
    house.server.says = RedisUnavailable("away")
    await house.pass_(TTL)
    assert len(dropped) == 1


async def test_closing_tells_everybody_and_leaves_no_timer(house: House) -> None:
    house.keep("a")
    house.keep("b", ttl=5)
    house.leases.close()
    assert {name for _, name in house.lost} == {"a", "b"}
    assert (house.clock.due, len(house.leases)) == ([], 0)
    await house.pass_(TTL)
    assert house.server.asked == []


async def test_leases_that_are_abandoned_are_forgotten_in_silence(house: House) -> None:
    lease = house.keep()
    house.leases.abandon()
    lease.drop()
    await house.pass_(2 * TTL)
    assert (house.lost, house.server.asked, len(house.leases)) == ([], [], 0)


@pytest.mark.parametrize("ttl", [0, -1, 0.05, float("inf"), float("nan")])
def test_a_ttl_that_cannot_be_kept_is_refused(house: House, ttl: float) -> None:
    with pytest.raises(ValueError, match=r"allowed are 0\.1 and more"):
        house.keep(ttl=ttl)


def test_what_is_kept_can_be_looked_at(house: House) -> None:
    lease = house.keep()
    assert repr(house.leases) == "<Leases: 1 kept, 0 being renewed>"
    assert repr(lease) == "<Lease <Operation test>, for 30 s>"
    lease.drop()
    assert repr(lease) == "<Lease <Operation test>, over>"


@pytest.mark.parametrize("seed", range(20))
async def test_over_random_histories_a_loss_is_told_when_it_is_one_and_only_then(house: House, seed: int) -> None:
    """The model: a lease is over `ttl` after the last renewal that succeeded was sent."""
    dice = random.Random(seed)
    kept: dict[str, tuple[Lease, float]] = {}
    dropped: set[str] = set()
    for turn in range(300):
        if dice.random() < 0.3:
            ttl = dice.choice([1.0, 3.0, 10.0])
            kept[f"{turn}"] = (house.keep(f"{turn}", ttl), ttl)
        if kept and dice.random() < 0.2:
            name = dice.choice([*kept])
            kept[name][0].drop()
            dropped |= {name} - {name for _, name in house.lost}
        house.server.says = dice.choice([PASSED, PASSED, PASSED, house.server.says, RedisUnavailable("away"), None])
        for reply in house.server.open:
            if not reply.done() and dice.random() < 0.5:
                outcome = dice.choice([[PASSED, 0], None])
                reply.set_result(outcome) if outcome else reply.set_exception(RedisUnavailable("no answer"))
        await house.pass_(dice.choice([0.05, 0.3, 1.0]), step=0.05)
        lost = [name for _, name in house.lost]
        assert len(lost) == len(set(lost))
        assert not dropped & set(lost)
        for name, (lease, _) in kept.items():
            assert (name in lost or name in dropped) == (lease.moment is None)
            assert lease.moment is None or lease.ends > house.clock.now
    assert len(house.leases) == len(kept) - len(house.lost) - len(dropped)
    assert house.lost


# On real servers.


async def test_a_lease_is_renewed_on_every_server_and_lost_when_it_is_taken_away(each_manager: RedisManager) -> None:
    lost = asyncio.Event()
    await each_manager.execute("SET", "k", "mine", "PX", 5000)
    lease = each_manager.leases.keep(Operation(RENEW, (b"k",), ("mine",)), 0.1, lost.set)
    while await each_manager.execute("PTTL", "k") <= 5000:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    assert not lost.is_set()
    await each_manager.execute("SET", "k", "somebody else's", "PX", 5000)
    await asyncio.wait_for(lost.wait(), 20)
    await eventually(lambda: len(each_manager.leases) == 0)
    assert lease.moment is None
    assert await each_manager.execute("PTTL", "k") <= 5000


async def test_a_manager_that_is_closed_renews_nothing_more(redis_url: str) -> None:
    lost: list[int] = []
    async with RedisManager(redis_url) as manager:
        leases = manager.leases
        leases.keep(Operation(RENEW, (b"k",), ("mine",)), 30, lambda: lost.append(1))
    assert (lost, len(leases)) == ([1], 0)
    assert manager.leases is not leases
    await manager.aclose()
