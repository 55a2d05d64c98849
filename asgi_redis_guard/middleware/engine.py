"""`GuardMiddleware`: runs a stack of guards around an ASGI app. The only place that awaits both the app and Redis.

It knows the guard protocol, not the guards. Constructors may run many times and without an event loop: they are cheap,
open nothing and share nothing; state lives on the manager and on the guards.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from os import urandom
from typing import Any, ClassVar

from ..core.admissions import Admissions, Starts, starts_of
from ..core.asgi import ASGIApp, Receive, Scope, Send
from ..core.exchange import Exchange
from ..core.guard import Guard
from ..core.inside import tell_outside
from ..core.key_tag import KeyTag, KeyTagLike
from ..core.responder import Outcome, Responder
from ..core.rounds import Round
from ..core.steps import Answer, Body, Wait
from ..errors import BodyTooLarge, ConfigurationError, RedisUnavailable, WaitTimeout
from ..observability.events import Hook
from ..redis.manager import RedisManager
from ..settings import Settings
from .body import ClientGone, RequestBody
from .decisions import report
from .delivery import Delivery
from .detached import run_detached
from .ending import end_all, give_up, gives_back, withdraw_all
from .fusion import check_order, check_store, check_tags, describe, same_handle, same_tags, warn_of_doubles
from .heads import HeadSend
from .lifespan import faults_told, guard_lifespan
from .listening import Listening
from .outliving import outlive
from .routed import DECLARED, handling_of
from .scopes import edited_scope
from .trips import RoundTrips
from .waits import wait_for

_GUARDED = frozenset(("http", "websocket"))


class GuardMiddleware:
    """Run `guards`, outermost first, around `app`; everything they ask of Redis travels in one round trip.

    Without `guards` the stack is the one that `GUARD_STACK` names. If `app` is itself such a middleware with the same
    `redis`, its guards are taken over and both become one stack. `redis` is a manager, a URL, or None for the shared
    manager of the environment's settings. `hooks` get a `Decision` for each guard of each exchange. `clock` gives
    seconds since the epoch. Raises `ConfigurationError`.

    `key_tag` tells whose keys an exchange has, those of a tenant say, all in one slot of a cluster, so that a round is
    one program there: a function over the exchange that returns text or None, or a template such as `{host}` or
    `{header:x-tenant}` (`KeyTag`). What one tag has is not found under another: sessions, limits, revocations. Who may
    choose the tag freely has new limits at each choice, so let it be what was verified, or known tenants alone;
    `JWTAuth` has to say by `tenant=` which claim of a token is its tag. Services have `manager.tagged(…)`.
    """

    fusible: ClassVar[bool] = True

    #: What is known from the start: in a background run, the facts of the guards that are not in it.
    _facts: Mapping[str, Any] | None = None
    _eager: Sequence[Guard] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in cls.__dict__:
            cls.fusible = False

    def __init__(
        self,
        app: ASGIApp,
        guards: Iterable[Guard] | None = None,
        *,
        redis: RedisManager | str | None = None,
        hooks: Iterable[Hook] = (),
        key_tag: KeyTagLike | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.app = app
        self.hooks = tuple(hooks)
        self._redis = redis
        self._clock = clock
        self._manager = redis if isinstance(redis, RedisManager) else None
        self._trips: RoundTrips | None = None
        self._starts: Starts | None = None
        with faults_told():
            key_tag = Settings().key_tag if guards is None and key_tag is None else key_tag
            #: Tells whose keys an exchange has; None where all have the same.
            self.key_tag = KeyTag(key_tag) if key_tag else None
            self.guards = _given(guards, redis)
            check_tags(self.guards, self.key_tag)
            self._fuse_with(app)
            check_order(self.guards)
            if self._manager is not None:
                check_store(self.guards, self._manager, self.key_tag)
        warn_of_doubles(self.guards, self.app)

    def _fuse_with(self, app: ASGIApp) -> None:
        """Take over the guards and the inner app of a neighbour; the neighbour itself is not changed."""
        if not (isinstance(app, GuardMiddleware) and type(app).fusible and type(self).fusible):
            return
        alike = same_tags(app.key_tag, self.key_tag) and app._clock is self._clock and app.hooks == self.hooks
        if alike and same_handle(app._redis, self._redis):
            self.guards += app.guards
            self.app = app.app

    @property
    def manager(self) -> RedisManager:
        """The manager in use; found when it is first needed."""
        if self._manager is None:
            manager = RedisManager.of(self._redis)
            check_store(self.guards, manager, self.key_tag)
            self._manager = manager
        return self._manager

    def _start(self) -> RoundTrips:
        self._trips = RoundTrips(self.manager, self._clock)
        self._starts = starts_of(self.guards)
        self._eager = [guard for guard in self.guards if guard.eager]
        return self._trips

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in _GUARDED:
            return await self._pass_through(scope, receive, send)
        trips = self._trips or self._start()
        for guard in self._eager:
            trips.follow(guard)
        exchange = Exchange(scope, self._clock(), urandom, trips.keys, trips)
        if self.key_tag is not None:
            self.key_tag.give(exchange)
        admissions = Admissions(self.guards, exchange, self._starts)
        if self._facts:
            exchange.publish(self._facts)
        try:
            step = admissions.advance()
            while step is not None:
                if isinstance(step, Round):
                    try:
                        reply = trips.admit(admissions, step)
                        step = None  # nobody needs it while the reply is awaited
                        admissions.replied(await reply)
                        del reply  # nor that while the app runs
                    except RedisUnavailable as error:
                        admissions.failed(error)
                else:
                    receive = await self._fetch(admissions, trips, step, receive)
                step = admissions.advance()
        except ClientGone as error:
            return give_up(admissions, trips, error)
        except BaseException as error:
            give_up(admissions, trips, error)
            raise
        if self.hooks:
            report(self.hooks, self.guards, admissions)
        await self._proceed(admissions, trips, receive, send)
        return None

    async def _pass_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the scopes that no guard is for."""
        if scope["type"] == "lifespan":
            await guard_lifespan(self.app, lambda: self.manager, scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _fetch(self, admissions: Admissions, trips: RoundTrips, step: Wait | Body, receive: Receive) -> Receive:
        """Get a guard what it waits for; return what the app reads the request from."""
        with trips.paused(admissions, step):
            if isinstance(step, Body):
                return await self._read(admissions, step, receive)
            if step.heeds_client and not isinstance(receive, Listening):
                receive = Listening(receive)
            wait = receive.during if step.heeds_client and isinstance(receive, Listening) else wait_for
            try:
                admissions.resumed(await wait(step))
            except (WaitTimeout, RedisUnavailable) as error:
                admissions.thrown(error)
            return receive

    def _proceed(self, admissions: Admissions, trips: RoundTrips, receive: Receive, send: Send) -> Awaitable[None]:
        """Send the answer, or run the app with what the guards have found; what comes back is to be awaited."""
        if (answer := admissions.answer) is not None:
            if self._is_plain(answer, admissions):
                return self._answer_plainly(admissions, trips, answer, send)
            return self._answer(admissions, trips, receive, send)
        responders, exchange = admissions.responders, admissions.exchange
        tell_outside(exchange.facts)
        scope = edited_scope(exchange.scope, admissions.scope, admissions.edits)
        if not responders and not DECLARED.any:
            return self.app(scope, receive, send)
        spent = trips.spent(admissions)
        plain = not DECLARED.any and not exchange.is_websocket
        if plain and False not in [responder.only_start for responder in responders]:
            return self.app(scope, receive, HeadSend(scope, responders, trips, send, spent=spent))
        handling = handling_of(self.hooks, self._clock, exchange)
        if True in [responder.outlives for responder in responders]:
            return outlive(handling, self.app, scope, responders, trips, receive, send, spent)
        delivery = Delivery(scope, responders, trips, send)
        delivery.spent = spent
        return handling(self.app, scope, trips, receive, delivery).run()

    async def _read(self, admissions: Admissions, step: Body, receive: Receive) -> Receive:
        """Read the request body for the guard that wants it."""
        if admissions.exchange.is_websocket:
            admissions.resumed(b"")
            return receive
        body = RequestBody(receive)
        content = await body.read(step.limit)
        if content is None:
            admissions.thrown(BodyTooLarge(f"the body is longer than {step.limit} bytes"))
        else:
            admissions.resumed(content)
        return body

    async def _answer(self, admissions: Admissions, trips: RoundTrips, receive: Receive, send: Send) -> None:
        """Send a guard's answer outwards, and run the app in the background if the answer asks for it."""
        answer, scope = admissions.answer, admissions.exchange.scope
        if answer is None:
            return
        guard = self.guards[admissions.answered_by]
        if guard.topic and not guard.eager:
            trips.follow(guard)
        end_all(admissions.orphans, Outcome("refused"), trips)
        delivery = Delivery(scope, admissions.responders, trips, send, "refused")
        delivery.spent = trips.spent(admissions)
        try:
            if gives_back(guard, answer):
                await withdraw_all([(trips, admissions.responders)])
            if admissions.exchange.is_websocket:
                await receive()  # websocket.connect: a server may want it taken before it is answered
            await delivery.answer(answer)
        except BaseException as error:
            delivery.end(error)
            raise
        finally:
            if answer.background is not None:  # whether the client has its answer or not
                self._run_behind(admissions, trips, answer, answer.background)
        delivery.end()

    def _is_plain(self, answer: Answer, admissions: Admissions) -> bool:
        """Tell whether an answer is nothing but to be sent, as a stored response mostly is."""
        return (
            answer.status < 400
            and answer.background is None
            and not admissions.orphans
            and not admissions.exchange.is_websocket
            and (not (guard := self.guards[admissions.answered_by]).topic or guard.eager)
            and False not in [responder.only_start for responder in admissions.responders]
        )

    async def _answer_plainly(self, admissions: Admissions, trips: RoundTrips, answer: Answer, send: Send) -> None:
        """Send an answer to which no responder does more than to edit its head."""
        scope = admissions.exchange.scope
        if admissions.responders:
            send = HeadSend(scope, admissions.responders, trips, send, "refused", trips.spent(admissions))
        body = b"" if admissions.exchange.method == "HEAD" else answer.body
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": body})

    def _run_behind(self, admissions: Admissions, trips: RoundTrips, answer: Answer, responder: Responder) -> None:
        """Run the app in the background, after an answer that asked for it."""
        edits = admissions.edits if answer.edits is None else (*admissions.edits, answer.edits)
        scope = edited_scope(admissions.exchange.scope, admissions.scope, edits)
        handling = handling_of(self.hooks, self._clock, admissions.exchange, detached=True)
        trips.manager.spawn(run_detached(self._behind(admissions), scope, [responder], trips, handling))

    def _behind(self, admissions: Admissions) -> ASGIApp:
        """Return the app with only the guards around it that stand behind the one that answered."""
        guards = self.guards[admissions.answered_by + 1 :]
        if not guards:
            return self.app
        key_tag = None if self.key_tag is None else self.key_tag.given
        behind = GuardMiddleware(self.app, guards, redis=self._redis, key_tag=key_tag, clock=self._clock)
        behind._facts = admissions.exchange.facts
        return behind

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe(self.guards)} around {self.app!r}>"


def _given(guards: Iterable[Guard] | None, redis: RedisManager | str | None) -> tuple[Guard, ...]:
    """Return the guards that were given, else those of the environment; what they need of Redis is in that one."""
    if guards is None:
        from ..stack import build_stack  # the one place that knows all guards

        guards = build_stack(Settings(), redis)
    if isinstance(guards, Guard):
        raise ConfigurationError(f"guards: {guards!r} given; allowed is a list of guards")
    given = tuple(guards)
    if not given:
        raise ConfigurationError("guards (GUARD_STACK): empty; name at least one guard")
    ConfigurationError.raise_for(
        [
            f"guards: {one!r} given; allowed are guards, such as RateLimit(…)"
            for one in given
            if not isinstance(one, Guard)
        ]
    )
    return given
