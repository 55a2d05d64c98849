"""Locks: taken, given back, waited for, held for longer, by this package's words and by redis-py's."""

import asyncio
import itertools
import re
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, Lock, LockBusy, LockError, LockLost, LockNotOwnedError, RedisManager
from asgi_redis_guard.testing import RoundTripCounter
from tests.middleware.calls import TestRedis


async def is_waiting(manager: RedisManager) -> None:
    """Wait until somebody waits for a lock and would be told of its release."""
    marks: list[bytes] = []
    while b"w" not in marks:
        marks = [await manager.execute("GETRANGE", key, 0, 0) for key in await manager.execute("KEYS", "guard:k:*")]


async def test_one_has_it_at_a_time(manager: RedisManager) -> None:
    mine, other = manager.lock("import", wait=0), manager.lock("import", wait=0)
    assert await mine.acquire() is True
    assert await other.acquire() is False
    assert (await mine.owned(), await mine.locked()) == (True, True)
    assert (await other.owned(), await other.locked()) == (False, True)
    await mine.release()
    assert await other.locked() is False
    assert await other.acquire() is True
    await other.release()


async def test_locks_of_other_names_are_others(manager: RedisManager) -> None:
    names: list[Any] = ["a", b"a:", ("a", "b"), ("ab",), "ab", ("a", b"b", "")]
    locks = [manager.lock(name, wait=0) for name in names]
    taken = [await lock.acquire() for lock in locks]
    assert taken == [True, True, True, True, False, True]  # ("ab",) is "ab"
    for lock, is_held in zip(locks, taken, strict=True):
        if is_held:
            await lock.release()


async def test_fences_rise_from_holder_to_holder(manager: RedisManager) -> None:
    fences = []
    for _ in range(20):
        async with manager.lock("import") as lock:
            fences.append(lock.fence)
        assert lock.fence is None
    assert fences == sorted(set(fences))


async def test_who_cannot_have_it_is_told_for_how_long(manager: RedisManager) -> None:
    async with manager.lock("import", ttl=20):
        with pytest.raises(LockBusy, match="import") as raised:
            async with manager.lock("import", wait=0):
                pass
        assert 0 < raised.value.retry_after <= 20


async def test_who_waits_gets_it_when_it_is_released(here: RedisManager, there: RedisManager) -> None:
    lock = here.lock("import")
    await lock.acquire()
    waiting = asyncio.create_task(there.lock("import").acquire())
    await is_waiting(there)
    assert not waiting.done()
    await lock.release()
    assert await waiting is True


async def test_who_waits_gets_it_when_its_time_is_up(here: RedisManager, there: RedisManager) -> None:
    assert await here.lock("import", ttl=0.2, renew=False).acquire()
    assert await there.lock("import").acquire()


async def test_waiters_of_a_process_get_it_in_their_order(here: RedisManager) -> None:
    order: list[int] = []

    async def take(number: int) -> None:
        async with here.lock("import"):
            order.append(number)
            await asyncio.sleep(0)

    async with here.lock("import"):
        tasks = [asyncio.create_task(take(number)) for number in range(30)]
        await is_waiting(here)
    await asyncio.gather(*tasks)
    assert order == list(range(30))


async def test_no_process_is_passed_over(here: RedisManager, there: RedisManager) -> None:
    order: list[str] = []

    async def take(manager: RedisManager, who: str) -> None:
        async with manager.lock("import"):
            order.append(who)

    await asyncio.gather(*(take(m, who) for _ in range(60) for m, who in ((here, "here"), (there, "there"))))
    changes = sum(one != other for one, other in itertools.pairwise(order))
    assert changes > 3  # the chance that it is not is below one in 10**15


async def test_waiting_ends_at_its_deadline(here: RedisManager, there: RedisManager) -> None:
    async with here.lock("import"):
        assert await there.lock("import", wait=0.05).acquire() is False
        assert await there.lock("import").acquire(blocking_timeout=0.05) is False
        assert await there.lock("import").acquire(blocking=False) is False
        assert await there.lock("import", wait=0.05).acquire(blocking=True) is False
    assert not there.flights


