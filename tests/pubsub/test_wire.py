"""When the connection is opened, closed and tried again, by a clock moved by hand."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.pubsub.wire import Wire
from asgi_redis_guard.redis.link import NOTHING, AuthenticationFailed
from tests.clockwork import Clockwork


class FakeLine:
    """A link that says what it is told to say."""

    def __init__(self, clock: Clockwork) -> None:
        self.receiver: Any = None
        self.last_byte = clock.now
        self.written: list[bytes] = []
        self.replies: list[Any] = []
        self.aborted = False

    def next(self) -> Any:
        return self.replies.pop(0) if self.replies else NOTHING

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True


class Case:
    """A wire and its owner."""

    def __init__(self) -> None:
        self.clock = Clockwork()
        self.wanted = self.allowed = True
        self.longest_pause = float("inf")
        self.said: list[Any] = []
        self.lines: list[FakeLine] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.wire = Wire(
            cast(Any, self.clock), cast(Any, self), "target", idle=30.0, ping_interval=2.0, ping_timeout=1.0
        )

    async def open(self) -> FakeLine:
        self.said.append("open")
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.lines.append(FakeLine(self.clock))
        return self.lines[-1]

    def opened(self) -> None:
        self.said.append("opened")

    def dropped(self) -> None:
        self.said.append("dropped")

    def ping(self) -> None:
        self.said.append("ping")

    def received(self, reply: Any) -> None:
        self.said.append(reply)
        if isinstance(reply, Exception):
            raise reply

    async def settled(self) -> None:
        """Let opening tasks run."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settled()


@pytest.fixture
async def case() -> AsyncIterator[Case]:
    case = Case()
    yield case
    await case.wire.aclose()


@pytest.fixture
async def connected(case: Case) -> Case:
    case.wire.want()
    await case.settled()
    assert case.wire.up
    case.said.clear()
    return case


def only_timer(case: Case) -> float:
    (due,) = case.clock.due
    return due


async def test_it_connects_when_wanted_and_only_once(case: Case) -> None:
    assert not case.wire.up
    for _ in range(3):
        case.wire.want()
    await case.settled()
    case.wire.want()
    assert case.said == ["open", "opened"]
    assert case.wire.up
    assert case.lines[0].receiver is case.wire


async def test_attempts_are_further_and_further_apart_with_jitter(case: Case) -> None:
    case.error = RedisUnavailable("refused")
    case.wire.want()
    pauses = []
    for _ in range(9):
        await case.settled()
        pauses.append(only_timer(case))
        await case.advance(pauses[-1])
    for pause, middle in zip(pauses, (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0), strict=True):
        assert middle * 0.5 <= pause <= middle * 1.5
    assert len(set(pauses)) == len(pauses)
    assert case.wire.reason == "refused"


async def test_attempts_are_close_while_somebody_waits(case: Case) -> None:
    case.error = RedisUnavailable("refused")
    case.longest_pause = 0.1
    case.wire.want()
    for _ in range(8):
        await case.settled()
        assert only_timer(case) <= 0.15
        await case.advance(only_timer(case))


async def test_somebody_who_comes_later_brings_the_next_attempt_forward(case: Case) -> None:
    case.error = RedisUnavailable("refused")
    case.wire.want()
    while not case.clock.due or only_timer(case) < 0.5:
        await case.settled()
        await case.advance(only_timer(case))
    case.wire.want()
    assert only_timer(case) >= 0.5, "nobody waits"
    case.longest_pause = 0.125
    case.wire.want()
    assert only_timer(case) == pytest.approx(0.125)
    await case.advance(0.1)
    case.wire.want()
    assert only_timer(case) == pytest.approx(0.025), "and no further"


async def test_a_wrong_password_is_not_tried_again_soon(case: Case) -> None:
    case.error = AuthenticationFailed("wrong")
    case.wire.want()
    await case.settled()
    assert only_timer(case) >= 1.0
    case.longest_pause = 0.1
    case.wire.want()
    assert only_timer(case) >= 1.0
    case.error = None
    await case.advance(3)
    assert case.wire.up
    case.wire.lost(cast(Any, case.lines[0]), None)
    assert only_timer(case) <= 0.15, "it is right now"


async def test_no_attempt_is_made_while_the_server_is_known_to_be_away(case: Case) -> None:
    case.allowed = False
    case.wire.want()
    await case.advance(10)
    assert case.said == []
    case.allowed = True
    await case.advance(0.1)
    assert case.said == ["open", "opened"]


async def test_no_attempt_is_made_for_nobody(case: Case) -> None:
    case.error = RedisUnavailable("refused")
    case.wire.want()
    await case.settled()
    case.wanted = False
    await case.advance(10)
    assert case.said == ["open"]
    assert case.clock.due == []
    case.wire.want()
    assert case.clock.due == []


async def test_a_lost_link_is_opened_again_and_pings_belong_to_the_new_one(connected: Case) -> None:
    case = connected
    first = case.lines[0]
    case.wire.lost(cast(Any, first), ConnectionResetError("reset"))
    assert first.aborted
    assert case.wire.reason == "connection lost: reset"
    await case.advance(0.1)
    assert case.said == ["dropped", "open", "opened"]
    case.wire.lost(cast(Any, first), None)
    case.wire.readable(cast(Any, first))
    assert case.wire.up, "an old link has no say any more"
    assert case.wire.reason == "connection lost: reset"


