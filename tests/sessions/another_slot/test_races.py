"""A session that goes to another slot of a cluster, and what others do between the steps of that.

It must come to what it would on one server, just before its one script.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.redis.tools import PATIENCE
from tests.sessions import tally
from tests.sessions.accounts import Visitor
from tests.sessions.another_slot.steps import WAYS, Failing, begun, put, way
from tests.sessions.meanwhile import Meanwhile
from tests.sessions.test_ending import again, logout, rotate
from tests.sessions.test_recording import Watched, login

Deed = Callable[[Watched, Visitor], Awaitable[Any]]

#: What others do meanwhile: another tab of the browser, or whoever looks after the site.
DEEDS: dict[str, Deed] = {
    "written": lambda site, tab: tab.visit(put(theirs=2)),
    "incremented": lambda site, tab: tab.visit(lambda session: session.incr("n")),
    "ended": lambda site, tab: tab.visit(logout),
    "ended and begun again": lambda site, tab: tab.visit(again),
    "logged in": lambda site, tab: tab.visit(login("carol")),
    "rotated": lambda site, tab: tab.visit(rotate),
    "revoked": lambda site, tab: site.store.revoke_all("alice"),
    "revoked, the new user": lambda site, tab: site.store.revoke_all("bob"),
    "lost": lambda site, tab: site.redis.execute("DEL", tab.id.record),
}


async def outcome(site: Watched, visitor: Visitor, old: Visitor, tab: Visitor) -> dict[str, Any]:
    """What all of them see in the end."""
    status, told = visitor.response.status, len(visitor.response.all("set-cookie"))
    same = visitor.cookie == old.cookie
    seen = [dict(await one.visit()) for one in (visitor, tab, old)]
    lists = {user: len(await site.ids(user)) for user in ("alice", "bob", "carol")}
    events = {user: await site.kinds(user) for user in ("alice", "carol")}
    return {"status": (status, told, same), "seen": seen, "lists": lists, "events": events}


@way
@pytest.mark.parametrize("deed", DEEDS)
async def test_what_others_do_meanwhile_comes_to_what_it_would_on_one_server(
    redis: Failing, redis_url: str, way: str, deed: str
) -> None:
    async with Meanwhile(redis_url, timeout=PATIENCE) as single:
        outcomes = []
        for manager, step in ((redis, "sessions.heir"), (single, "sessions.load")):
            site = Watched(manager, statistics=True)
            visitor = await begun(site, way)
            old, tab = Visitor(site, visitor.cookie), Visitor(site, visitor.cookie)
            manager.after(step, lambda site=site, tab=tab: DEEDS[deed](site, tab))  # type: ignore[misc]
            await visitor.visit(WAYS[way][1])
            assert manager.done
            outcomes.append(await outcome(site, visitor, old, tab))
            active, users, created, ended = await tally.counts(site)
            assert active == created - ended
            assert users == sum(map(bool, outcomes[-1]["lists"].values()))
        if (way, deed) in (("another user", "revoked, the new user"), ("a login", "revoked")):
            assert outcomes[0]["seen"][0] == {}  # what was just made was there to be revoked
        else:
            assert outcomes[0] == outcomes[1]
