"""Work that is done when a loop ends in order, and only then."""

import asyncio
import gc

import pytest

from asgi_redis_guard.redis.loop_end import AtLoopEnd
from tests.redis.tools import on_both_loops

done: list[str] = []
kept: list[AtLoopEnd] = []


@pytest.fixture(autouse=True)
def forget() -> None:
    done.clear()
    kept.clear()


async def work() -> None:
    await asyncio.sleep(0)
    done.append("worked")


async def begin() -> None:
    kept.append(AtLoopEnd(work))
    await asyncio.sleep(0)
    assert done == []


def test_it_is_done_at_the_end_of_run() -> None:
    asyncio.run(begin())
    assert done == ["worked"]
    gc.collect()
    assert done == ["worked"]


def test_it_is_done_on_uvloop_too() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(begin())
    assert done == ["worked"]


def test_what_was_cancelled_is_not_done() -> None:
    async def cancel() -> None:
        await begin()
        kept[0].cancel()
        kept[0].cancel()

    asyncio.run(cancel())
    assert done == []


def test_it_may_be_cancelled_by_its_own_work() -> None:
    async def main() -> None:
        async def cancels() -> None:
            kept[0].cancel()
            done.append("worked")

        kept.append(AtLoopEnd(cancels))

    asyncio.run(main())
    assert done == ["worked"]


def test_a_loop_that_is_closed_without_an_end_does_nothing() -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    kept[0].cancel()
    kept.clear()
    gc.collect()
    assert done == []


@on_both_loops
async def test_cancelling_leaves_no_task_behind() -> None:
    await begin()
    kept[0].cancel()
    kept.clear()
    gc.collect()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