async def test_a_link_that_is_cut_again_and_again_makes_no_busy_loop(connected: Case) -> None:
    case = connected
    for _ in range(10):
        case.wire.lost(cast(Any, case.lines[-1]), None)
        pause = only_timer(case)
        await case.advance(pause)
    assert pause >= 1.0
    case.lines[-1].last_byte = case.clock.now + 3
    await case.advance(3)
    case.wire.lost(cast(Any, case.lines[-1]), None)
    assert only_timer(case) <= 0.075, "a link that lived is not held against the next"


async def test_silence_drops_the_link(connected: Case) -> None:
    case = connected
    await case.advance(2.5)
    assert case.said == ["ping"]
    await case.advance(0.51)
    assert case.said == ["ping", "dropped"]
    assert case.wire.reason == "no sign of life from the server"


async def test_what_cannot_be_read_drops_the_link_and_the_rest_is_not_read(connected: Case) -> None:
    case = connected
    case.lines[0].replies = ["fine", ValueError("nonsense"), "after"]
    case.wire.readable(cast(Any, case.lines[0]))
    assert case.said[0] == "fine"
    assert "after" not in case.said
    assert case.said[-1] == "dropped"
    assert case.wire.reason == "broken reply: ValueError: nonsense"


async def test_nothing_is_read_from_a_link_that_was_closed_while_reading(connected: Case) -> None:
    case = connected
    case.lines[0].replies = ["close", "after"]
    received = case.received
    case.received = lambda reply: (received(reply), case.wire.close())  # type: ignore[method-assign]
    case.wire.readable(cast(Any, case.lines[0]))
    assert "after" not in case.said


async def test_it_is_closed_when_nobody_has_wanted_it_for_a_while(connected: Case) -> None:
    case = connected
    case.wanted = False
    case.wire.rest()
    case.lines[0].last_byte = case.clock.now + 60
    await case.advance(29)
    case.wire.rest()
    case.wire.want()
    assert case.wire.up, "and nobody has asked for it to stay"
    await case.advance(1)
    assert case.said == ["dropped"]
    assert case.lines[0].aborted
    assert case.clock.due == []


async def test_it_stays_when_somebody_comes_back_in_time(connected: Case) -> None:
    case = connected
    case.wanted = False
    case.wire.rest()
    case.wanted = True
    case.wire.want()
    case.lines[0].last_byte = case.clock.now + 60
    await case.advance(31)
    assert case.wire.up
    assert case.said == []


async def test_a_link_that_opens_for_nobody_is_closed_too(case: Case) -> None:
    case.wire.want()
    case.wanted = False
    await case.settled()
    assert case.wire.up
    case.lines[0].last_byte = case.clock.now + 60
    await case.advance(30)
    assert not case.wire.up


async def test_writing_without_a_link_goes_nowhere(case: Case) -> None:
    case.wire.send(b"lost")
    case.wire.want()
    await case.settled()
    case.wire.send(b"")
    case.wire.send(b"found")
    assert case.lines[0].written == [b"found"]


async def test_one_line_is_logged_for_each_change(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    case.wire.want()
    await case.settled()
    assert caplog.messages == []
    case.error = RedisUnavailable("refused")
    case.wire.lost(cast(Any, case.lines[0]), None)
    await case.advance(20)
    await case.advance(20)
    case.error = None
    await case.advance(20)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert caplog.messages == [
        "Pub/sub at target is away (connection lost: closed by the server); messages may be missed",
        "Pub/sub at target is back",
    ]


async def test_nothing_is_logged_when_a_link_that_nobody_wants_is_lost(
    connected: Case, caplog: pytest.LogCaptureFixture
) -> None:
    connected.wanted = False
    connected.wire.lost(cast(Any, connected.lines[0]), None)
    assert caplog.messages == []
    assert connected.clock.due == []


@pytest.mark.parametrize("when", ["before", "opening", "pausing", "open", "resting"])
async def test_closing_ends_everything_in_every_state(case: Case, when: str) -> None:
    states: dict[str, Callable[[], None]] = {
        "before": lambda: None,
        "opening": lambda: setattr(case, "gate", asyncio.Event()),
        "pausing": lambda: setattr(case, "error", RedisUnavailable("refused")),
    }
    states.get(when, lambda: None)()
    if when != "before":
        case.wire.want()
        await case.settled()
    if when == "resting":
        case.wanted = False
        case.wire.rest()
    await case.wire.aclose()
    case.wanted, count = True, len(case.said)
    case.wire.want()
    case.wire.rest()
    await case.advance(100)
    assert len(case.said) == count
    assert case.clock.due == []
    assert all(line.aborted for line in case.lines)
    assert not case.wire.up


async def test_a_link_that_opens_while_the_wire_is_abandoned_is_let_go(case: Case) -> None:
    case.gate = asyncio.Event()
    case.wire.want()
    await case.settled()
    assert case.wire.abandon() is None
    case.gate.set()
    await case.settled()
    assert case.lines[0].aborted
    assert not case.wire.up
