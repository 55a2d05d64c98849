"""A server that came back without its data is noticed, told, and answered as guards answer while Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, RedisUnavailable, Revocation, RevocationList
from asgi_redis_guard.cli import main
from asgi_redis_guard.errors import TokenRevoked
from asgi_redis_guard.redis import loss_watch, losses
from tests.conftest import MakeServer
from tests.drive import App, get
from tests.jwt.revocation.test_mirror import another, knows, mirror_of, stack, status
from tests.jwt.services import service
from tests.jwt.sockets import closed, leave, opened
from tests.jwt.sockets import stack as socket_stack
from tests.jwt.tokens import bearer, sign
from tests.redis.conftest import nothing_is_left_running
from tests.redis.tools import PATIENCE, eventually, within
from tests.servers import Server

__all__ = ["nothing_is_left_running"]

LOST = "has lost its data"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(loss_watch, "_BEAT", 0.05)
    monkeypatch.setattr(loss_watch, "_BEAT_LOST", 0.02)


def told(caplog: pytest.LogCaptureFixture, what: str = LOST) -> list[str]:
    return [record.message for record in caplog.records if what in record.message]


def is_lost(redis: RedisManager) -> bool:
    return redis.links.losses.lost


async def learnt(redis: RedisManager) -> None:
    """Wait until a process knows that there is something to lose."""
    await eventually(lambda: redis.links.losses._records.until > 0)


@asynccontextmanager
async def process(
    url: str, *, expected: int = 200, **options: Any
) -> AsyncIterator[tuple[RedisManager, GuardMiddleware, RevocationList]]:
    """One that asks Redis about every token, and has done so."""
    async with RedisManager(url, timeout=PATIENCE) as redis:
        revocations = RevocationList(redis)
        app = stack(redis, revocations, **options)
        assert await status(app, jti="warm-up") == expected
        yield redis, app, revocations


async def restart_empty(server: Server) -> None:
    """Kill it, as by a crash, and start it again."""
    server.kill()
    server.start()


async def test_a_server_that_came_back_empty_lets_nobody_pass(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        await restart_empty(fresh_server)
        assert [await status(app, jti="bad") for _ in range(5)] == [503] * 5
        answer = await get(app, headers=bearer(sign(jti="good")))
        assert answer.status == 503
        assert answer["retry-after"]
        assert LOST in (await redis.health())["warnings"]["data_lost"]
        assert len(told(caplog)) == 1
        await revocations.revoke("new", ttl=60)
        assert await status(app, jti="new") == 503
        assert await redis.accept_loss()
        assert [await status(app, jti=jti) for jti in ("bad", "good", "new")] == [200, 200, 401]
        assert "data_lost" not in (await redis.health())["warnings"]
        assert not await redis.accept_loss()
    assert len(told(caplog)) == len(told(caplog, "counts as whole again")) == 1


@pytest.mark.parametrize(("policy", "answers"), [("closed", [503, 503]), ("open", [200, 401])])
async def test_guards_answer_as_while_redis_is_away(fresh_server: Server, policy: str, answers: list[int]) -> None:
    """But one that lets pass still heeds what Redis knows by now."""
    async with process(fresh_server.url, on_outage=policy) as (_, app, revocations):
        await revocations.revoke("bad", ttl=60)
        await restart_empty(fresh_server)
        await revocations.revoke("new", ttl=60)
        assert [await status(app, jti=jti) for jti in ("bad", "new")] == answers


async def test_a_server_that_is_emptied_while_links_stand_is_noticed(backend: str) -> None:
    async with process(backend) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        await redis.execute("FLUSHALL")
        await eventually(lambda: is_lost(redis))
        assert await status(app, jti="bad") == 503
        assert await redis.execute("PTTL", redis.keys.incarnation(0)) > 0
        assert await redis.accept_loss()
        assert await status(app, jti="bad") == 200


async def test_an_app_that_never_revoked_goes_on_with_an_empty_server(fresh_server: Server) -> None:
    async with process(fresh_server.url) as (redis, app, _):
        await restart_empty(fresh_server)
        assert await status(app, jti="good") == 200
        await within(redis.links.losses.look())
        assert not is_lost(redis)
        assert await redis.execute("DBSIZE") == 0


async def test_an_app_without_a_blacklist_never_looks(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as redis:
        app = GuardMiddleware(App(), [JWTAuth("x" * 32, optional=True, revocation=False)], redis=redis)
        assert (await get(app)).status == 200
        assert not redis.links.losses.heeded


async def test_a_server_that_came_back_with_its_data_has_lost_nothing(make_server: MakeServer) -> None:
    server = make_server(appendonly="yes", appendfsync="always")
    async with process(server.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        await restart_empty(server)
        assert [await status(app, jti=jti) for jti in ("bad", "good")] == [401, 200]
        assert not is_lost(redis)


async def later(server: Server, redis: RedisManager, seconds: int) -> None:
    """Let so much time go by, as looks at the server tell it."""
    server.command("HINCRBY", redis.links.losses.record, "beat", seconds)
    await within(redis.links.losses.look())


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_a_server_that_came_back_with_an_old_copy_of_its_data_lets_nobody_pass(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """As one that saves a snapshot now and then, and is killed: its record is there still, with the same id."""
    server = make_server(kind)
    async with process(server.url) as (redis, app, revocations):
        await revocations.revoke("old", ttl=600)
        server.command("SAVE")
        await revocations.revoke("bad", ttl=600)
        await later(server, redis, 10)
        await restart_empty(server)
        assert [await status(app, jti=jti) for jti in ("bad", "good", "old")] == [503] * 3
        async with process(server.url, expected=503) as (_, its_app, _):
            assert await status(its_app, jti="bad") == 503, "nor one that starts later"
        assert len(told(caplog)) == 2
        assert await redis.accept_loss()
        assert await status(app, jti="good") == 200


async def test_a_copy_that_lacks_the_last_moments_alone_counts_as_whole(fresh_server: Server) -> None:
    """As that of a replica which takes over."""
    async with process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=600)
        fresh_server.command("SAVE")
        await later(fresh_server, redis, 3)
        await restart_empty(fresh_server)
        assert [await status(app, jti=jti) for jti in ("bad", "good")] == [401, 200]
        assert not is_lost(redis)


async def test_a_mirror_gives_an_old_copy_back_what_it_lacks(fresh_server: Server) -> None:
    async with another(fresh_server.url) as (redis, mine), process(fresh_server.url) as (_, app, revocations):
        await revocations.revoke("old", ttl=600)
        fresh_server.command("SAVE")
        await revocations.revoke("bad", ttl=600)
        await knows(mine, "bad")
        await later(fresh_server, redis, 10)
        await restart_empty(fresh_server)
        await eventually(lambda: mine.mirror_status()["lost"] == 1 and not is_lost(redis))
        async with asyncio.timeout(PATIENCE):
            while await status(app, jti="good") != 200:
                assert await status(app, jti="bad") in (401, 503)
                await asyncio.sleep(0.005)
        assert [await status(app, jti=jti) for jti in ("bad", "old")] == [401, 401]


async def test_a_request_under_way_is_not_answered_by_the_empty_server(fresh_server: Server) -> None:
    """It is sent again over the next link, and what comes back says that nothing is revoked."""
    async with process(fresh_server.url) as (_, app, revocations):
        await revocations.revoke("bad", ttl=60)
        fresh_server.pause()
        asked = [asyncio.create_task(status(app, jti="bad")) for _ in range(20)]
        await asyncio.sleep(0)
        await restart_empty(fresh_server)
        assert set(await within(asyncio.gather(*asked))) == {503}


async def test_all_processes_agree_and_so_does_one_that_starts_later(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    url = fresh_server.url
    async with process(url) as (one, app, revocations), process(url) as (other, its_app, _):
        await revocations.revoke("bad", ttl=60)
        await learnt(other)
        await restart_empty(fresh_server)
        answers = await asyncio.gather(*(status(each, jti="bad") for each in (app, its_app) for _ in range(5)))
        assert set(answers) == {503}
        async with RedisManager(url, timeout=PATIENCE) as third:
            assert await status(stack(third, RevocationList(third)), jti="bad") == 503
            names = [dict(await each.links.losses.look()) for each in (one, other, third)]
            assert names[0] == names[1] == names[2]
            assert len(told(caplog)) == 3
            assert await third.accept_loss()
            await eventually(lambda: not any(is_lost(each) for each in (one, other, third)))
        assert [await status(each, jti="bad") for each in (app, its_app)] == [200, 200]


async def test_who_was_away_longer_still_tells_that_something_is_missing(fresh_server: Server) -> None:
    """Somebody new has written to the empty server before anybody came who knew what it had."""
    url = fresh_server.url
    async with process(url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        redis.links.breaker.failed("the test holds it off", fatal=True)
        fresh_server.kill()
        fresh_server.start()
        async with process(url) as (_, its_app, its_list):
            await its_list.revoke("new", ttl=60)
            assert await status(its_app, jti="new") == 401
            await eventually(lambda: not redis.links.breaker.is_open)
            assert await status(app, jti="bad") == 503
            await eventually(lambda: is_lost(_))
            assert await status(its_app, jti="bad") == 503


async def test_it_is_lost_twice_and_accepted_once_for_all(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        for _ in range(2):
            seen = redis.links.losses.incarnations()
            await restart_empty(fresh_server)
            assert await status(app, jti="bad") == 503
            await eventually(lambda seen=seen: is_lost(redis) and redis.links.losses.incarnations() != seen)
        assert len(told(caplog)) == 1, "it is told once until all is whole again"
        await redis.accept_loss()
        assert await status(app, jti="bad") == 200
        await restart_empty(fresh_server)
        assert await status(app, jti="bad") == 503, "what was revoked before it was accepted may be known elsewhere"


async def test_what_has_ended_cannot_be_lost(fresh_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_AHEAD", 0)
    async with process(fresh_server.url) as (redis, app, _):
        await redis.links.losses.ensure(100)
        key = redis.keys.incarnation(0)
        while await redis.execute("EXISTS", key):  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.005)
        await restart_empty(fresh_server)
        assert await status(app, jti="good") == 200


async def test_a_loss_is_over_when_all_has_ended_that_was_lost(
    fresh_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_AHEAD", 0)
    async with process(fresh_server.url) as (redis, app, _):
        await redis.links.losses.ensure(3000)
        await restart_empty(fresh_server)
        assert await status(app, jti="good") == 503
        await redis.links.losses.ensure(60_000)
        await eventually(lambda: not is_lost(redis))
        assert await status(app, jti="good") == 200


async def test_services_raise_instead_of_taking_a_token_for_good(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as redis:
        tokens, revocations = service(redis), RevocationList(redis)
        pair = await tokens.issue("alice")
        await tokens.verify(pair.access_token)
        await tokens.revoke(pair.access_token)
        await restart_empty(fresh_server)
        for ask in (
            lambda: tokens.verify(pair.access_token),
            lambda: tokens.introspect(pair.access_token),
            lambda: revocations.is_revoked("bad"),
            lambda: revocations.revocation("bad"),
        ):
            with pytest.raises(RedisUnavailable, match="lost"):
                await ask()
        await revocations.revoke("new")
        assert await revocations.is_revoked("new")
        await redis.accept_loss()
        await tokens.verify(pair.access_token)
        await tokens.revoke(pair.access_token)
        with pytest.raises(TokenRevoked):
            await tokens.verify(pair.access_token)


# Mirrors.


async def test_a_mirror_that_knew_all_makes_it_whole_for_everybody(
    fresh_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with another(fresh_server.url) as (_, mine), process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke_many([Revocation(f"t-{number}", ttl=60) for number in range(20)])
        await revocations.revoke_user("carol")
        await eventually(lambda: mine.mirror_status()["entries"] == 21)
        await restart_empty(fresh_server)
        while (answer := await status(app, jti="t-7")) != 401:
            assert answer == 503
            await asyncio.sleep(0.002)
        assert await status(app, jti="good") == 200
        assert await status(app, jti="good", sub="carol", iat=1) == 401
        assert not is_lost(redis)
        await eventually(lambda: mirror_of(mine).fresh)
    assert len(told(caplog, "counts as whole again")) <= 2


async def test_a_mirror_that_began_after_the_loss_makes_nothing_whole(fresh_server: Server) -> None:
    async with process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        await restart_empty(fresh_server)
        assert await status(app, jti="bad") == 503
        async with RedisManager(fresh_server.url, timeout=PATIENCE) as late:
            mirrored = RevocationList(late, mode="mirror")
            begun = stack(late, mirrored)
            assert await status(begun, jti="bad") == 503
            await eventually(lambda: mirror_of(mirrored)._known is not None)
            assert [await status(begun, jti="bad"), await status(app, jti="bad")] == [503, 503]
            assert mirrored.mirror_status()["state"] != "fresh"
            await redis.accept_loss()
            await eventually(lambda: mirror_of(mirrored).fresh)
            assert await status(begun, jti="good") == 200


async def test_a_mirror_that_missed_the_last_revocation_makes_nothing_whole(fresh_server: Server) -> None:
    """It gives back what it knows all the same."""
    async with another(fresh_server.url) as (_, mine), process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("early", ttl=60)
        await knows(mine, "early")
        mirror = mirror_of(mine)
        mirror._stream.wire._drop("the test has cut it")
        mirror._stream.wire.want = lambda *_: None  # type: ignore[method-assign]
        mirror._stream.stop()
        await revocations.revoke("last", ttl=60)
        await restart_empty(fresh_server)
        assert await status(app, jti="last") == 503
        await mirror._look()
        assert await redis.execute("EXISTS", redis.keys.token("", "early"))
        await within(redis.links.losses.look())
        assert is_lost(redis)
        assert await status(app, jti="last") == 503


async def test_what_has_a_tag_is_held_by_no_mirror_and_stays_lost(fresh_server: Server) -> None:
    async with another(fresh_server.url) as (manager, mine), process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=600)
        await RevocationList(redis.tagged("acme")).revoke("acme's", ttl=600)
        await knows(mine, "bad")
        await learnt(manager)
        await restart_empty(fresh_server)
        await eventually(lambda: mine.mirror_status()["written_back"])
        await within(manager.links.losses.look())
        await within(redis.links.losses.look())
        assert is_lost(manager)
        assert is_lost(redis)
        await redis.accept_loss()
        assert [await status(app, jti=jti) for jti in ("bad", "good")] == [401, 200]


async def test_last_known_goes_by_a_mirror_as_of_before_the_loss(fresh_server: Server) -> None:
    async with another(fresh_server.url, max_stale=0.3) as (manager, mine):
        app = stack(manager, mine, on_outage="last_known", max_age=3600)
        await mine.revoke("bad", ttl=60)
        await knows(mine, "bad")
        mirror_of(mine)._losses.mend = _never  # type: ignore[method-assign]
        await restart_empty(fresh_server)
        await eventually(lambda: is_lost(manager) and not mirror_of(mine).fresh)
        await RevocationList(manager).revoke("new", ttl=60)
        assert [await status(app, jti=jti) for jti in ("bad", "good", "new")] == [401, 200, 401]


async def _never(*_: Any) -> None:
    """Make nothing whole."""


# Sockets.


async def test_a_socket_is_closed_when_it_is_named_and_nobody_can_tell(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as redis:
        app = socket_stack(redis)
        (socket,) = await opened(app, redis, sign(jti="bad"))
        await RevocationList(redis).revoke("other", ttl=60)
        await redis.execute("FLUSHALL")
        await eventually(lambda: is_lost(redis))
        await redis.pubsub.feed.tell("tokens", [redis.keys.token("", "bad")[-20:]])
        assert await closed(socket) == (1013, "try again later")
        await leave(socket)


# The operator.


async def test_an_operator_accepts_by_the_command(fresh_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    async with process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        await restart_empty(fresh_server)
        assert await status(app, jti="bad") == 503
        said = []
        for _ in range(2):
            assert await asyncio.to_thread(main, ["accept-loss", "--url", fresh_server.url]) == 0
            said.append(capsys.readouterr().out)
        at = f"at {redis.address} below the prefix {redis.settings.prefix}\n"
        assert said == [
            f"accepted: guards go by what Redis has now, {at}",
            f"nothing is known to be missing {at}",
        ]
        await eventually(lambda: not is_lost(redis))
        assert await status(app, jti="bad") == 200


def test_a_command_for_a_redis_that_is_away_fails(fresh_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    fresh_server.kill()
    assert main(["accept-loss", "--url", fresh_server.url]) == 1
    assert "no connection" in capsys.readouterr().err
