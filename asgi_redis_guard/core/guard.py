"""The protocol between guards and the engine: one closed union each way.

    a guard's `admit` yields     Ask · Wait · Body            and returns  Pass · Answer
    a responder may have         start · body · receive · end, each of which may ask Redis in its turn
    a responder's control can    cancel the handler · run the app once more in the background

Guards decide and never do I/O: the engine does what they yield and sends the result back into the generator. Redis
being away is thrown in as `RedisUnavailable`; whoever does not catch it gets a 503 for its request.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from ..errors import GuardError, GuardProtocolError
from .asgi import Headers, Message
from .exchange import Exchange
from .paths import PathPatterns
from .script import Batch, Operation, OperationKind, Replies, place_of


class BodyTooLarge(GuardError):
    """Thrown into a guard that asked for the body: it is longer than the limit. The app still gets all of it."""


class WaitTimeout(GuardError):
    """Thrown into a guard that waited: the deadline passed first."""


class Ask:
    """Have these Redis operations done; the replies come back in their order.

    `facts` are known already and may be used by the guards behind in the same round. `closed` says that a failure of
    one of these operations refuses the request, so that nothing behind it takes effect.
    """

    __slots__ = ("batch", "facts", "place")

    def __init__(
        self, operations: Batch | Iterable[Operation], facts: Mapping[str, Any] | None = None, *, closed: bool = False
    ) -> None:
        self.batch = operations if isinstance(operations, Batch) else Batch(operations)
        self.facts = facts
        self.place = place_of(closed, self.batch.kinds)

    def __repr__(self) -> str:
        return f"<Ask {self.place!r}>"


class Waitable(Protocol):
    """Something to wait for: a lock's release, another request's fill."""

    def wait(self) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for `what`, at most `deadline` seconds; its result comes back, or `WaitTimeout` is thrown in.

    The guards before this one have passed by then; those behind have not taken effect.
    """

    what: Waitable
    deadline: float


@dataclass(frozen=True, slots=True)
class Body:
    """Read the request body, at most `limit` bytes; it comes back as bytes, and the app gets it again.

    A client that disconnects in the middle ends the request: the app does not run.
    """

    limit: int


Step = Ask | Wait | Body
Asking = Generator[Ask, Replies, None]


