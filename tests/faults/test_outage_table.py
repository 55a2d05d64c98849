"""The table of what each guard does while Redis is away (DESIGN §7): every guard, policy and way to be away.

What is told in other files of outages is how; here is only that, for all of them, and that it ends with the outage.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from asgi_redis_guard import (
    ConcurrencyLimit,
    Guard,
    Idempotency,
    JWTAuth,
    RateLimit,
    RedisManager,
    ResponseCache,
    RevocationList,
    RouteLock,
    Sessions,
)
from tests.cluster import Cluster
from tests.faults import outages as site_of
from tests.faults.outages import Site, Visit
from tests.jwt.tokens import SECRET
from tests.redis.tools import PATIENCE, within
from tests.servers import Server, valkey9

Make = Callable[[RedisManager, Any], Guard]


@dataclass(frozen=True)
class Row:
    """What visits end with while Redis serves, and while it is away: `visits` has both, in this order.

    `unless_known` is what they end with where the process has never met Redis, if that is something else.
    """

    guard: str
    policy: str
    make: Make
    visits: dict[Visit, tuple[str, str]]
    before: Callable[[Site], Awaitable[None]] | None = None
    unless_known: dict[Visit, str] = field(default_factory=dict)
    mirrored: bool = False

    def guarding(self, redis: RedisManager) -> Guard:
        return self.make(redis, self.policy)

    def there(self) -> list[str]:
        return [there for there, _ in self.visits.values()]

    def away(self, *, met: bool) -> list[str]:
        return [away if met else self.unless_known.get(visit, away) for visit, (_, away) in self.visits.items()]

    def __str__(self) -> str:
        return f"{self.guard}: {self.policy}"


def a(kind: Callable[..., Guard], *given: Any) -> Make:
    return lambda redis, policy: kind(*given, on_outage=policy)


def with_mirror(redis: RedisManager, policy: Any) -> Guard:
    return JWTAuth(SECRET, revocation=RevocationList(redis, mode="mirror"), on_outage=policy)


GOOD, REVOKED, FORGED = site_of.good_token, site_of.revoked_token, site_of.forged_token
SOCKET, SESSION_SOCKET = site_of.socket_with_token, site_of.socket_with_session
THREE, CLIENT, TWICE = site_of.three_in_a_row, site_of.socket_of_a_client, site_of.two_at_once
READ, WRITE, NEW, NONE = site_of.with_session, site_of.write_session, site_of.log_in_anew, site_of.without_session
PAGE, AGAIN, PAY = site_of.known_page, site_of.pay_again, site_of.pay_twice
ONE, FREE, REPEATED = "200 alone, then 409", "without lock", "200 ran, then replayed"

# fmt: off
TABLE = [
    Row("blacklist", "closed", a(JWTAuth, SECRET), {
        GOOD: ("200 ran", "503"), REVOKED: ("401", "503"), FORGED: ("401", "401"), SOCKET: ("101", "503"),
    }, site_of.revoke),
    Row("blacklist", "open", a(JWTAuth, SECRET), {
        GOOD: ("200 ran", "200 ran"), REVOKED: ("401", "200 ran"), FORGED: ("401", "401"), SOCKET: ("101", "101"),
    }, site_of.revoke),
    Row("blacklist", "last_known", with_mirror, {
        GOOD: ("200 ran", "200 ran"), REVOKED: ("401", "401"), FORGED: ("401", "401"), SOCKET: ("101", "101"),
    }, site_of.revoke, {GOOD: "503", REVOKED: "503", SOCKET: "503"}, mirrored=True),
    Row("limit", "local", a(RateLimit, "2/hour"), {THREE: ("200 200 429", "200 200 429"), CLIENT: ("101", "101")}),
    Row("limit", "open", a(RateLimit, "2/hour"), {THREE: ("200 200 429", "200 200 200"), CLIENT: ("101", "101")}),
    Row("limit", "closed", a(RateLimit, "2/hour"), {THREE: ("200 200 429", "503 503 503"), CLIENT: ("101", "503")}),
    Row("at once", "local", a(ConcurrencyLimit, 1), {TWICE: ("200 ran, then 429", "200 ran, then 429")}),
    Row("at once", "open", a(ConcurrencyLimit, 1), {TWICE: ("200 ran, then 429", "200 ran, then 200 ran")}),
    Row("at once", "closed", a(ConcurrencyLimit, 1), {TWICE: ("200 ran, then 429", "503")}),
    Row("session", "closed", a(Sessions), {
        READ: ("200 user", "503"), WRITE: ("200 written", "503"), NEW: ("200 in", "503"),
        NONE: ("200 nobo", "200 nobo"), SESSION_SOCKET: ("101", "503"),
    }, site_of.log_in),
    Row("session", "anonymous", a(Sessions), {
        READ: ("200 user", "200 nobo"), WRITE: ("200 written", "503"), NEW: ("200 in", "503"),
        NONE: ("200 nobo", "200 nobo"), SESSION_SOCKET: ("101", "101"),
    }, site_of.log_in),
    Row("response cache", "bypass", lambda *_: ResponseCache(), {PAGE: ("200 stored", "200 made")}, site_of.store),
    Row("lock", "closed", a(RouteLock, "{path}"), {TWICE: (ONE, "503")}),
    Row("lock", "open", a(RouteLock, "{path}"), {TWICE: (ONE, f"200 {FREE}, then 200 {FREE}")}),
    Row("idempotency", "closed", a(Idempotency), {AGAIN: ("replayed", "503"), PAY: (REPEATED, "503, then 503")},
        site_of.pay_before),
    Row("idempotency", "open", a(Idempotency), {
        AGAIN: ("replayed", "200 ran"), PAY: (REPEATED, "200 ran, then 200 ran"),
    }, site_of.pay_before),
]
# fmt: on

#: So many rounds lead to the one node of three that hangs, and to the others, whatever names they use.
ROUNDS = 150
EVERY_ROW = pytest.mark.parametrize("row", TABLE, ids=str)


class Visits:
    """A row at work: every round of its visits has a number of its own."""

    def __init__(self, row: Row, site: Site) -> None:
        self.row, self.site = row, site
        self.number = 0

    async def round(self) -> list[str]:
        """Make all visits of the row, one after another; none may wait for ever."""
        self.number += 1
        return [await within(visit(self.site, self.number)) for visit in self.row.visits]

    async def until(self, expected: list[str]) -> None:
        """Repeat them until they end as expected."""
        last: list[str] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while (last := await self.round()) != expected:  # noqa: ASYNC110  (no event tells of it)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            assert last == expected


@asynccontextmanager
async def visits_of(row: Row, url: str, past: dict[int, str]) -> AsyncIterator[Visits]:
    """A process of its own, which knows nothing yet but where Redis is."""
    async with RedisManager(url, timeout=0.3) as redis:
        yield Visits(row, Site(redis, row.guarding, past))


async def past_of(row: Row, url: str) -> dict[int, str]:
    """Let another process do what lies before; return the cookies that it gave."""
    past: dict[int, str] = {}
    if row.before is not None:
        async with RedisManager(url, timeout=PATIENCE) as redis:
            await row.before(Site(redis, row.guarding, past))
    return past


async def ready(row: Row, visits: Visits) -> None:
    """Wait until all is as it should be while Redis serves."""
    await visits.until(row.there())
    if row.mirrored:
        await within(RevocationList(visits.site.redis, mode="mirror").mirrored())


@pytest.fixture(scope="module")
def one() -> Iterator[Server]:
    """A server that has its data still when it comes back."""
    with Server(valkey9(), appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
def durable(one: Server) -> Iterator[Server]:
    """It, empty; it serves again when the test has ended, however that was."""
    one.command("FLUSHALL")
    yield one
    if one.is_running:
        one.resume()
    else:
        one.start()


@EVERY_ROW
async def test_a_process_that_starts_while_redis_is_away_does_as_its_policy_says(row: Row, durable: Server) -> None:
    past = await past_of(row, durable.url)
    await asyncio.to_thread(durable.kill)
    async with visits_of(row, durable.url, past) as visits:
        for _ in range(3):
            assert await visits.round() == row.away(met=False)
        await asyncio.to_thread(durable.start)
        await visits.until(row.there())


@EVERY_ROW
@pytest.mark.parametrize("way", ["it dies", "it hangs"])
async def test_where_redis_goes_away_later_the_policy_holds_until_it_is_back(
    row: Row, way: str, durable: Server
) -> None:
    past = await past_of(row, durable.url)
    async with visits_of(row, durable.url, past) as visits:
        await ready(row, visits)
        await asyncio.to_thread(durable.kill if way == "it dies" else durable.pause)
        for _ in range(2):
            assert await visits.round() == row.away(met=True)
        await asyncio.to_thread(durable.start if way == "it dies" else durable.resume)
        await visits.until(row.there())


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    """Three primaries, none of which is given up by the others while it hangs."""
    with Cluster(3, node_timeout=120_000) as cluster:
        yield cluster


@EVERY_ROW
async def test_where_one_node_of_a_cluster_hangs_the_policy_holds_for_what_is_there_and_for_nothing_else(
    row: Row, three: Cluster
) -> None:
    three.flush()
    past = await past_of(row, three.url)
    async with visits_of(row, three.url, past) as visits:
        await ready(row, visits)
        await asyncio.to_thread(three.servers[1].pause)
        try:
            await both_are_seen(row, visits)
        finally:
            await asyncio.to_thread(three.servers[1].resume)
        await visits.until(row.there())


async def both_are_seen(row: Row, visits: Visits) -> None:
    """Make visits until each has ended in both of its ways, and in no other."""
    seen: dict[Visit, set[str]] = {visit: set() for visit in row.visits}
    while any(not seen[visit].issuperset(ends) for visit, ends in row.visits.items()):
        for visit, end in zip(row.visits, await visits.round(), strict=True):
            seen[visit].add(end)
        assert visits.number < ROUNDS, seen
    for visit, ends in row.visits.items():
        assert seen[visit] == {*ends}
