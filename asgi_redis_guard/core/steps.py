"""What a guard's `admit` may yield and return: a closed union each way.

yields   Ask · Wait · Body
returns  Pass · Answer
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import RedisUnavailable
from .asgi import Headers
from .script import Batch, Operation, Replies, place_of

if TYPE_CHECKING:
    from .responder import Responder


class Ask:
    """Have these Redis operations done; the replies come back in their order.

    `facts` are known already and may be used by the guards behind in the same round. `closed` says that a failure of
    one of these operations refuses the request, so that nothing behind it takes effect. `shadow` says that they only
    try: one that stops is told, and holds back its own guard's group, but stops nobody. `last` says that the guard may
    answer by what comes back: those behind it do not start before it has passed. `replica` says that what a replica
    knows is good enough, where the operations have only to look (`on_replica`). `about` is whatever the guard wants to
    find again in `replies.ask`. Many requests may share one: never change one that you did not make.
    """

    __slots__ = ("about", "batch", "facts", "last", "place")

    def __init__(
        self,
        operations: Batch | Iterable[Operation],
        facts: Mapping[str, Any] | None = None,
        *,
        closed: bool = False,
        shadow: bool = False,
        last: bool = False,
        replica: bool = False,
        about: Any = None,
    ) -> None:
        self.batch = operations if isinstance(operations, Batch) else Batch(operations)
        self.facts = facts
        self.last = last
        self.about = about
        self.place = place_of(closed, self.batch.kinds, shadow, replica)

    def __repr__(self) -> str:
        return f"<Ask {self.place!r}>"


class Waitable(Protocol):
    """Something to wait for: a lock's release, another request's fill."""

    def wait(self) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class Sought:
    """What others hold and a caller waits for; it goes by `word` on `topic`.

    `ask` takes it, and has who holds it say the word when it is free; asking again with the same token must change
    nothing. `left` reads the replies: None for taken (or nothing more to wait for), else the seconds after which it is
    worth asking again although no word has come. `undo` gives back what a caller has taken who waits no more; without
    that it would be taken for `lasts` seconds.
    """

    topic: str
    word: bytes
    ask: Ask
    left: Callable[[Replies], float | None]
    undo: Ask
    lasts: float


class InLine(Waitable, Protocol):
    """A turn that is waited for: `since` is when that was sent which was answered, by the loop's clock."""

    since: float

    @property
    def error(self) -> RedisUnavailable | None:
        """What Redis failed with when it was asked last, None if it answered."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for `what`, at most `deadline` seconds; its result comes back, or `WaitTimeout` is thrown in.

    So is a `RedisUnavailable` of what is waited for.

    Without anything to wait for, wait until the deadline; None comes back. The guards before this one have passed by
    then; those behind have not taken effect. With `heeds_client` a client that leaves meanwhile ends the request, as in
    the middle of its body: for what takes long, and keeps others waiting.
    """

    what: Waitable | None
    deadline: float
    heeds_client: bool = False


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
    more after the answer, detached from the client, seen by that responder only, with `edits` made to its request.
    `group` is that of the operations which the guard would have been stopped by, had it asked: those in front of it are
    held back all the same.
    """

    __slots__ = ("background", "body", "edits", "group", "headers", "reason", "status")

    def __init__(
        self,
        status: int,
        headers: Headers,
        body: bytes = b"",
        *,
        reason: str = "",
        background: Responder | None = None,
        edits: RequestEdits | None = None,
        group: str | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.reason = reason
        self.background = background
        self.edits = edits
        self.group = group

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.reason}>"


@dataclass(frozen=True, slots=True)
class RequestEdits:
    """Changes to the request that the app sees: header names to drop, fields to add, subprotocols to drop."""

    drop_headers: frozenset[bytes] = frozenset()
    add_headers: tuple[tuple[bytes, bytes], ...] = ()
    drop_subprotocols: frozenset[str] = frozenset()


class Pass:
    """Let the request go on. `facts` are for the guards behind; those in `scope` go into the app's scope as well.

    `reason` is for events, as that of an answer. A guard may give the same one to many requests: never change one that
    you did not make, return another.
    """

    __slots__ = ("edits", "facts", "reason", "responder", "scope")

    def __init__(
        self,
        facts: Mapping[str, Any] | None = None,
        *,
        scope: Mapping[str, Any] | None = None,
        edits: RequestEdits | None = None,
        responder: Responder | None = None,
        reason: str = "",
    ) -> None:
        self.facts = facts
        self.scope = scope
        self.edits = edits
        self.responder = responder
        self.reason = reason

    def __repr__(self) -> str:
        return f"<Pass with {', '.join(self.facts or ()) or 'nothing'}>"


#: What a guard decides.
Verdict = Pass | Answer

#: What `admit` returns: a generator that yields what is to be done, gets what came of it, and ends with a verdict.
Admission = Generator[Step, Any, Verdict]

#: Nothing against it, and nothing to add.
PASS = Pass()