async def test_it_takes_two_round_trips(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url) as manager:
        async with manager.lock("warm"):
            pass
        counter.reset()
        async with manager.lock("import"):
            pass
        assert counter.round_trips == 2


async def test_one_that_is_lost_and_taken_again_while_it_is_released_is_not_lost_anew(memory: TestRedis) -> None:
    lock = memory.lock("import", wait=0)
    await lock.acquire()
    first = lock.lost
    await memory.execute("FLUSHALL")
    memory.withhold()
    released = asyncio.ensure_future(lock.release())
    await memory.asked.wait()
    taken = asyncio.ensure_future(lock.acquire())
    await asyncio.sleep(0)
    memory.give()
    with pytest.raises(LockLost):
        await released
    assert await taken
    assert (first.is_set(), lock.lost.is_set()) == (True, False)
    await lock.release()


async def test_an_object_is_one_holder(manager: RedisManager) -> None:
    lock = manager.lock("import")
    await lock.acquire()
    with pytest.raises(LockError, match="held by this object already"):
        await lock.acquire()
    await lock.release()
    assert await lock.acquire()
    await lock.release()
    both = await asyncio.gather(lock.acquire(), lock.acquire(), return_exceptions=True)
    assert both[0] is True
    assert isinstance(both[1], LockError)
    await lock.release()


async def test_what_is_not_held_cannot_be_given_back_or_extended(manager: RedisManager) -> None:
    lock = manager.lock("import")
    for act in (lock.release, lock.reacquire, lambda: lock.extend(1)):
        with pytest.raises(LockNotOwnedError, match="not held"):
            await act()
    await lock.acquire()
    await lock.release()
    with pytest.raises(LockNotOwnedError, match="not held"):
        await lock.release()


async def test_who_would_rather_be_told_in_the_log_is(here: RedisManager, caplog: pytest.LogCaptureFixture) -> None:
    await Lock(here, "import", raise_on_release_error=False).release()
    assert "not held" in caplog.text


async def test_it_may_be_held_for_longer(manager: RedisManager) -> None:
    lock = manager.lock("import", ttl=10, renew=False)
    await lock.acquire()
    assert 0 < lock.remaining() <= 10
    assert await lock.extend(50) is True
    assert 50 < lock.remaining() <= 60
    assert await lock.extend(5, replace_ttl=True) is True
    assert 0 < lock.remaining() <= 5
    assert await lock.reacquire() is True
    assert 5 < lock.remaining() <= 10
    await lock.release()
    assert lock.remaining() == 0


async def test_a_lock_is_renewed_as_long_as_it_is_held(here: RedisManager, there: RedisManager) -> None:
    async with here.lock("import", ttl=0.3) as lock:
        fence = lock.fence
        assert await there.lock("import", wait=0.9).acquire() is False  # thrice its ttl
        assert (lock.fence, lock.lost.is_set()) == (fence, False)


async def test_a_loss_ends_the_body(here: RedisManager) -> None:
    reached = False
    with pytest.raises(LockLost, match="import"):
        async with here.lock("import", ttl=0.3) as lock:
            await here.execute("FLUSHALL")
            await asyncio.Event().wait()
            reached = True
    assert lock.lost.is_set()
    assert not reached


async def test_a_loss_may_be_told_alone(here: RedisManager) -> None:
    with pytest.raises(LockLost):
        async with here.lock("import", ttl=0.3, on_lost="tell") as lock:
            await here.execute("FLUSHALL")
            await lock.lost.wait()
            assert lock.remaining() == 0
            await asyncio.sleep(0)


async def test_a_loss_that_shows_at_the_end_is_told(here: RedisManager) -> None:
    with pytest.raises(LockLost):
        async with here.lock("import"):
            await here.execute("FLUSHALL")


async def test_what_the_body_raises_comes_out(here: RedisManager) -> None:
    with pytest.raises(KeyError):
        async with here.lock("import"):
            await here.execute("FLUSHALL")
            raise KeyError("of the body")
    assert not here.leases


async def test_the_body_may_give_it_back_itself(here: RedisManager) -> None:
    async with here.lock("import") as lock:
        await lock.release()
        assert await here.lock("import", wait=0).acquire()


