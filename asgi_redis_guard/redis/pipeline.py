"""The bookkeeping of one multiplexed link: which reply belongs to whom.

Pure: no socket, loop or clock is used here; methods change state, never wait, and return the I/O to do.

A slot is in exactly one place: `waiting` (not written yet) or `inflight` (written, reply owed), in order. A caller that
gave up (cancelled, timed out) has a future that is done: its slot is a tombstone. In `waiting` a tombstone is dropped
before it is written; in `inflight` it stays until its reply has been read, so that replies never shift.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from ..errors import RedisOverloaded

_ASKING = b"*1\r\n$6\r\nASKING\r\n"


class Waiter(Protocol):
    """The part of `asyncio.Future` that is used here."""

    def done(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


class Loadable(Protocol):
    """A script that a link must have loaded before it is called by its digest."""

    @property
    def sha(self) -> str: ...
    @property
    def load_payload(self) -> bytes: ...


class Slot:
    """One command on its way: packed bytes out, one reply back.

    `timeout` is in seconds; `deadline` is on the loop's clock, at first `timeout` after the submission. `sent` stays
    true once it has been written anywhere; `attempts` counts how often it was queued again. One that is `asking` has
    ASKING right in front of it: the node of a cluster is to look for keys of a slot that is moving to it.
    """

    __slots__ = ("asking", "attempts", "deadline", "future", "payload", "repeatable", "script", "sent", "timeout")

    def __init__(
        self,
        payload: bytes,
        future: Waiter | None,
        timeout: float,
        deadline: float,
        repeatable: bool = False,
        script: Loadable | None = None,
        asking: bool = False,
    ) -> None:
        self.payload = payload
        self.future = future
        self.timeout = timeout
        self.deadline = deadline
        self.repeatable = repeatable
        self.script = script
        self.asking = asking
        self.sent = False
        self.attempts = 0

    @property
    def abandoned(self) -> bool:
        """True if nobody waits for the reply any more (or nobody ever did)."""
        return self.future is None or self.future.done()

    def fail(self, error: BaseException) -> None:
        """Give the caller `error`, if it still waits."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)


class Pipeline:
    """First in, first out: `submit` → `take` → bytes to write; each reply read → `answer` → its slot."""

    __slots__ = ("_held", "inflight", "limit", "loaded", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[Slot] = deque()
        self.inflight: deque[Slot] = deque()
        self.loaded: set[str] = set()
        self._held = 0  # how many at the head of `waiting` could not be written at once

    def __len__(self) -> int:
        return len(self.waiting) + len(self.inflight)

    def submit(self, slot: Slot) -> None:
        """Queue `slot`; raises `RedisOverloaded` when `limit` slots are queued or owed a reply."""
        if len(self.waiting) + len(self.inflight) >= self.limit:
            raise RedisOverloaded(f"{self.limit} commands are in flight already")
        self.waiting.append(slot)

    def hold(self) -> None:
        """Note that what waits cannot be written now: the time until it can is part of its `timeout`."""
        self._held = len(self.waiting)

    def take(self, now: float) -> list[bytes]:
        """Move everything that waits into flight and return its bytes, in order.

        A script that this link has not loaded goes out just before its first call. A deadline starts here for what is
        written at once; what was held, or is repeated, keeps its own: its caller waits for `timeout` in total.
        """
        chunks: list[bytes] = []
        waiting, inflight = self.waiting, self.inflight
        held, self._held = self._held, 0
        while waiting:
            slot = waiting.popleft()
            held -= 1
            if slot.future is not None and slot.future.done():
                continue
            script = slot.script
            if script is not None and script.sha not in self.loaded:
                self.loaded.add(script.sha)
                inflight.append(Slot(script.load_payload, None, slot.timeout, now + slot.timeout))
                chunks.append(script.load_payload)
            if slot.asking:
                inflight.append(Slot(_ASKING, None, slot.timeout, now + slot.timeout))
                chunks.append(_ASKING)
            if held < 0:
                slot.deadline = now + slot.timeout
            slot.sent = True
            inflight.append(slot)
            chunks.append(slot.payload)
        return chunks

    def answer(self) -> Slot | None:
        """Take the slot that the next reply belongs to; None means that nothing was asked."""
        return self.inflight.popleft() if self.inflight else None

    def repeat(self, slot: Slot) -> None:
        """Put a slot back, ahead of those that wait, to be written once more."""
        slot.attempts += 1
        self._held += 1
        self.waiting.appendleft(slot)

    def missing_script(self, slot: Slot) -> bool:
        """Handle NOSCRIPT for `slot`: load and call again. False if it was repeated twice already."""
        if slot.script is None or slot.attempts > 1:
            return False
        self.loaded.discard(slot.script.sha)
        self.repeat(slot)
        return True

    def expired(self, now: float) -> list[Slot]:
        """Return the slots whose deadline is over and whose caller still waits; they stay where they are."""
        return [slot for slot in self._slots() if slot.deadline <= now and not slot.abandoned]

    def forgive(self, now: float, seconds: float) -> None:
        """Take the last `seconds` before `now` out of every deadline: replies could not be read in them."""
        for slot in self._slots():
            slot.deadline += min(seconds, max(0.0, now - slot.deadline + slot.timeout))

    def broken(self) -> list[Slot]:
        """Empty `inflight` after the link died; return the slots whose commands may have run and must not be repeated.

        Repeatable ones go back to the head of `waiting`, in their order, once.
        """
        lost: list[Slot] = []
        again: list[Slot] = []
        for slot in self.inflight:
            if slot.abandoned:
                continue
            (again if slot.repeatable and slot.attempts == 0 else lost).append(slot)
        self.inflight.clear()
        self.loaded.clear()
        for slot in reversed(again):
            self.repeat(slot)
        return lost

    def drop_waiting(self) -> list[Slot]:
        """Empty `waiting` and return its slots."""
        self._held = 0
        slots = list(self.waiting)
        self.waiting.clear()
        return slots

    def _slots(self) -> Iterator[Slot]:
        yield from self.inflight
        yield from self.waiting
