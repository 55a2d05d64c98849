"""Apps whose work is one route function, and responders that count and give back.

Law: nothing here decides what is right; a test reads what happened.
"""

from collections.abc import Callable
from typing import Any

from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.core.responder import Head, Responder
from asgi_redis_guard.core.script import Operation, OperationKind
from asgi_redis_guard.core.steps import Ask, Asking
from tests.guards import Does, asking, count
from tests.middleware.calls import responding

#: One less under `counter`.
UNCOUNT = OperationKind.parse("""\
-- name: test.uncount
-- keys: counter
-- args: by
-- repeatable: no
-- @check
-- @commit
call('DECRBY', counter, by)
""")


def routing(function: Callable[..., Any], *arguments: Any) -> ASGIApp:
    """An app that calls a route function and answers with what it returns."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await responding(await function(*arguments))(scope, receive, send)

    return app


async def hello() -> bytes:
    """A route function."""
    return b"hello"


class Counted(Responder):
    """Takes back what its guard has counted, and puts its name on the head."""

    def __init__(self, key: str, notes: list[str] | None = None) -> None:
        self.key = key
        self.notes: list[str] = [] if notes is None else notes

    def start(self, head: Head) -> None:
        self.notes.append(f"start {self.key}")
        head.headers.append((b"x-counted", self.key.encode()))

    def withdraw(self) -> Asking:
        self.notes.append(f"withdraw {self.key}")
        yield Ask([Operation(UNCOUNT, (self.key.encode(),), (1,))])


def counting(key: str, notes: list[str] | None = None) -> Does:
    """A guard that counts under `key` and gives it back if the route is refused."""
    return asking(count(key), name=key, responder=Counted(key, notes))


def limiting(key: str, **attributes: Any) -> Does:
    """A guard of a route that refuses, as a limit does."""
    return asking(count(key, stopping=True), name=key, refunds=True, **attributes)
