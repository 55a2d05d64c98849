"""The bookkeeping of a link, one rule at a time; `test_pipeline_model.py` has all of them at once."""

from typing import Any

import pytest

from asgi_redis_guard.errors import RedisOverloaded, RedisTimeout
from asgi_redis_guard.redis.pipeline import Pipeline, Slot
from tests.redis.test_pipeline_model import SCRIPTS, Caller


def slot(caller: Caller | None = None, **options: Any) -> Slot:
    return Slot(b"x", caller or Caller(), 1.0, 1.0, **options)


def test_a_full_pipeline_refuses_and_keeps_what_it_has() -> None:
    pipeline = Pipeline(2)
    first = slot()
    pipeline.submit(first)
    pipeline.take(0.0)
    pipeline.submit(slot())
    with pytest.raises(RedisOverloaded, match="2 commands"):
        pipeline.submit(slot())
    assert len(pipeline) == 2
    assert pipeline.answer() is first
    pipeline.submit(slot())


def test_a_script_is_loaded_once_on_each_link_just_before_its_first_call() -> None:
    pipeline = Pipeline(10)
    load = SCRIPTS["one"].load_payload
    pipeline.submit(slot())
    pipeline.submit(slot(script=SCRIPTS["one"], repeatable=True))
    pipeline.submit(slot(script=SCRIPTS["one"]))
    assert pipeline.take(0.0) == [b"x", load, b"x", b"x"]
    pipeline.broken()
    assert pipeline.take(0.0) == [load, b"x"]


def test_a_caller_that_gave_up_before_the_write_is_never_written() -> None:
    pipeline = Pipeline(10)
    caller = Caller()
    pipeline.submit(slot(caller, script=SCRIPTS["one"]))
    caller.cancel()
    assert pipeline.take(0.0) == []
    assert len(pipeline) == 0


def test_the_deadline_of_what_is_written_at_once_runs_from_the_write() -> None:
    pipeline = Pipeline(10)
    waits = slot()
    pipeline.submit(waits)
    pipeline.take(5.0)
    assert pipeline.expired(5.9) == []
    assert pipeline.expired(6.0) == [waits]


def test_what_had_to_wait_for_a_link_waits_no_longer_than_its_timeout_in_total() -> None:
    pipeline = Pipeline(10)
    early, late = slot(), slot()
    pipeline.submit(early)
    pipeline.hold()
    pipeline.submit(late)
    pipeline.take(0.9)
    assert (early.deadline, late.deadline) == (1.0, 1.9)
    assert pipeline.expired(1.0) == [early]
    assert early.sent


@pytest.mark.parametrize("answer", ["NOSCRIPT", "a broken link"])
def test_what_is_repeated_waits_no_longer_than_its_timeout_in_total(answer: str) -> None:
    pipeline = Pipeline(10)
    again = slot(script=SCRIPTS["one"], repeatable=True)
    pipeline.submit(again)
    pipeline.take(0.1)
    if answer == "NOSCRIPT":
        pipeline.answer()
        pipeline.answer()
        assert pipeline.missing_script(again)
    else:
        pipeline.broken()
    after = slot()
    pipeline.submit(after)
    pipeline.take(0.8)
    assert (again.deadline, after.deadline) == (1.1, 1.8)


def test_a_loop_that_was_held_up_is_forgiven_to_what_waits_for_a_link() -> None:
    pipeline = Pipeline(10)
    early = slot()
    pipeline.submit(early)
    pipeline.hold()
    pipeline.forgive(3.2, 3.0)
    pipeline.take(3.5)
    assert early.deadline == 4.0


def test_what_comes_after_those_that_left_is_not_taken_for_one_that_was_held() -> None:
    pipeline = Pipeline(10)
    pipeline.submit(slot())
    pipeline.hold()
    pipeline.drop_waiting()
    late = slot()
    pipeline.submit(late)
    pipeline.take(5.0)
    assert late.deadline == 6.0


def test_time_before_the_write_is_not_forgiven() -> None:
    pipeline = Pipeline(10)
    late = slot()
    pipeline.submit(late)
    pipeline.take(5.0)
    pipeline.forgive(5.2, 3.0)
    assert late.deadline == pytest.approx(6.2)


def test_failing_a_slot_nobody_waits_for_does_nothing() -> None:
    done = Caller()
    done.set_result(1)
    slot(done).fail(RedisTimeout("late"))
    Slot(b"x", None, 1.0, 1.0).fail(RedisTimeout("late"))
    assert done.outcome == ("result", 1)
