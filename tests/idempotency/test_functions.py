"""`@idempotent` with a key of its own: a function runs once for each, and what it has returned is returned again."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, RedisManager, RedisUnavailable
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.errors import IdempotencyConflict, IdempotencyError, IdempotencyMismatch
from asgi_redis_guard.idempotency.decorator import idempotent
from asgi_redis_guard.idempotency.operations import BUSY, Awaited, Claim, Found
from tests.idempotency.shop import attended, record
from tests.middleware.calls import TestRedis, settled
from tests.redis.tools import eventually, within


class Till:
    """A function that charges, as often as it is called: when it is told to, and as it is told."""

    def __init__(self, redis: RedisManager, template: str = "charge:{order}", **options: Any) -> None:
        self.calls: list[Any] = []
        self.running = self.most = 0
        self.open = asyncio.Event()
        self.open.set()
        self.begun = asyncio.Event()
        self.result: Any = None
        self.charge = idempotent(template, redis=redis, **options)(self._function())

    def _function(self) -> Any:
        async def charge(order: int, amount: Decimal = Decimal("5.00"), *, connection: object = None) -> Any:
            self.running += 1
            self.most = max(self.most, self.running)
            self.begun.set()
            try:
                await self.open.wait()
                self.calls.append((order, amount))
                if isinstance(self.result, BaseException):
                    raise self.result
                return self.result or {"number": len(self.calls), "amount": amount}
            finally:
                self.running -= 1

        return charge

    def start(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        """Call it, in a task of its own."""
        return asyncio.ensure_future(self.charge(*args, **kwargs))


@pytest.fixture
async def till(redis: RedisManager) -> AsyncIterator[Till]:
    return Till(redis)


async def test_it_runs_once_and_returns_the_same_again(till: Till) -> None:
    first = await till.charge(7)
    assert first == {"number": 1, "amount": Decimal("5.00")}
    assert await till.charge(order=7) == await till.charge(7, Decimal("5.00")) == first
    assert await till.charge(8) == {"number": 2, "amount": Decimal("5.00")}
    assert len(till.calls) == 2


@pytest.mark.parametrize("value", [0, "text", [1, (2, b"\xff")], {"at": datetime.date(2026, 1, 2)}, "x" * 20_000])
async def test_what_it_returns_comes_back_as_it_was(redis: RedisManager, value: Any) -> None:
    till = Till(redis)
    till.result = value
    assert await till.charge(7) == await till.charge(7)
    assert (await till.charge(7)) == (value or {"number": 1, "amount": Decimal("5.00")})
    assert len(till.calls) == 1


async def test_none_is_a_result_like_others(redis: RedisManager) -> None:
    calls = []

    @idempotent("{order}", redis=redis)
    async def charge(order: int) -> None:
        calls.append(order)

    assert [await charge(1), await charge(1)] == [None, None]
    assert calls == [1]


async def test_the_same_key_with_other_arguments_is_a_fault(till: Till) -> None:
    await till.charge(7)
    with pytest.raises(IdempotencyMismatch):
        await till.charge(7, Decimal("6.00"))
    assert len(till.calls) == 1


async def test_what_has_no_plain_value_is_not_compared(till: Till) -> None:
    assert await till.charge(7, connection=object()) == await till.charge(7, connection=object())
    assert len(till.calls) == 1


async def test_two_functions_with_one_template_are_told_from_each_other(redis: RedisManager) -> None:
    @idempotent("{order}", redis=redis)
    async def charge(order: int) -> str:
        return "charged"

    @idempotent("{order}", redis=redis)
    async def refund(order: int) -> str:
        return "refunded"

    assert await charge(1) == "charged"
    with pytest.raises(IdempotencyMismatch):
        await refund(1)


async def test_while_it_runs_another_call_is_refused_and_told_when_to_come_back(redis: RedisManager) -> None:
    till = Till(redis, lease=20)
    till.open.clear()
    first = till.start(7)
    await within(till.begun.wait())
    with pytest.raises(IdempotencyConflict) as refused:
        await till.charge(7)
    assert 0 < refused.value.retry_after <= 20
    till.open.set()
    assert await first == await till.charge(7)


async def test_who_waits_gets_what_it_returns(redis: RedisManager) -> None:
    till = Till(redis, wait=20)
    till.open.clear()
    first = till.start(7)
    await within(till.begun.wait())
    others = [till.start(7) for _ in range(3)]
    await attended(redis)
    till.open.set()
    assert {str(result) for result in await asyncio.gather(first, *others)} == {str(await till.charge(7))}
    assert (len(till.calls), till.most) == (1, 1)


async def test_who_has_waited_long_enough_is_refused(redis: RedisManager) -> None:
    till = Till(redis, wait=0.01)
    till.open.clear()
    first = till.start(7)
    await within(till.begun.wait())
    with pytest.raises(IdempotencyConflict):
        await till.charge(7)
    till.open.set()
    await first


async def test_an_exception_frees_the_key(till: Till, redis: RedisManager) -> None:
    till.result = RuntimeError("boom")
    with pytest.raises(RuntimeError, match="boom"):
        await till.charge(7)
    till.result = "done"
    assert await till.charge(7) == "done"
    assert len(till.calls) == 2


async def test_a_cancelled_call_frees_the_key_wherever_it_was(redis: RedisManager) -> None:
    till = Till(redis)
    till.open.clear()
    for steps in range(12):
        call = till.start(7)
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert await record(redis) is None
    assert len(redis.leases) == 0


async def test_a_cancellation_while_it_is_recorded_does_not_undo_it(memory: TestRedis) -> None:
    till = Till(memory)
    till.open.clear()
    call = till.start(7)
    await till.begun.wait()
    memory.withhold()
    till.open.set()
    await memory.asked.wait()
    call.cancel()
    await asyncio.wait([call])
    memory.give()
    await settled(memory)
    assert (await till.charge(7))["number"] == 1


async def test_a_call_that_loses_its_record_is_cancelled(redis: RedisManager) -> None:
    till = Till(redis, lease=1)
    till.open.clear()
    call = till.start(7)
    await within(till.begun.wait())
    await redis.execute("FLUSHALL")
    with pytest.raises(IdempotencyError, match="lost"):
        await within(call)
    assert till.calls == []
    assert await record(redis) is None


async def test_a_reply_that_comes_after_its_lease_is_over_runs_nothing(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = Till(memory)
    memory.withhold()
    call = till.start(7)
    await memory.asked.wait()
    now = memory.leases.time()
    with monkeypatch.context() as patched:
        patched.setattr(memory.leases, "time", lambda: now + 30)
        memory.give()
        await asyncio.wait([call])
    assert isinstance(call.exception(), RedisUnavailable)
    assert till.calls == []
    await settled(memory)
    assert await record(memory) is None
    assert (await till.charge(7))["number"] == 1


async def test_what_another_has_begun_meanwhile_is_not_written_over(redis: RedisManager) -> None:
    till = Till(redis)
    till.open.clear()
    call = till.start(7)
    await within(till.begun.wait())
    (key,) = await redis.execute("KEYS", "guard:y:*")
    other = (await redis.execute("GET", key))[:22] + b"another's-token!"
    await redis.execute("SET", key, other, "PX", 60_000)
    till.open.set()
    with pytest.raises(IdempotencyError, match="another"):
        await call
    assert await record(redis) == other


async def test_what_cannot_be_kept_is_told_and_not_done_again(till: Till, redis: RedisManager) -> None:
    till.result = object()
    with pytest.raises(TypeError, match="charge"):
        await till.charge(7)
    await settled(redis)
    with pytest.raises(IdempotencyError, match="could not be kept"):
        await till.charge(7)
    assert len(till.calls) == 1


async def test_while_redis_is_away_it_is_refused_or_called_unguarded(memory: TestRedis) -> None:
    memory.away = RedisUnavailable()
    closed, opened = Till(memory), Till(memory, on_outage="open")
    with pytest.raises(RedisUnavailable):
        await closed.charge(7)
    assert (await opened.charge(7))["number"] == 1
    assert closed.calls == []


@pytest.mark.parametrize("on_outage", ["closed", "open"])
async def test_what_could_not_be_recorded_is_recorded_as_soon_as_it_can(memory: TestRedis, on_outage: str) -> None:
    till = Till(memory, on_outage=on_outage)
    till.open.clear()
    call = till.start(7)
    await till.begun.wait()
    memory.away = RedisUnavailable()
    till.open.set()
    await asyncio.wait([call])
    assert isinstance(call.exception(), RedisUnavailable) == (on_outage == "closed")
    memory.away = None
    await settled(memory)
    assert (await till.charge(7))["number"] == 1
    await eventually(lambda: len(memory.leases) == 0)


async def test_a_record_that_cannot_be_read_is_not_run_again(till: Till, redis: RedisManager) -> None:
    await till.charge(7)
    (key,) = await redis.execute("KEYS", "guard:y:*")
    good = await redis.execute("GET", key)
    for garbage in (b"?", good[:38] + b"{", good[:38] + b'{"$?": 1}'):
        await redis.execute("SET", key, garbage, "PX", 60_000)
        with pytest.raises(IdempotencyError, match="cannot be read"):
            await till.charge(7)
    assert len(till.calls) == 1


async def test_a_method_goes_by_its_arguments(redis: RedisManager) -> None:
    class Shop:
        def __init__(self) -> None:
            self.charges = 0

        @idempotent("charge:{order}", redis=redis)
        async def charge(self, order: int) -> int:
            self.charges += 1
            return self.charges

    shop = Shop()
    assert [await shop.charge(1), await shop.charge(1), await shop.charge(2)] == [1, 1, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: idempotent("charge:{user}")(_some),
        lambda: idempotent("charge:{other}")(_some),
        lambda: idempotent("")(_some),
        lambda: idempotent("{order}", ttl=0)(_some),
        lambda: idempotent("{order}", lease=0.5)(_some),
        lambda: idempotent("{order}", wait=-1)(_some),
        lambda: idempotent("{order}", on_outage="local")(_some),
        lambda: idempotent("{order}")(_items),
        lambda: idempotent(redis="memory://"),  # type: ignore[call-overload]
        lambda: idempotent(ttl=0)(_some),
    ],
)
def test_what_cannot_work_is_told_when_it_is_declared(make: Any) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_an_option_that_there_is_not_is_told() -> None:
    with pytest.raises(TypeError, match="required"):
        idempotent("{order}", required=True)  # type: ignore[call-overload]


async def _some(order: int) -> None:
    """A function."""


async def _items(order: int) -> AsyncIterator[int]:
    yield order


def test_what_a_waiting_call_takes_unheard_is_given_back_for_as_long_as_its_lease() -> None:
    claim = Claim.of(Keys(), b"word", b"print", bytes, lease=3_600, ttl=86_400)
    assert Awaited(claim, Found(BUSY, 5.0)).sought().lasts == 3_600
