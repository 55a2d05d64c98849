"""Sessions on a cluster: what the tests of one server say of them, and one story that is told on both.

The former are those tests themselves, which run here once more. Where a session changes its user it changes its slot.
"""

import inspect
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.sessions.ids import SessionId
from tests.cluster import Cluster
from tests.redis.tools import PATIENCE
from tests.sessions import (
    tally,
    test_ending,
    test_recording,
    test_saving_races,
    test_saving_rotation,
    test_sockets,
    test_store,
    test_store_cap,
    test_store_former,
    test_store_stats_races,
)
from tests.sessions.accounts import Visitor
from tests.sessions.crowd import Crowd
from tests.sessions.meanwhile import Meanwhile
from tests.sessions.test_recording import Watched, login

#: Whose tests run here: those that ask for one of these, and for no server.
SAME: dict[ModuleType, set[str]] = {
    test_ending: {"redis", "site"},
    test_recording: {"redis"},
    test_saving_races: {"redis", "site"},
    test_saving_rotation: {"redis", "site"},
    test_sockets: {"manager"},
    test_store: {"redis"},
    test_store_cap: {"redis"},
    test_store_former: {"redis"},
    test_store_stats_races: {"redis"},
}


@pytest.fixture(scope="module")
def primaries() -> Iterator[Cluster]:
    """Those of all these tests."""
    with Cluster(3) as cluster:
        yield cluster


@pytest.fixture
def backend(primaries: Cluster) -> str:
    """The store of all these tests, which is empty."""
    primaries.flush()
    return primaries.url


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[Meanwhile]:
    """A manager on it, which lets something happen meanwhile."""
    async with Meanwhile(backend, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
def manager(redis: RedisManager) -> RedisManager:
    """The same by another name."""
    return redis


def _same(module: ModuleType, stores: set[str]) -> dict[str, Any]:
    """Return the tests of a module that ask for one of the stores."""
    tests = {name: one for name, one in vars(module).items() if name.startswith("test_") and inspect.isfunction(one)}
    asked = {name: {*inspect.signature(one).parameters} for name, one in tests.items()}
    servers = {"memory", "redis_url", "make_server", *({"site"} - stores)}
    return {name: tests[name] for name in tests if asked[name] & stores and not asked[name] & servers}


for _module, _stores in SAME.items():
    globals().update(_same(_module, _stores))


class Told:
    """What a crowd of users does and sees, told so that two tellings can be compared: ids by when they came up."""

    def __init__(self, redis: RedisManager, seed: int, **options: Any) -> None:
        self.site = Watched(redis, statistics=True, **options)
        self.crowd = Crowd(self.site, seed)
        self.numbers: dict[str, int] = {}

    def name(self, one: SessionId | str | None) -> int | None:
        if one is None:
            return None
        return self.numbers.setdefault(one if isinstance(one, str) else one.handle.decode(), len(self.numbers))

    def about(self, details: Any) -> dict[str, Any]:
        ids = {"session", "former", "successor", "by", "kept"}
        said = {name: self.name(one) if name in ids else one for name, one in sorted(details.items())}
        return said | {"sessions": sorted(self.name(one) or 0 for one in details.get("sessions", []))}

    async def seen(self) -> list[Any]:
        """All that can be seen by the app, its users and whoever looks after it."""
        crowd, site = self.crowd, self.site
        browsers = [(one.cookie and self.name(one.id), one.response.status) for one in crowd.visitors]
        sessions = [(dict(await Visitor(site, one.cookie).visit()), one.session.ended) for one in crowd.visitors]
        lists = [sorted(self.name(one) or 0 for one in await site.ids(user)) for user in crowd.users]
        events = [[(event.kind, self.about(event.details)) for event in await site.found(user)] for user in crowd.users]
        heard = [[event.kind for event in site.heard if event.user == user] for user in crowd.users]
        fields = [await site.redis.execute("HLEN", key) for key in await site.keys() if key.startswith(b"guard:s:")]
        return [browsers, sessions, lists, events, heard, await tally.counts(site), sorted(fields)]


@pytest.mark.parametrize("options", [{}, {"max_sessions": 2, "on_excess": "deny"}, {"overlap": 0}], ids=str)
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_users_do_it_is_as_on_one_server(
    redis: Meanwhile, redis_url: str, seed: int, options: dict[str, Any]
) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as single:
        here, there = Told(redis, seed, **options), Told(single, seed, **options)
        for _ in range(30):
            await here.crowd.act()
            await there.crowd.act()
            assert await here.seen() == await there.seen()


class Noting(RedisManager):
    """Notes what each round does."""

    def __init__(self, url: str) -> None:
        super().__init__(url, timeout=PATIENCE)
        self.rounds: list[list[str]] = []

    def evaluate(self, program: Any, *rest: Any) -> Any:
        self.rounds.append([line.split()[2] for line in program.source.splitlines() if line.startswith("do -- ")])
        return super().evaluate(program, *rest)


async def test_what_stays_the_users_is_one_script_and_what_does_not_two_steps(backend: str) -> None:
    async with Noting(backend) as redis:
        site = Watched(redis)
        visitor = Visitor(site)
        await visitor.visit(lambda session: session.update(basket=1))
        for act, steps in (
            (lambda session: session.rotate(), ["heir", "leave"]),
            (login(), ["heir", "leave"]),
            (lambda session: session.rotate(), ["rotate"]),
            (login("bob"), ["load", "heir", "leave"]),
            (lambda session: session.pop("user_id"), ["heir", "leave"]),
        ):
            redis.rounds.clear()
            await visitor.visit(act)
            assert redis.rounds == [[f"sessions.{step}"] for step in ("load", *steps)]


async def test_a_prefix_with_a_hash_tag_keeps_it_one_script(backend: str) -> None:
    async with Noting(backend) as redis:
        redis.keys = type(redis.keys)("guard:{all}:")
        site = Watched(redis)
        visitor = Visitor(site)
        await visitor.visit(lambda session: session.update(basket=1))
        for act in (lambda session: session.rotate(), login(), login("bob"), lambda session: session.pop("user_id")):
            redis.rounds.clear()
            await visitor.visit(act)
            assert redis.rounds == [["sessions.load"], ["sessions.rotate"]]
