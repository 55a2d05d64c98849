"""Sessions that go to another slot of a cluster, a manager that fails in between, and what is left in the end.

Law: it says how a session is brought to another slot, never what is to come of that.
"""

from typing import Any

import pytest

from asgi_redis_guard.errors import RedisUnavailable
from tests.sessions.accounts import Act, Visitor
from tests.sessions.meanwhile import Meanwhile
from tests.sessions.test_ending import leave, rotate
from tests.sessions.test_recording import Watched, login


class Failing(Meanwhile):
    """Also fails before something is sent."""

    _failing: tuple[str, Exception] | None = None

    def before(self, text: str, error: Exception) -> None:
        """Let the next script with `text` not be sent."""
        self._failing = text, error

    def evaluate(self, program: Any, *rest: Any) -> Any:
        if self._failing is not None and self._failing[0] in program.source:
            (_, error), self._failing = self._failing, None
            raise error
        return super().evaluate(program, *rest)


def put(**values: Any) -> Act:
    return lambda session: session.update(values)


#: Where a session comes from, and what its user does that leads to another slot.
WAYS: dict[str, tuple[dict[str, Any], Act]] = {
    "a login": ({"basket": 1}, login()),
    "a new id for nobody": ({"basket": 1}, rotate),
    "a logout": ({"user_id": "alice", "basket": 1}, leave),
    "another user": ({"user_id": "alice", "basket": 1}, login("bob")),
}
way = pytest.mark.parametrize("way", WAYS)


async def begun(site: Watched, way: str) -> Visitor:
    """A browser with the session that a way begins with."""
    visitor = Visitor(site)
    await visitor.visit(put(**WAYS[way][0]))
    return visitor


async def lost() -> None:
    """The reply was lost, after what was asked was done."""
    raise RedisUnavailable("the link broke", maybe_executed=True)


async def alive(site: Watched) -> list[dict[bytes, bytes]]:
    """The sessions that are there, whoever knows of them."""
    records = [key for key in await site.keys() if key.startswith(b"guard:s:") and b":replaced" not in key]
    fields = [dict(zip(*[iter(await site.redis.execute("HGETALL", key))] * 2, strict=True)) for key in records]
    return [one for one in fields if b"m" in one and b"o" not in one]
