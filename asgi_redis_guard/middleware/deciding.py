"""The decision of a route's guards: one admission, driven while the app runs, in the task that calls the function.

What comes of it goes to the running exchange (`routed.py`), which sees to the response.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from os import urandom
from typing import Any

from ..core.admissions import Admissions, starts_of
from ..core.arguments import by_name, name_of
from ..core.exchange import NO_FACTS, Exchange
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

#: Makes of a function, as a coroutine function, what is called in its place where no exchange runs.
Outside = Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]


class Route:
    """A function and the guards in front of it, outermost first."""

    __slots__ = ("function", "guards", "name", "outside", "signature", "starts", "wrapper")

    def __init__(self, function: Callable[..., Any], guards: tuple[Guard, ...], outside: Outside | None = None) -> None:
        self.function = function
        self.guards = guards
        self.outside = outside
        self.name = name_of(function)
        self.starts = starts_of(guards)
        reading = any(guard.reads_arguments for guard in guards)
        self.signature = inspect.signature(function) if reading else None
        self.wrapper: Callable[..., Any] | None = None

    @staticmethod
    def found() -> RoutedHandling | None:
        """Return the running exchange, if there is one that guards could refuse."""
        run = RUNNING.get()
        return None if run is None or run.over else run

    def running(self) -> RoutedHandling:
        """Return the running exchange; raises `NoExchange`."""
        run = self.found()
        if run is None:
            raise NoExchange(
                f"{self.function.__qualname__} has guards and was called outside of a request that they can refuse; "
                "add GuardMiddleware(app, guards=[RouteGuards()]), or any middleware of this package, around the app"
            )
        return run

    async def admit(self, run: RoutedHandling, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Let the guards decide on the running exchange, and this call of the function; raises `RouteRefused`."""
        if run.refusal is None:
            first = run.around.begin_at.get(self, 0)
            if first == len(self.guards):
                return
            arguments = NO_FACTS if self.signature is None else by_name(self.signature, args, kwargs)
            run.note_caller()
            await Decision(self, first, run, arguments).make()
            await run.stop_if_cancelled()
        if run.refusal is not None:
            raise RouteRefused(run.refusal.answer)

    def __repr__(self) -> str:
        return f"<Route {self.function.__qualname__}: {', '.join(map(repr, self.guards))}>"


class Decision:
    """One decision of a route's guards, from number `first` on."""

    def __init__(self, route: Route, first: int, run: RoutedHandling, arguments: Mapping[str, Any]) -> None:
        self._route, self._first, self._run = route, first, run
        self._guards = route.guards[first:]
        self._standing = run.standing()
        around = run.around
        exchange = Exchange(run.scope, around.clock(), urandom, around.keys or run.trips.keys, run.trips)
        exchange.route, exchange.arguments, exchange.is_tagged = route.name, arguments, around.is_tagged
        if run.facts:
            exchange.publish(run.facts)
        self._admissions = Admissions(self._guards, exchange, route.starts[first:])
        self._admissions.began = run.trips.began(run.spent)

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
            run.spent = run.trips.spent(admissions)
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
                with trips.paused(admissions, step):
                    await self._fetch(step)
            step = admissions.advance()

    async def _fetch(self, step: Wait | Body) -> None:
        """Get a guard what it waits for."""
        admissions = self._admissions
        if isinstance(step, Wait):
            try:
                wait = self._run.listening().during if step.heeds_client else wait_for
                admissions.resumed(await wait(step))
            except (WaitTimeout, RedisUnavailable) as error:
                admissions.thrown(error)
        elif admissions.exchange.is_websocket:
            admissions.resumed(b"")
        else:
            await self._read(step.limit)

    async def _read(self, limit: int) -> None:
        admissions = self._admissions
        try:
            content = await self._run.read(limit)
        except GuardProtocolError as error:
            where = self._route.function.__qualname__
            admissions.thrown(GuardProtocolError(f"a guard of {where} wants {error}: its reads_body must say how much"))
        else:
            if content is None:
                admissions.thrown(BodyTooLarge(f"the body is longer than {limit} bytes"))
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
