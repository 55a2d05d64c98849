"""The decision of a route's guards: one admission, driven while the app runs, in the task that calls the function.

What comes of it goes to the running exchange (`routed.py`), which sees to the response.
"""

from __future__ import annotations

from collections.abc import Callable
from os import urandom
from typing import Any

from ..core.admissions import Admissions, starts_of
from ..core.exchange import Exchange
from ..core.guard import Guard
from ..core.responder import Outcome
from ..core.rounds import Round
from ..core.steps import Body, Wait
from ..errors import (
    BodyTooLarge,
    GuardProtocolError,
    NoExchange,
    RedisUnavailable,
    RouteRefused,
    WaitTimeout,
)
from .body import ClientGone
from .decisions import report
from .ending import end_all, give_up, gives_back
from .refusals import Refusal
from .routed import RUNNING, RoutedHandling
from .scopes import edited_scope
from .waits import wait_for


class Route:
    """A function and the guards in front of it, outermost first."""

    __slots__ = ("function", "guards", "starts", "wrapper")

    def __init__(self, function: Callable[..., Any], guards: tuple[Guard, ...]) -> None:
        self.function = function
        self.guards = guards
        self.starts = starts_of(guards)
        self.wrapper: Callable[..., Any] | None = None

    def running(self) -> RoutedHandling:
        """Return the running exchange; raises `NoExchange`."""
        run = RUNNING.get()
        if run is None or run.over:
            raise NoExchange(
                f"{self.function.__qualname__} has guards and was called outside of a request that they can refuse; "
                "add GuardMiddleware(app, guards=[RouteGuards()]), or any middleware of this package, around the app"
            )
        return run

    async def admit(self, run: RoutedHandling) -> None:
        """Let the guards decide on the running exchange; raises `RouteRefused`."""
        if run.refusal is None:
            first = run.around.begin_at.get(self, 0)
            if first == len(self.guards):
                return
            await Decision(self, first, run).make()
        if run.refusal is not None:
            raise RouteRefused(run.refusal.answer)

    def __repr__(self) -> str:
        return f"<Route {self.function.__qualname__}: {', '.join(map(repr, self.guards))}>"


class Decision:
    """One decision of a route's guards, from number `first` on."""

    def __init__(self, route: Route, first: int, run: RoutedHandling) -> None:
        self._route, self._first, self._run = route, first, run
        self._guards = route.guards[first:]
        self._standing = run.standing()
        exchange = Exchange(run.scope, run.around.clock(), urandom, run.trips.keys, run.trips)
        if run.facts:
            exchange.publish(run.facts)
        self._admissions = Admissions(self._guards, exchange, route.starts[first:])

    async def make(self) -> None:
        """Ask and decide; what comes of it is the running exchange's."""
        admissions, run = self._admissions, self._run
        try:
            await self._decide()
        except ClientGone as error:
            run.gone()
            give_up(admissions, run.trips, error)
        except BaseException as error:
            give_up(admissions, run.trips, error)
            raise
        else:
            if run.around.hooks:
                report(run.around.hooks, self._guards, admissions)
            self._conclude()

    async def _decide(self) -> None:
        """Do what the guards ask. The engine has a loop of its own, which is its hottest code."""
        admissions, trips = self._admissions, self._run.trips
        for guard in self._guards:
            if guard.eager:
                trips.follow(guard)
        step = admissions.advance()
        while step is not None:
            if isinstance(step, Round):
                try:
                    admissions.replied(await trips.admit(admissions, step))
                except RedisUnavailable as error:
                    admissions.failed(error)
            else:
                with trips.paused(admissions):
                    await self._fetch(step)
            step = admissions.advance()

    async def _fetch(self, step: Wait | Body) -> None:
        """Get a guard what it waits for."""
        admissions, run = self._admissions, self._run
        if isinstance(step, Wait):
            try:
                admissions.resumed(await wait_for(step))
            except WaitTimeout as error:
                admissions.thrown(error)
        elif admissions.exchange.is_websocket:
            admissions.resumed(b"")
        elif run.touched:
            where = self._route.function.__qualname__
            admissions.thrown(GuardProtocolError(f"a guard of {where} wants the body, which the app has begun to read"))
        elif (content := await run.read(step.limit)) is None:
            admissions.thrown(BodyTooLarge(f"the body is longer than {step.limit} bytes"))
        else:
            admissions.resumed(content)

    def _conclude(self) -> None:
        """Give the running exchange what the guards have found, and their answer."""
        admissions, run, answer = self._admissions, self._run, self._admissions.answer
        if answer is not None:
            end_all(admissions.orphans, Outcome("refused"), run.trips)
            by = admissions.answered_by
            if self._guards[by].topic:
                run.trips.follow(self._guards[by])
            refunds = gives_back(self._guards[by], answer)
            begin_at = {self._route: self._first + by + 1}
            run.refuse(Refusal(answer, self._standing if refunds else (), begin_at))
        else:
            run.facts = admissions.exchange.facts
            edited = edited_scope(run.scope, admissions.scope, admissions.edits)
            if edited is not run.scope:
                run.scope.update(edited)
        run.join(admissions.responders)
