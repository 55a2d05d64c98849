"""The way of a response out: responders see it from the inside out, and get their `end` whatever happens.

One `Delivery` an exchange. Messages that it does not know pass through untouched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Literal

from ..core.asgi import Headers, Message, Scope, Send
from ..core.problem import AWAY, problem, unavailable
from ..core.responder import Head, Outcome, Responder
from ..core.steps import Answer, Asking
from ..errors import RedisUnavailable, ResponseAborted
from ..redis.leases import Lease
from .ending import end_all
from .holding import Held, hold
from .hooks import hooks_of
from .trips import RoundTrips
from .whole import whole

logger = logging.getLogger("asgi_redis_guard.middleware")

HEADS = frozenset(("http.response.start", "websocket.accept", "websocket.http.response.start"))
#: Parts of a body that nobody here can see.
_UNSEEN = frozenset(("http.response.pathsend", "http.response.zerocopysend"))
_BODIES = frozenset(("http.response.body", "websocket.http.response.body"))


class Delivery:
    """Send messages through `responders`, given outermost first."""

    # Most responses never touch these.
    _held: Held | None = None
    _replaced_by = -1
    _dropping = False
    _trailers = False
    _unseen = False
    _unfinished = False
    started = False
    ended = False
    disconnected = False
    deaf = False
    aborted = False
    status: int | None = None
    failure: Exception | None = None
    #: Seconds that the exchange has used up of those that it has for Redis.
    spent = 0.0
    _leases: Sequence[Lease] = ()
    #: Called once, when the response is through.
    on_end: Callable[[], None] | None = None

    def __init__(
        self,
        scope: Scope,
        responders: Sequence[Responder],
        trips: RoundTrips,
        send: Send,
        kind: Literal["complete", "refused"] = "complete",
    ) -> None:
        #: What the app got: it may have put something of its own there.
        self.scope = scope
        self.responders = responders
        self._trips = trips
        self._send = send
        self.kind: Literal["complete", "refused"] = kind
        self.hooks = hooks_of(responders)
        self._hold = self.hooks.hold

    def join(self, responders: Sequence[Responder]) -> None:
        """Show what is still to come to more responders, which stand further inside."""
        self.responders = [*self.responders, *responders]
        self.hooks = hooks_of(self.responders)
        self._hold = 0 if self.started else self.hooks.hold

    async def send(self, message: Message) -> None:
        """The `send` that the app gets."""
        if self.failure is not None or self.deaf:
            return  # another response was sent, or the connection is to be aborted: the app's rest goes nowhere
        kind = message["type"]
        if kind in HEADS:
            if self._hold and kind == "http.response.start":
                self._held = hold(message, self.hooks)
            if self._held is None:
                await self._start(message, None)
        elif kind in _BODIES:
            await self._body(message)
        else:
            await self._other(message)

    async def answer(self, answer: Answer) -> None:
        """Send a guard's answer through the responders; a WebSocket is refused before it is accepted."""
        head, *rest = whole(self.scope, answer.status, answer.headers, answer.body)
        if not rest:
            self.status = answer.status
            await self._send(head)
            self.end()
            return
        self._held, self._hold = None, 0
        for message in (head, *rest):
            await self.send(message)

    # The head.

    async def _start(self, message: Message, content: bytes | None) -> None:
        head = Head(message.get("status", 101), list(message.get("headers") or ()), content, self.scope)
        head.trailers = bool(message.get("trailers", False))
        head.answered = self.kind == "refused"
        try:
            await self._edit(head)
        except Exception as error:
            self.failure = error
            answer = _failed(error, self.scope)
            await self._send_instead(answer.status, answer.headers, answer.body)
            return
        self.status = head.status
        self._trailers = head.trailers
        if head.replaced is not None:
            await self._send_instead(head.status, head.headers, head.replaced)
            self._replaced_by = head.replaced_by
            self._show(head.replaced, False, range(head.replaced_by))
            return
        out = {**message, "headers": head.headers}
        if "status" in message:
            out["status"] = head.status
        self.started = True
        self._unfinished = message["type"] == "http.response.start"
        await self._send(out)

    async def _edit(self, head: Head) -> None:
        """Let every responder edit the head, inside first; those that ask Redis share one round trip."""
        asking: dict[Asking, int] = {}
        for place in self.hooks.start:
            head.editor = place
            flow = self.responders[place].start(head)
            if flow is not None:
                asking[flow] = place
        if not asking:
            return
        deadline = self._trips.deadline(self.spent)
        for flow, result in await self._trips.converse(list(asking), deadline):
            head.editor = place = asking[flow]
            await self._trips.finish(flow, result, deadline)
            if head.replaced_by == place:
                self._edit_again(head, [outer for outer in self.hooks.start if outer < place], set(asking.values()))

    def _edit_again(self, head: Head, places: Sequence[int], asked: set[int]) -> None:
        """Let responders further out edit a head that was replaced after they had seen the first one."""
        for place in places:
            if place not in asked:
                head.editor = place
                self.responders[place].start(head)

    async def _send_instead(self, status: int, headers: Headers, body: bytes) -> None:
        """Send another response than the one that has begun; the app's own is dropped from here on."""
        self._dropping = True
        self.started = True
        self.status = status
        for message in whole(self.scope, status, headers, body):
            await self._send(message)

    # The body and everything else.

    async def _body(self, message: Message) -> None:
        more = self._unfinished = bool(message.get("more_body", False))
        if self._held is not None:
            if self._held.take(message.get("body", b""), more):
                return
            message = {**message, "body": self._held.body}
            await self._release_held()
        if self.hooks.body and not self._unseen:
            self._show(message.get("body", b""), more, range(self._replaced_by + 1, len(self.responders)))
        if not self._dropping and self.failure is None:
            await self._send(message)
        if not more and not self._trailers:
            self.end()

    async def _release_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await self._start(held.head, held.content)

    def _show(self, chunk: bytes, more: bool, places: range) -> None:
        """Show a chunk to responders, inside first. One that fails now ends the response in the middle."""
        for place in reversed(places):
            responder = self.responders[place]
            if place in self.hooks.body:
                try:
                    responder.body(chunk, more)
                except Exception as error:
                    self.failure = error
                    self.aborted = True
                    raise ResponseAborted(f"{type(responder).__name__} failed while the body was sent") from error

    async def _other(self, message: Message) -> None:
        kind = message["type"]
        if self._held is not None:
            await self._release_held()
        if not self._dropping:
            await self._send(message)
        self._unseen = self._unseen or kind in _UNSEEN  # what follows is not shown as if it were all
        self._unfinished = False  # as far as can be told from here
        last_trailers = kind == "http.response.trailers" and not message.get("more_trailers", False)
        if kind in ("websocket.close", "http.response.pathsend") or last_trailers:
            self.end()

    # The end.

    def keep(self, lease: Lease) -> None:
        """Hold a lease until the end; one that comes later is not kept."""
        self._leases = (*self._leases, lease)
        if self.ended:
            lease.drop()

    def end(self, error: BaseException | None = None) -> None:
        """Give every responder its `end`, once; the replies to what they ask are awaited in the background."""
        if self.ended:
            return
        self.ended = True
        for lease in self._leases:  # before they are released, so that no renewal comes after that
            lease.drop()
        if self.hooks.end:
            end_all(self.responders, self._outcome(error), self._trips)
        if self.on_end is not None:
            self.on_end()

    def _outcome(self, error: BaseException | None) -> Outcome:
        if isinstance(error, asyncio.CancelledError):
            return Outcome("cancelled", self.status, error)
        if error is not None or self.failure is not None:
            return Outcome("error", self.status, error or self.failure)
        if self.disconnected:
            return Outcome("disconnect", self.status)
        return Outcome(self.kind if self._is_whole() else "error", self.status)

    def _is_whole(self) -> bool:
        """Tell whether the client has all of a response, not only what the app cared to send of it."""
        if self._dropping:
            return True
        return self._held is None and not self._unfinished and (self.started or self.scope["type"] == "websocket")


def _failed(error: Exception, scope: Scope) -> Answer:
    """Return what the client gets because a responder failed before the head was sent."""
    if isinstance(error, RedisUnavailable):  # the breaker has its own line in the log
        return unavailable(AWAY)
    where = f"{scope.get('method', 'WebSocket')} {scope['path']!r}"  # as a literal: clients choose it
    logger.error("a responder failed before the head of %s was sent: %s", where, error, exc_info=error)
    return problem(500, "responder_failed", "The response could not be completed.")