async def test_several_are_taken_all_or_none(here: RedisManager, there: RedisManager) -> None:
    async with here.lock("b", "a", ttl=20) as both:
        assert await there.lock("a", wait=0).acquire() is False
        assert await there.lock("c", "b", wait=0).acquire() is False
        assert await there.lock("c", wait=0).acquire() is True
        assert await both.extend(30)
    async with there.lock("b", "a", "b"):
        assert await here.lock("a", "b").locked() is True
        assert await here.lock("a", "x").locked() is False


async def test_who_wants_several_in_any_order_is_never_in_a_deadlock(here: RedisManager, there: RedisManager) -> None:
    turns: list[int] = []

    async def take(manager: RedisManager, *names: str) -> None:
        for turn in range(10):
            async with manager.lock(*names):
                turns.append(turn)

    await asyncio.gather(take(here, "a", "b"), take(there, "b", "a"), take(here, "b", "c"), take(there, "c", "a"))
    assert len(turns) == 40


async def test_one_of_several_that_is_lost_is_the_loss_of_all(here: RedisManager) -> None:
    with pytest.raises(LockLost):
        async with here.lock("a", "b", ttl=0.3):
            (first, *_) = await here.execute("KEYS", "guard:k:*")
            await here.execute("DEL", first)
            await asyncio.Event().wait()
    while await here.execute("KEYS", "guard:k:*"):  # the other is given back in the background
        pass


async def test_redis_py_s_own_words_mean_the_same(redis_url: str) -> None:
    async with RedisManager.of(redis_url):
        lock = Lock(redis_url, "import", timeout=5, sleep=0.01, blocking=True, blocking_timeout=0, thread_local=False)
        assert await lock.acquire(token="of my own")
        assert (lock.name, lock.token, lock.ttl, lock.wait) == ("import", "of my own", 5.0, 0.0)
        assert await Lock(redis_url, "import", blocking=False).acquire() is False
        assert await Lock(redis_url, "import", timeout=5, blocking_timeout=0.01).acquire() is False
        await lock.release()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"ttl": 0}, "ttl: 0 given; allowed are 0.1 to 604800 seconds"),
        ({"timeout": "5"}, "timeout: '5' given"),
        ({"ttl": 5, "timeout": 5}, "ttl: given together with timeout"),
        ({"wait": -1}, "wait: -1 given"),
        ({"wait": 1, "blocking_timeout": 1}, "wait: given together with blocking"),
        ({"blocking": False, "blocking_timeout": 1}, "blocking_timeout: given together with blocking=False"),
        ({"on_lost": "raise"}, "on_lost: 'raise' given; allowed are 'cancel' and 'tell'"),
        ({"wait_replicas": -1}, "wait_replicas: -1 given"),
        ({"wait_replicas": True}, "wait_replicas: True given"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(fault)):
        Lock(RedisManager("memory://"), "import", **options)


@pytest.mark.parametrize("name", [None, 1, [], ["a", 1], (), ("a", None)])
def test_names_are_text(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name: "):
        Lock(RedisManager("memory://"), name)


async def test_no_secret_is_in_what_is_printed(manager: RedisManager) -> None:
    lock = manager.lock("import")
    await lock.acquire(token="of my own")
    assert repr(lock) == "<Lock 'import', held>"
    assert "of my own" not in repr(vars(lock))
    await lock.release()
    assert repr(lock) == "<Lock 'import', not held>"


async def test_an_extension_that_finds_it_gone_is_told_as_a_loss(here: RedisManager) -> None:
    lock = here.lock("import")
    await lock.acquire()
    await here.execute("FLUSHALL")
    with pytest.raises(LockLost, match="held no more"):
        await lock.extend(5)
    assert lock.lost.is_set()
    assert not here.leases


async def test_what_was_lost_may_be_taken_anew_without_a_release(here: RedisManager) -> None:
    lock = here.lock("import", ttl=0.2, renew=False)
    await lock.acquire()
    first, lost = lock.fence or 0, lock.lost
    await lost.wait()
    assert await lock.acquire()
    assert (lock.fence or 0) > first
    assert (lost.is_set(), lock.lost.is_set()) == (True, False)
    await lock.release()
