"""The end of a session by whoever holds its id, with all that came before and after it.

Pure. An id that was replaced can be read for its overlap, and a logout may come with it: its heir, the session that has
replaced it, ends too, for the logout takes the browser's cookie away, whichever of the two ids that holds. Heirs of the
same user end in the same script. One of another user or of nobody (a login, a change of user) may lie in another slot
of a cluster, so that it is ended after its forerunner has said where it is. That costs a round trip, in these few
seconds alone.
"""

from __future__ import annotations

from collections.abc import Generator

from ..core.keys import Keys
from ..core.script import Operation, OperationKind, Replies, Reply
from ..core.steps import Ask
from .counting import uncount, user_of
from .ids import SessionId, SessionIds
from .logins import follow
from .policy import SessionPolicy
from .recording import NO_LOG, Log

DESTROY = OperationKind.load(__package__, "destroy.lua")


def end(policy: SessionPolicy, keys: Keys, one: SessionId, log: Log = NO_LOG) -> list[Operation]:
    """Return what ends a session and its heirs in its slot; `end_rest` does what the first reply says is left."""
    destroy = Operation(DESTROY, (one.record, one.owner, one.notes), (one.handle, keys.sessions_channel, log.text))
    return [destroy, *uncount(policy, keys, [one.handle], user_of(one))]


def end_rest(
    policy: SessionPolicy, keys: Keys, ids: SessionIds, one: SessionId, reply: Reply
) -> Generator[Ask, Replies, None]:
    """Take the heirs that ended with `one` off the statistics, and end the one that lies elsewhere.

    Raises `RedisUnavailable` where an heir may be left: a logout that is not whole is none.
    """
    while True:
        heirs, heir, place, *_ = reply.values
        if heirs:
            yield from follow(uncount(policy, keys, heirs, user_of(one)))
        if not heir:
            return
        one = ids.at(place, heir)
        reply, *_ = yield Ask(end(policy, keys, one))
