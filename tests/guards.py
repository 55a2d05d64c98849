"""Guards, responders and operations for tests: each does what it is told and notes what happened to it.

Law: nothing here decides what is right; a test reads the notes and does.
"""

from collections.abc import Callable
from typing import Any

from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.guard import Guard
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.core.responder import Head, Outcome, Responder
from asgi_redis_guard.core.script import Operation, OperationKind
from asgi_redis_guard.core.steps import PASS, Admission, Answer, Ask, Asking, Pass

#: Writes 1 more under `counter`, unless a guard before it was stopped; `stop` set to 1 stops the round here.
COUNT = OperationKind.parse("""\
-- name: test.count
-- keys: counter
-- args: stopping
-- keeps: after
-- returns: value (what the counter is after this)
-- repeatable: yes
-- @check
after = (tonumber(call('GET', counter)) or 0) + 1
value = after
if stopping == '1' then stop = true end
-- @commit
call('SET', counter, after)
""")

#: Takes `lock` if it is free, and stops the round if it is not.
ACQUIRE = OperationKind.parse("""\
-- name: test.acquire
-- keys: lock
-- args: token
-- holds: yes
-- @check
if call('EXISTS', lock) == 1 then stop = true end
-- @commit
call('SET', lock, token)
""")

#: Gives `lock` back if it is still held with `token`.
RELEASE = OperationKind.parse("""\
-- name: test.release
-- keys: lock
-- args: token
-- repeatable: yes
-- @check
-- @commit
if call('GET', lock) == token then call('DEL', lock) end
""")


def count(key: str, *, stopping: bool = False) -> Operation:
    """One more under `key`."""
    return Operation(COUNT, (key.encode(),), (int(stopping),))


def exchange(**changes: Any) -> Exchange:
    """An exchange on a plain GET, with changes to its scope."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", **changes}
    return Exchange(scope, 1_700_000_000.0, lambda size: bytes(size), Keys())


class Does(Guard):
    """Admits as the generator function that it is given."""

    def __init__(self, admit: Callable[[Exchange], Any], *, name: str = "does", **attributes: Any) -> None:
        self.admit = admit  # type: ignore[method-assign]
        self.name = name
        for attribute, value in attributes.items():
            setattr(self, attribute, value)

    def __repr__(self) -> str:
        return f"<Does {self.name}>"


def passing(responder: Responder | None = None, *, name: str = "passing", **attributes: Any) -> Does:
    """A guard that asks nothing and lets everything through."""

    def admit(exchange: Exchange) -> Admission:
        return PASS if responder is None else Pass(responder=responder)
        yield

    return Does(admit, name=name, **attributes)


def answering(answer: Answer, *, name: str = "answering", **attributes: Any) -> Does:
    """A guard that asks nothing and answers everything."""

    def admit(exchange: Exchange) -> Admission:
        return answer
        yield

    return Does(admit, name=name, **attributes)


def asking(*operations: Operation, name: str = "asking", responder: Responder | None = None, **attributes: Any) -> Does:
    """A guard that has `operations` done and answers 429 if one of them stops it."""

    def admit(exchange: Exchange) -> Admission:
        replies = yield Ask(operations)
        if not all(reply.passed for reply in replies):
            return Answer(429, [], b"stopped", reason="stopped")
        return PASS if responder is None else Pass(responder=responder)

    kinds = tuple(dict.fromkeys(operation.kind for operation in operations))
    return Does(admit, name=name, operations=kinds, **attributes)


class Lock(Guard):
    """Takes a lock, refuses with 423 if it is taken, and gives it back at the end."""

    kind = "lock"
    operations = (ACQUIRE, RELEASE)

    def __init__(self, key: str, token: str = "mine", name: str = "lock") -> None:
        self.key, self.token, self.name = key.encode(), token, name

    def admit(self, exchange: Exchange) -> Admission:
        (reply,) = yield Ask([Operation(ACQUIRE, (self.key,), (self.token,))])
        if not reply.passed:
            return Answer(423, [], b"locked", reason="locked")
        return Pass(responder=Holder(self.key, self.token))


class Holder(Responder):
    """Gives a lock back."""

    def __init__(self, key: bytes, token: str) -> None:
        self.key, self.token = key, token

    def end(self, outcome: Outcome) -> Asking:
        yield Ask([Operation(RELEASE, (self.key,), (self.token,))])


class Ends(Responder):
    """Notes how the exchange ended."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the ends that it was told; there must be one in the end."""
        return [outcome.kind for outcome in self.outcomes]


class Watches(Ends):
    """Notes everything that goes by, and adds its name to the head."""

    def __init__(self, name: str = "watches", notes: list[Any] | None = None) -> None:
        super().__init__()
        self.name = name
        self.notes = [] if notes is None else notes
        self.heads: list[tuple[int, bytes | None]] = []
        self.chunks: list[tuple[bytes, bool]] = []

    def start(self, head: Head) -> None:
        self.notes.append(("start", self.name))
        self.heads.append((head.status, head.content))
        head.headers.append((b"x-seen-by", self.name.encode()))

    def body(self, chunk: bytes, more: bool) -> None:
        self.notes.append(("body", self.name))
        self.chunks.append((chunk, more))

    def end(self, outcome: Outcome) -> None:
        self.notes.append(("end", self.name))
        super().end(outcome)
