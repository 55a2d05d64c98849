"""One subscriber's side: enter, iterate, leave. It owns its inbox and awaits nothing but its own events."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from ..errors import RedisTimeout, RedisUnavailable
from .inbox import Inbox
from .messages import Event, Gap, Message, parse_json, to_text
from .subscriptions import Key
from .switchboard import Member

logger = logging.getLogger("asgi_redis_guard.pubsub")

OnGap = Callable[[Gap], object]


class Board(Protocol):
    """Where subscribers join: `switchboard.py` or, for the sharded channels of a cluster, `shards.py`."""

    timeout: float

    @property
    def closed(self) -> bool: ...
    @property
    def reason(self) -> str | None: ...
    def is_live(self, member: Member) -> bool: ...
    def check(self, member: Member) -> None: ...
    def join(self, member: Member) -> None: ...
    def leave(self, member: Member) -> None: ...
    def hurried(self) -> AbstractContextManager[None]: ...


class Subscription:
    """An asynchronous context manager and iterator; made by `Hub.subscribe`.

    Entering waits until the server has confirmed: what is published after that is not missed. Iterating yields
    `Message`, `Malformed` (JSON subscriptions) and `Gap`; it ends when the hub is closed, the subscription is left or
    `overflow="disconnect"` has cut it off, and raises `OperationFailed` if the server no longer permits a channel.
    """

    def __init__(
        self, board: Board, keys: Sequence[Key], inbox: Inbox, *, json: bool = False, on_gap: OnGap | None = None
    ) -> None:
        if not keys:
            raise ValueError("a subscription needs a channel or a pattern")
        if inspect.iscoroutinefunction(on_gap):
            raise TypeError("on_gap is called in the middle of reading and cannot be awaited; start a task in it")
        self.keys = keys
        self._board = board
        self._inbox = inbox
        self._json = json
        self._on_gap = on_gap
        self._started = False
        self._ended = False
        self._late = False  # somebody was told that it was not live
        self._error: Exception | None = None
        self._settled = asyncio.Event()  # was live once, or ended
        self._arrived = asyncio.Event()

    @property
    def live(self) -> bool:
        """True while the server has confirmed every channel: nothing published now will be missed."""
        return self._board.is_live(self)

    async def __aenter__(self) -> Self:
        self._board.check(self)
        self.start()
        try:
            await self.wait_until_live()
        except BaseException:
            self.leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if not self._started:
            raise RuntimeError('enter it first: "async with hub.subscribe(…) as subscription"')
        while not self._inbox:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        event = self._inbox.take()
        # Decoded here and not on arrival: what is dropped costs nothing.
        return parse_json(event) if self._json and isinstance(event, Message) else event

    def start(self) -> None:
        """Join without waiting for the server."""
        if self._started:
            raise RuntimeError("a subscription can be entered once")
        self._started = True
        self._board.join(self)

    async def wait_until_live(self) -> None:
        """Wait for the first confirmation, no longer than the manager's timeout; raises `RedisUnavailable`.

        Where that has been raised, a `Gap` comes before the first message.
        """
        with self._board.hurried():
            try:
                async with asyncio.timeout(self._board.timeout):
                    await self._settled.wait()
            except TimeoutError:
                await asyncio.sleep(0.001)  # read what has arrived: a blocked loop is not a dead server
        if self._error is not None:
            raise self._error
        if self._ended:
            raise RedisUnavailable("Pub/sub is closed" if self._board.closed else "the subscription has ended")
        if not self._settled.is_set():
            self._late = True
            reason = self._board.reason or "no confirmation from the server"
            raise RedisTimeout(f"not subscribed within {self._board.timeout:g} s: {reason}")

    def leave(self) -> None:
        """Stop hearing, and end iteration at once."""
        self._board.leave(self)
        self._inbox.clear()
        self.end()

    # Member of the switchboard.

    def became_live(self) -> None:
        if not self._settled.is_set():
            self._settled.set()
            if not self._late:
                return
        if self._ended:  # by an on_gap that was called just before
            return
        gap = Gap("reconnected")
        self._inbox.note(gap)
        self._note(gap)

    def deliver(self, message: Message) -> None:
        if self._settled.is_set() and not self._ended:  # before and after, nobody was promised anything
            self._note(self._inbox.put(message))
            if self._inbox.cut:
                self._board.leave(self)
                self.end()

    def end(self, error: Exception | None = None) -> None:
        if not self._ended:
            self._ended = True
            self._error = error
            self._settled.set()
            self._arrived.set()

    def _note(self, gap: Gap | None) -> None:
        self._arrived.set()
        if gap is not None and self._on_gap is not None:
            try:
                self._on_gap(gap)
            except Exception:
                logger.exception("on_gap failed")

    def __repr__(self) -> str:
        names = ", ".join(to_text(name) for _, name in self.keys)
        state = "ended" if self._ended else "live" if self.live else "not live" if self._started else "not entered"
        return f"<Subscription to {names}: {state}, {len(self._inbox)} waiting>"
