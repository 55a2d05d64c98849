"""The bounded queue of one subscriber."""

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.pubsub.inbox import Inbox, Overflow
from asgi_redis_guard.pubsub.messages import Gap, Message


def message(number: int) -> Message:
    return Message("channel", number)


def drained(inbox: Inbox) -> list[int | Gap]:
    """Everything queued, messages as their numbers."""
    events = [inbox.take() for _ in range(len(inbox))]
    return [event if isinstance(event, Gap) else event.data for event in events]


def filled(overflow: Overflow, maxsize: int, count: int) -> Inbox:
    inbox = Inbox(maxsize, overflow)
    for number in range(count):
        inbox.put(message(number))
    return inbox


def test_the_oldest_are_dropped_and_a_gap_stands_in_their_place() -> None:
    assert drained(filled("drop_oldest", 3, 8)) == [Gap("overflow", 5), 5, 6, 7]


def test_the_newest_are_dropped_and_a_gap_stands_in_their_place() -> None:
    inbox = filled("drop_newest", 3, 8)
    assert inbox.take() == message(0)
    inbox.put(message(8))
    inbox.put(message(9))
    assert drained(inbox) == [1, 2, Gap("overflow", 5), 8, Gap("overflow", 1)]


def test_a_subscriber_is_cut_off_with_a_gap_as_the_last_event() -> None:
    inbox = filled("disconnect", 2, 3)
    assert inbox.cut
    assert drained(inbox) == [0, 1, Gap("overflow", None)]


@pytest.mark.parametrize("overflow", get_args(Overflow))
def test_what_fits_is_kept_as_it_is(overflow: Overflow) -> None:
    inbox = filled(overflow, 3, 3)
    assert drained(inbox) == [0, 1, 2]
    assert not inbox.cut


@pytest.mark.parametrize(
    ("overflow", "gap"),
    [("drop_oldest", Gap("overflow", 1)), ("drop_newest", Gap("overflow", 1)), ("disconnect", Gap("overflow", None))],
)
def test_every_loss_is_told_at_once(overflow: Overflow, gap: Gap) -> None:
    inbox = Inbox(1, overflow)
    assert inbox.put(message(0)) is None
    assert inbox.put(message(1)) == gap


def test_gaps_with_nothing_between_them_merge() -> None:
    inbox = Inbox(1, "drop_newest")
    inbox.put(message(0))
    for number in range(3):
        inbox.note(Gap("reconnected"))
        inbox.put(message(number))
    assert drained(inbox) == [0, Gap("reconnected"), Gap("overflow", 3)]


def test_a_dropped_message_leaves_the_gaps_around_it() -> None:
    inbox = Inbox(1, "drop_oldest")
    inbox.note(Gap("reconnected"))
    inbox.put(message(0))
    inbox.note(Gap("reconnected"))
    inbox.put(message(1))
    assert drained(inbox) == [Gap("reconnected"), Gap("overflow", 1), 1]


def test_a_bound_below_one_and_an_unknown_policy_are_refused() -> None:
    with pytest.raises(ValueError, match="maxsize is 0"):
        Inbox(0, "drop_oldest")
    with pytest.raises(ValueError, match="drop_oldest, drop_newest, disconnect"):
        Inbox(1, "block")  # type: ignore[arg-type]


STEPS = st.lists(st.sampled_from(["put", "put", "take", "gap"]), min_size=30, max_size=100)


@settings(max_examples=300)
@given(st.sampled_from(["drop_oldest", "drop_newest"]), st.integers(1, 3), STEPS)
def test_nothing_is_lost_without_need_nor_without_a_gap_that_counts_it(
    overflow: Overflow, maxsize: int, steps: list[str]
) -> None:
    inbox = Inbox(maxsize, overflow)
    put = held = 0
    got: list[Message | Gap] = []
    for step in steps:
        if step == "put":
            assert inbox.put(message(put)) == (Gap("overflow", 1) if held == maxsize else None)
            put, held = put + 1, min(held + 1, maxsize)
        elif step == "gap":
            inbox.note(Gap("reconnected"))
        elif len(inbox):
            got.append(inbox.take())
            held -= isinstance(got[-1], Message)
        assert held <= len(inbox) <= 3 * held + 2, "gaps stay few"
    got += [inbox.take() for _ in range(len(inbox))]
    expected = 0
    for event in got:
        if isinstance(event, Message):
            assert event.data == expected, "in order, and no hole without a gap before it"
            expected += 1
        elif event.reason == "overflow":
            assert event.lost
            expected += event.lost
    assert expected == put
    assert ("gap" in steps) == any(isinstance(event, Gap) and event.reason == "reconnected" for event in got)
