"""The protocol between guards and the engine; its two halves are `steps` (towards the app) and `responder` (back).

Guards decide and never do I/O: the engine does what they yield and sends the result back into the generator. Redis
being away is thrown in as `RedisUnavailable`; whoever does not catch it gets a 503 for its request.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

from ..errors import GuardProtocolError, RedisUnavailable
from .exchange import Exchange
from .keys import Keys
from .paths import PathPatterns
from .problem import AWAY, unavailable
from .script import OperationKind, Replies
from .steps import PASS, Admission, Answer, Ask, Asking, Pass

logger = logging.getLogger("asgi_redis_guard.core")

#: A function of the app that makes its own response for a refusal: `(exchange, answer) -> answer`. Not a coroutine.
OnRefused = Callable[[Exchange, Answer], Answer]


def refusal_faults(on_refused: OnRefused | None) -> list[str]:
    """What is wrong with an `on_refused`: guards do not wait, so it must not be a coroutine function."""
    if on_refused is None or (callable(on_refused) and not inspect.iscoroutinefunction(on_refused)):
        return []
    return [f"on_refused: {on_refused!r} given; allowed is a plain function (exchange, answer) -> answer"]


class Guard:
    """One policy over requests. Subclasses are cheap to construct and hold no per-request state.

    `kind` is what it is (`jwt`, `ratelimit` …), `name` which one, for events and reprs. `operations` are the kinds of
    Redis operations that it may ask for. `needs` names facts that must be there before `admit` starts; where only a
    reply can give them, it starts in the round after. `provides` names the facts it leaves, `known_early` those of
    them that it knows before any reply, `offers` those that it leaves only where nobody outside of it has. `withholds`
    names facts that only the app will know, and the option that wills it so: a guard behind must not need one.
    `inside` names kinds that must not stand behind it: a cache belongs inside authentication. `unique` refuses a second
    of its kind in a stack. `refunds`: it is a limit, whose 429 gives back what limits further out have counted, in a
    round before or on the way to a route (`Responder.withdraw`). `claims` stands for the keys that it writes: no two
    guards of a stack may claim the same, for they would write over each other.

    On a route, `reads_body` is how many bytes of the request's body it wants to see, which frameworks read before they
    call the function; `reads_arguments` says that it looks at what the function is called with.
    """

    kind: ClassVar[str] = "guard"
    #: The topic of the feed that it listens to, if any: from its first exchange on where it is `eager`, else from its
    #: first answer on.
    topic: str = ""
    eager: bool = False
    offers: ClassVar[frozenset[str]] = frozenset()
    inside: ClassVar[frozenset[str]] = frozenset()
    unique: ClassVar[bool] = False
    refunds: ClassVar[bool] = False
    #: True for a `OneRoundGuard` that keeps its `admit`, so that `ask` and `decide` may be called instead.
    one_round: ClassVar[bool] = False

    name: str = ""
    operations: tuple[OperationKind, ...] = ()
    needs: frozenset[str] = frozenset()
    provides: frozenset[str] = frozenset()
    known_early: frozenset[str] = frozenset()
    withholds: Mapping[str, str] = MappingProxyType({})
    reads_body: int = 0
    reads_arguments: bool = False
    claims: frozenset[Hashable] = frozenset()
    exempt: PathPatterns = PathPatterns()
    exempt_preflight: bool = True
    on_refused: OnRefused | None = None
    #: The manager of what the app gave it, if it was given such: a stack that asks another Redis is refused.
    store: object = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.name:
            cls.name = cls.kind
        if not isinstance(cls.exempt, PathPatterns):
            cls.exempt = PathPatterns(cls.exempt)

    def concern(
        self, name: str, exempt: Iterable[str], exempt_preflight: bool = True, on_refused: OnRefused | None = None
    ) -> None:
        """Take the options that every guard has: what it is called, what it leaves alone, who words its refusals."""
        self.name = name
        self.exempt = PathPatterns(exempt)
        self.exempt_preflight = exempt_preflight
        self.on_refused = on_refused

    def admit(self, exchange: Exchange) -> Admission:
        """Decide on one exchange.

        A guard that is overruled between two rounds is closed (`GeneratorExit`). What it has taken by then is for the
        responder of the verdict that it may still return to give back.
        """
        raise NotImplementedError

    def applies(self, exchange: Exchange) -> bool:
        """Tell whether the exchange concerns this guard at all: not a preflight, not an exempt path."""
        if exchange.method == "OPTIONS" and self.exempt_preflight and exchange.is_preflight:
            return False
        return not self.exempt.patterns or exchange.is_ambiguous or self.exempt.match(exchange.path) is None

    def refuse(self, exchange: Exchange, answer: Answer) -> Answer:
        """Return `answer`, or what the app's `on_refused` makes of it."""
        if self.on_refused is None:
            return answer
        own = self.on_refused(exchange, answer)
        if own.__class__ is not Answer:
            raise GuardProtocolError(f"on_refused of {self!r} returned {own!r}; allowed is an Answer")
        return own

    def refuse_late(self, exchange: Exchange, answer: Answer) -> Answer:
        """Return the same for an exchange that runs already: it is too late for a 500 where `on_refused` fails."""
        try:
            return self.refuse(exchange, answer)
        except Exception:
            logger.exception("on_refused of %r failed", self)
            return answer

    def tag_faults(self, tagged: bool) -> list[str]:
        """What is wrong with it in a stack whose keys go by a tag, or in one without."""
        return []

    def told(self, word: bytes) -> bool:
        """Take a word that was said on `topic`; return whether `missed` is to be called."""
        return False

    def missed(self, keys: Keys) -> Asking:
        """Look at what may have been said on `topic` while nobody listened: at first, after a gap, and when told to."""
        yield from ()

    def exempted(self, exchange: Exchange) -> Pass:
        """What an exchange gets that this guard does not apply to."""
        return PASS


class OneRoundGuard(Guard):
    """A guard that asks Redis once at most: `ask` says what, `decide` what comes of it.

    The same as an `admit` with one `yield`, for less: nothing of it is alive while the reply is awaited. Where once is
    not enough after all, either may return a generator, which goes on as an `admit` would.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.one_round = cls.admit is OneRoundGuard.admit

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer | Admission:
        """Return what to ask, or a verdict that needs no Redis. Must not raise: that is a 500."""
        raise NotImplementedError

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer | Admission:
        """Return the verdict; `replies.ask` is what was asked."""
        raise NotImplementedError

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass | Answer:
        """Return the verdict where no reply came; 503 unless a guard knows better."""
        return self.refuse(exchange, unavailable(AWAY))

    def admit(self, exchange: Exchange) -> Admission:
        """Ask and decide, for drivers that take every guard alike."""
        return (yield from self.go_on(exchange, self.ask(exchange)))

    def go_on(self, exchange: Exchange, step: Ask | Pass | Answer | Admission) -> Admission:
        """Go on from what `ask` has returned, to the verdict."""
        if isinstance(step, Ask):
            try:
                replies = yield step
            except RedisUnavailable as error:
                return self.without_redis(exchange, step, error)
            step = self.decide(exchange, replies)
        if isinstance(step, Pass | Answer):
            return step
        return (yield from step)
