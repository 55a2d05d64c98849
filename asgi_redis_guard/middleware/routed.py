"""Running the app where routes have guards of their own (`routes.py`): they find the running exchange here.

A route's guards decide while the app runs, in whatever task the framework calls the route function; their refusal is
answered here, in the engine's task, when the app has ended. Processes in which no route has guards never come here.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from ..core.asgi import Message
from ..core.exchange import NO_FACTS, Exchange
from ..core.keys import Keys
from ..core.responder import Outcome, Responder
from ..core.steps import Answer, RequestEdits
from ..errors import GuardProtocolError, ResponseAborted
from ..observability.events import Hook
from .delivery import HEADS
from .detached import run_detached
from .ending import Standing, end_all, withdraw_all
from .handling import Handling
from .listening import Listening
from .refusals import Refusal, is_the_refusal
from .scopes import edited_scope
from .shared_body import SharedBody
from .trips import RoundTrips
from .unguarded import warn_of_bare

logger = logging.getLogger("asgi_redis_guard.middleware")


class _Declared:
    """Whether any route of this process has guards of its own, and the functions as they were without."""

    any = False
    #: The most bytes of a request's body that a guard of theirs wants to see.
    reads_body = 0

    def __init__(self) -> None:
        self.bare: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()


DECLARED = _Declared()


class Around(NamedTuple):
    """What the engine around the app knows: its hooks and clock, and what its guards have found.

    `keys` are those of the exchange, by a tag or not. `outer` is the exchange of another engine around this one,
    `begin_at` the first guard that is to decide on a route in a background run that a guard before it has asked for.
    """

    hooks: Sequence[Hook]
    clock: Callable[[], float]
    facts: Mapping[str, Any] = NO_FACTS
    outer: RoutedHandling | None = None
    begin_at: Mapping[Any, int] = MappingProxyType({})
    keys: Keys | None = None
    is_tagged: bool = False


class RoutedHandling(Handling):
    """One run of an app whose routes may have guards; what these need of it."""

    refusal: Refusal | None = None
    #: True as soon as the app has asked for a message: what it has read cannot be read again.
    touched = False
    #: Decisions that must be made before the head.
    due: Sequence[Callable[[], Awaitable[None]]] = ()
    _body: SharedBody | None = None

    def __init__(self, *args: Any, around: Around) -> None:
        super().__init__(*args)
        self.around = around
        self.facts = around.facts
        #: The very scope that the app gets; what it was stays as it is, for background runs and for who is around.
        self.scope = self._delivery.scope = dict(self._scope)
        if DECLARED.reads_body and self.scope["type"] == "http":
            self._share_body(DECLARED.reads_body)

    @property
    def trips(self) -> RoundTrips:
        """The way to the Redis of the engine around."""
        return self._trips

    @property
    def spent(self) -> float:
        """Seconds that the exchange has used up of those that it has for Redis."""
        return self._delivery.spent

    @spent.setter
    def spent(self, seconds: float) -> None:
        self._delivery.spent = max(seconds, self._delivery.spent)

    @property
    def over(self) -> bool:
        """True when the response is through: nothing more can be decided."""
        return self._delivery.ended

    # For the guards of a route.

    def standing(self) -> list[Standing]:
        """Return the responders that are there now, of this engine and of those around it, innermost first."""
        there: list[Standing] = []
        run: RoutedHandling | None = self
        while run is not None:
            there.append((run.trips, run._delivery.responders))
            run = run.around.outer
        return there

    def join(self, responders: Sequence[Responder]) -> None:
        """Let the responders of a route's guards see the response, and have their end, inside of those there are.

        Where the response was through before they had decided, the function must not run.
        """
        if self._delivery.ended:
            end_all(responders, Outcome("cancelled"), self._trips)
            self.refuse(Refusal(None))
            if self._task is None:  # a task that outlives the run of its app: a refusal would reach nobody
                raise asyncio.CancelledError
            return
        if not responders:
            return
        first = len(self._delivery.responders)
        self._delivery.join(responders)
        for place in self._delivery.hooks.binds:
            if place >= first:
                self._delivery.responders[place].bind(self)

    def refuse(self, refusal: Refusal) -> None:
        """Note that the exchange is refused; the first refusal counts."""
        if self.refusal is None:
            self.refusal = refusal

    async def read(self, limit: int) -> bytes | None:
        """Read the request's body for a guard; None if it is longer than `limit`. Raises `GuardProtocolError`."""
        if self._body is None and self.touched:
            raise GuardProtocolError("the body, which the app has begun to read")
        return await (self._body or self._share_body(0)).read(limit)

    def _share_body(self, keep: int) -> SharedBody:
        self._receiving.source = self._body = SharedBody(self._receiving.source, keep)
        return self._body

    def listening(self) -> Listening:
        """Return what hears the client leave while a guard waits; the app goes on receiving from it."""
        source = self._receiving.source
        if not isinstance(source, Listening):
            self._receiving.source = source = Listening(source)
        return source

    def gone(self) -> None:
        """Note that the client has left, in the middle of its body or while a guard waited."""
        self._delivery.disconnected = True
        self.refuse(Refusal(None))

    def rerun(self, responder: Responder) -> None:
        """Run the app once more in the background, detached from the client."""
        self._run_again(responder, {})

    def _run_again(self, responder: Responder, begin_at: Mapping[Any, int], edits: RequestEdits | None = None) -> None:
        scope = edited_scope(self._scope, {}, () if edits is None else (edits,))
        around = self.around._replace(outer=None, begin_at=begin_at)
        handling = partial(RoutedHandling, around=around)
        self._trips.manager.spawn(run_detached(self._app, scope, [responder], self._trips, handling))

    # For the engine.

    async def _run_app(self) -> None:
        try:
            await super()._run_app()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if self.refusal is None:
                raise
            await self._answer_refusal(self.refusal)
            if not is_the_refusal(error):
                raise
            logger.debug("refused on its route: %r", error)
        else:
            if self.refusal is not None:
                await self._answer_refusal(self.refusal)

    async def _rescue(self, error: Exception) -> bool:
        """Let a responder answer for an app that failed; one that was refused on its route has not."""
        return self.refusal is None and await super()._rescue(error)

    async def _call_app(self) -> None:
        self._note_task()
        token = RUNNING.set(self)
        try:
            await self._app(self.scope, self.receive, self._send)
        finally:
            RUNNING.reset(token)
        if (endpoint := self.scope.get("endpoint")) is not None:
            warn_of_bare(endpoint, DECLARED.bare)

    def receive(self) -> Awaitable[Message]:
        """The `receive` that the app gets."""
        self.touched = True
        return super().receive()

    def _send(self, message: Message) -> Coroutine[Any, Any, None]:
        if self.due and message["type"] in HEADS:
            return self._decide_and_send(message)
        return _nowhere() if self.refusal is not None else self._delivery.send(message)

    async def _decide_and_send(self, message: Message) -> None:
        """Make what decisions are due before the head goes out; raises `RouteRefused`."""
        due, self.due = self.due, ()
        for decide in due:
            await decide()
        await self._delivery.send(message)

    async def _answer_refusal(self, refusal: Refusal) -> None:
        """Answer for the route's guards; after the head all that is left is to end the connection."""
        delivery, answer = self._delivery, refusal.answer
        await withdraw_all(refusal.standing)
        if self._answer is not None:  # a responder has cancelled the handler meanwhile
            await self._absorb()
            if not delivery.started:
                await self._answer_instead()
        elif answer is None or delivery.ended or delivery.disconnected:
            return
        elif not delivery.started:
            delivery.kind = "refused"
            await self._answer_first(answer)
            if answer.background is not None:
                delivery.end()
                self._run_again(answer.background, refusal.begin_at, answer.edits)
        elif self.scope["type"] == "websocket":
            delivery.kind = "refused"
            await delivery.send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            raise ResponseAborted("a route was refused after its response had begun")

    async def _answer_first(self, answer: Answer) -> None:
        if self.scope["type"] == "websocket" and not self.touched:
            await self._receiving.source()  # websocket.connect: a server may want it taken before it is answered
        await self._delivery.answer(answer)


#: The exchange that runs in this context.
RUNNING: ContextVar[RoutedHandling | None] = ContextVar("asgi_redis_guard_running", default=None)


def handling_of(
    hooks: Sequence[Hook], clock: Callable[[], float], exchange: Exchange, *, detached: bool = False
) -> Callable[..., Handling]:
    """Return what runs the app for `exchange`: a plain `Handling` where no route has guards."""
    if not DECLARED.any:
        return Handling
    outer = None if detached else RUNNING.get()
    around = Around(hooks, clock, exchange.facts, outer, keys=exchange.keys, is_tagged=exchange.is_tagged)
    return partial(RoutedHandling, around=around)


async def _nowhere() -> None:
    """What an app sends after it was refused."""
