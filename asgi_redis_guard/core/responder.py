"""A guard's part in the response: the object that sees it go by, and what it sees and may do.

A responder may have `start`, `body`, `receive`, `withdraw`, `rescue` and `end`; some of these may ask Redis in their
turn. Its control can cancel the handler and run the app once more in the background.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from .asgi import Headers, Message, Scope
from .script import Operation
from .steps import Answer, Ask, Asking, Wait


class Head:
    """The head of a response on its way out: responders edit it in place, from the inside out.

    For a WebSocket it is the acceptance (status 101). `content` is the whole body where a responder had it held back,
    else None.
    """

    __slots__ = ("answered", "content", "editor", "headers", "replaced", "replaced_by", "scope", "status", "trailers")

    def __init__(self, status: int, headers: Headers, content: bytes | None = None, scope: Scope | None = None) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        #: The scope that the app got; it may have put something of its own there.
        self.scope = scope
        #: True if trailers follow the body.
        self.trailers = False
        #: True if it is a guard's answer, and not what the app has made of the request.
        self.answered = False
        self.replaced: bytes | None = None
        #: Places of the responder at work and of the one that replaced the response last; the engine's business.
        self.editor = -1
        self.replaced_by = -1

    def __repr__(self) -> str:
        return f"<Head {self.status}>"

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

    def close(self, close: Close) -> None:
        """Close the WebSocket, towards the client and the app; for HTTP nothing happens."""

    def clock(self) -> float:
        """Return the present time, in seconds since the epoch on this host's clock."""

    @property
    def data_lost(self) -> bool:
        """True while Redis is known to have lost revocations, as `Exchange.data_lost`."""

    def has_body(self) -> bool:
        """Tell whether the app has got anything of a request body; over HTTP/2 no field says that there is one."""

    def watch(
        self, topic: str, key: bytes, ended: Callable[[], None], lives: Callable[[bytes], Awaitable[float]]
    ) -> None:
        """Call `ended` once if somebody tells that `key` of `topic` has ended, as long as the exchange lasts.

        Where word may have been missed, and when its time is up, `lives` is asked for how many seconds the key that it
        goes by now still lives: 0 if it has ended.
        """

    def suspect(self, topic: str, keys: Iterable[bytes], look: Callable[[bool], Asking]) -> Callable[[], None]:
        """Have `look` carried out when one of `keys` is named on `topic`, as long as the exchange lasts.

        Then with true; with false once words would come, after a gap, and when what comes back here is called. A word
        is no proof: `look` asks. What it lets through of `RedisUnavailable` has it carried out again later.
        """

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call `call` at a time by `clock`, if the exchange lasts until then; once."""

    def spawn(self, flow: Asking) -> None:
        """Carry out what `flow` asks, in the background: nobody waits for it, no cancellation ends it."""

    def release(self) -> None:
        """Tell that this responder, which `outlives`, needs the rest no more: the client's leaving counts again."""

    def keep(self, operation: Operation, ttl: float, lost: Callable[[], None]) -> None:
        """Keep a lease of `ttl` seconds, taken by this exchange, until it ends; it is dropped before the `end`s.

        `operation` renews it: its check passes while the lease is held and stops when it is lost. `lost` is called once
        at most, then or when Redis could not be asked until the ttl was over.
        """


class Responder:
    """A guard's part in one response. Override what is needed; what is not overridden costs nothing.

    `hold` is how many bytes of body may be kept back until the end of it, so that `start` sees it whole; what is made
    bit by bit is kept back as well, unless `holds_streams` is false: a stream then goes out as it comes. One that
    `outlives` wants the response although its client may leave, or read slowly, until it says `Control.release`.
    """

    __slots__ = ()

    hold: ClassVar[int] = 0
    holds_streams: ClassVar[bool] = True
    outlives: ClassVar[bool] = False
    hooks: ClassVar[frozenset[str]] = frozenset()
    #: Nothing but heads to edit: nobody needs to watch how the exchange goes on.
    only_start: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        names = ("bind", "start", "body", "receive", "withdraw", "rescue", "end")
        cls.hooks = frozenset(name for name in names if getattr(cls, name) is not getattr(Responder, name))
        cls.only_start = cls.hooks <= {"start", "withdraw"} and not cls.hold and not cls.outlives

    def bind(self, control: Control) -> None:
        """Take the handle on the exchange, before the app runs."""

    def start(self, head: Head) -> Asking | None:
        """Edit the head before it is sent; a generator may ask Redis first, all responders in one round trip.

        A generator may ask again, where somebody else was faster; that is a round trip of its own.

        It may be called more than once for one response, each time on a fresh head (another responder failed, asked
        Redis, or replaced the response), so it must have no effect but on the head. Operations that responders ask for
        report in their values; they never stop a round.
        """

    def body(self, chunk: bytes, more: bool) -> None:
        """See a chunk of the body go by."""

    def receive(self, message: Message) -> Generator[Ask | Wait, Any, Message | Close | None] | Message | Close | None:
        """Let a WebSocket message from the client through, changed or not; None drops it."""
        return message

    def withdraw(self) -> Asking | None:
        """Give back what the admission has counted: a guard that `refunds` has refused the exchange since.

        All responders in one round trip, inside first, before the refusal is sent; `start` and `end` follow as ever.
        Redis being away is no reason not to refuse.
        """

    def rescue(self, error: Exception) -> Answer | None:
        """Answer instead of an app that failed before the head was sent; the first answer, inside first, is sent.

        It goes through the responders as an answer of the app would, this one included.
        """
        return None

    def end(self, outcome: Outcome) -> Asking | None:
        """Clean up after the last byte, an error or a disconnect; all responders in one round trip, never cancelled."""