class Answer:
    """A response instead of the app's: a refusal, or a stored response.

    `reason` is a short, stable word for events (`invalid_token`, `rate_limited`). `background` lets the app run once
    more after the answer, detached from the client, seen by that responder only.
    """

    __slots__ = ("background", "body", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes = b"",
        *,
        reason: str = "",
        background: Responder | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.reason = reason
        self.background = background


@dataclass(frozen=True, slots=True)
class RequestEdits:
    """Changes to the request that the app sees: header names to drop, fields to add, subprotocols to drop."""

    drop_headers: frozenset[bytes] = frozenset()
    add_headers: tuple[tuple[bytes, bytes], ...] = ()
    drop_subprotocols: frozenset[str] = frozenset()


class Pass:
    """Let the request go on. `facts` are for the guards behind; those in `scope` go into the app's scope as well."""

    __slots__ = ("edits", "facts", "responder", "scope")

    def __init__(
        self,
        facts: Mapping[str, Any] | None = None,
        *,
        scope: Mapping[str, Any] | None = None,
        edits: RequestEdits | None = None,
        responder: Responder | None = None,
    ) -> None:
        self.facts = facts
        self.scope = scope
        self.edits = edits
        self.responder = responder


#: What a guard decides.
Verdict = Pass | Answer

#: What `admit` returns: a generator that yields what is to be done, gets what came of it, and ends with a verdict.
Admission = Generator[Step, Any, Verdict]

#: Nothing against it, and nothing to add.
PASS = Pass()


class Head:
    """The head of a response on its way out: responders edit it in place, from the inside out.

    For a WebSocket it is the acceptance (status 101). `content` is the whole body where a responder had it held back,
    else None.
    """

    __slots__ = ("content", "editor", "headers", "replaced", "replaced_by", "status")

    def __init__(self, status: int, headers: Headers, content: bytes | None = None) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.replaced: bytes | None = None
        #: Places of the responder at work and of the one that replaced the response last; the engine's business.
        self.editor = -1
        self.replaced_by = -1

    def replace(self, answer: Answer) -> None:
        """Send `answer` instead of what comes from inside; responders further out see the new head."""
        self.status, self.headers, self.replaced = answer.status, list(answer.headers), answer.body
        self.replaced_by = self.editor


@dataclass(frozen=True, slots=True)
class Close:
    """Close the WebSocket with this code and reason, towards the client and the app."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an exchange ended: `status` is the one that was sent, None if none was."""

    kind: Literal["complete", "refused", "error", "cancelled", "disconnect"]
    status: int | None = None
    error: BaseException | None = field(default=None, repr=False)


class Control(Protocol):
    """What a responder may do to a running exchange, from any task of its loop."""

    def cancel(self, answer: Answer) -> None:
        """Cancel the handler. `answer` is sent if the head was not; else the connection is aborted."""

    def rerun(self, responder: Responder) -> None:
        """Run the app once more in the background, detached from the client, seen by `responder` only."""


class Responder:
    """A guard's part in one response. Override what is needed; what is not overridden costs nothing.

    `hold` is how many bytes of body may be kept back until the end of it, so that `start` sees it whole.
    """

    __slots__ = ()

    hold: ClassVar[int] = 0
    hooks: ClassVar[frozenset[str]] = frozenset()
    #: Nothing but heads to edit: nobody needs to watch how the exchange goes on.
    only_start: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        names = ("bind", "start", "body", "receive", "end")
        cls.hooks = frozenset(name for name in names if getattr(cls, name) is not getattr(Responder, name))
        cls.only_start = cls.hooks <= {"start"} and not cls.hold

    def bind(self, control: Control) -> None:
        """Take the handle on the exchange, before the app runs."""

    def start(self, head: Head) -> Asking | None:
        """Edit the head before it is sent; a generator may ask Redis first, all responders in one round trip.

        It may be called more than once for one response, each time on a fresh head (another responder failed, asked
        Redis, or replaced the response), so it must have no effect but on the head. Operations that responders ask for
        report in their values; they never stop a round.
        """

    def body(self, chunk: bytes, more: bool) -> None:
        """See a chunk of the body go by."""

    def receive(self, message: Message) -> Generator[Ask | Wait, Any, Message | Close | None] | Message | Close | None:
        """Let a WebSocket message from the client through, changed or not; None drops it."""
        return message

    def end(self, outcome: Outcome) -> Asking | None:
        """Clean up after the last byte, an error or a disconnect; all responders in one round trip, never cancelled."""


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
    them that it knows before any reply. `inside` names kinds that must not stand behind it: a cache belongs inside
    authentication. `unique` refuses a second of its kind in a stack. `claims` stands for the keys that it writes: no
    two guards of a stack may claim the same, for they would write over each other.
    """

    kind: ClassVar[str] = "guard"
    operations: ClassVar[tuple[OperationKind, ...]] = ()
    provides: ClassVar[frozenset[str]] = frozenset()
    known_early: ClassVar[frozenset[str]] = frozenset()
    inside: ClassVar[frozenset[str]] = frozenset()
    unique: ClassVar[bool] = False

    name: str = ""
    needs: frozenset[str] = frozenset()
    claims: frozenset[Hashable] = frozenset()
    exempt: PathPatterns = PathPatterns()
    exempt_preflight: bool = True
    on_refused: OnRefused | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.name:
            cls.name = cls.kind
        if not isinstance(cls.exempt, PathPatterns):
            cls.exempt = PathPatterns(cls.exempt)

    def admit(self, exchange: Exchange) -> Admission:
        """Decide on one exchange."""
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

    def exempted(self, exchange: Exchange) -> Pass:
        """What an exchange gets that this guard does not apply to."""
        return PASS
