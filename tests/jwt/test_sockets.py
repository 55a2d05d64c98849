"""A WebSocket lives no longer than the token it was opened with."""

import asyncio
import time
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, Revocation, RevocationList
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.jwt import sockets as module
from asgi_redis_guard.middleware import vigil
from asgi_redis_guard.testing import ManualClock
from tests.jwt.sockets import LEAVES, TOPIC, begin, closed, is_quiet, leave, listens, looked, opened, stack, words
from tests.jwt.tokens import NOW, bearer, sign
from tests.middleware.calls import Call, http, settled, websocket
from tests.redis.tools import eventually, within

REVOKED, EXPIRED = (4401, "token revoked"), (4401, "token expired")
ISSUERS = ("https://a.example", "https://b.example")


@pytest.mark.parametrize("way", ["by its id", "with others", "by its user", "by its user, later"])
async def test_a_socket_is_closed_when_its_token_is_revoked(
    redis: RedisManager, revocations: RevocationList, way: str
) -> None:
    app = stack(redis)
    mine, other = await opened(app, redis, sign(jti="mine"), sign(jti="other", sub="bob"))
    if way == "by its id":
        assert await revocations.revoke("mine", ttl=60)
    elif way == "with others":
        assert await revocations.revoke_many([*map(str, range(300)), Revocation("mine", ttl=60)]) == 301
    else:
        await revocations.revoke_user("alice", before=None if way == "by its user" else time.time() + 60)
    assert await closed(mine) == REVOKED
    await looked(redis)
    assert other.kinds == ["websocket.accept"]
    await leave(mine, other)
    assert is_quiet(redis)


async def test_a_socket_goes_by_its_issuer_and_without_an_id_by_what_was_signed(redis: RedisManager) -> None:
    revocations = RevocationList(redis, by_issuer=True)
    tokens = [sign(iss=issuer, jti=jti) for issuer in ISSUERS for jti in ("same", None)]
    seen: list[Any] = []

    async def notes(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["user"])
        await listens(scope, receive, send)

    app = stack(redis, notes, issuer=ISSUERS)
    sockets = await opened(app, redis, *tokens)
    for number in (0, 3):
        issuer, name = seen[number].revocation_id
        assert await revocations.revoke(name, ttl=60, issuer=issuer)
        assert await closed(sockets[number]) == REVOKED
    await looked(redis)
    assert [call.kinds for call in (sockets[1], sockets[2])] == [["websocket.accept"]] * 2
    await revocations.revoke_user("alice", issuer=ISSUERS[0])
    assert await closed(sockets[1]) == REVOKED
    await looked(redis)
    assert sockets[2].kinds == ["websocket.accept"]
    await leave(*sockets)


async def test_a_word_that_means_another_token_closes_nothing(redis: RedisManager, revocations: RevocationList) -> None:
    call, witness = await opened(stack(redis), redis, sign(jti="mine"), sign(jti="witness", sub="bob"))
    await revocations.revoke_user("alice", before=NOW - 3600)  # the token is younger than that
    await revocations.revoke("mine", ttl=60)
    keys = redis.keys
    await closed(call)
    (again,) = await opened(stack(redis), redis, sign(jti="again"))
    await redis.pubsub.feed.tell(TOPIC, words(keys, keys.user("", "alice"), keys.token("", "again")))
    await revocations.revoke("witness", ttl=60)
    assert await closed(witness) == REVOKED
    await looked(redis)
    assert again.kinds == ["websocket.accept"], "nothing was set, whatever was said"
    await leave(call, again, witness)


async def test_a_socket_whose_token_was_revoked_during_the_handshake_is_closed(
    redis: RedisManager, revocations: RevocationList
) -> None:
    async def meanwhile(scope: Scope, receive: Receive, send: Send) -> None:
        assert await revocations.revoke("t-1", ttl=60)  # the blacklist was asked, and nobody listens yet
        await listens(scope, receive, send)

    call = begin(stack(redis, meanwhile), sign())
    assert await closed(call) == REVOKED
    await leave(call)
    assert is_quiet(redis)


@pytest.mark.parametrize("revocation", [True, False])
@pytest.mark.parametrize("leeway", [0, 5])
async def test_a_socket_is_closed_when_its_token_is_over(
    redis: RedisManager, monkeypatch: pytest.MonkeyPatch, revocation: bool, leeway: int
) -> None:
    monkeypatch.setattr(vigil, "_LONGEST", 0.005)  # this clock does not go by itself
    clock = ManualClock(NOW)
    app = stack(redis, clock=clock, leeway=leeway, revocation=revocation)
    first, second, last = calls = [begin(app, sign(exp=NOW + end, jti=str(end))) for end in (10, 11, 3600)]
    for call in calls:
        await within(call.sees("websocket.accept"))
    clock.advance(leeway + 10.5)
    assert await closed(first) == EXPIRED
    assert second.kinds == last.kinds == ["websocket.accept"]
    clock.advance(0.5)
    assert await closed(second) == EXPIRED
    clock.advance(3588.5)
    assert last.kinds == ["websocket.accept"]
    clock.advance(0.5)
    assert await closed(last) == EXPIRED
    assert ("tokens" in repr(redis.pubsub.feed)) is revocation, "what nobody can revoke is not listened for"
    await leave(*calls)
    assert is_quiet(redis)


async def test_by_this_host_s_own_clock_too(redis: RedisManager) -> None:
    now = time.time()
    call = begin(stack(redis, clock=time.time), sign(iat=now - 10, exp=now + 0.2))
    assert await closed(call) == EXPIRED
    await leave(call)


async def test_a_token_without_an_end_watches_nothing_that_nobody_can_revoke(redis: RedisManager) -> None:
    call = begin(stack(redis, revocation=False, required=()), sign(exp=None))
    await within(call.sees("websocket.accept"))
    assert repr(redis.pubsub.feed) == "<Feed of nothing, 0 keys watched>"
    await leave(call)


@pytest.mark.parametrize("options", [{"keep_sockets": True}, {"optional": True}, {"exempt": ["/"]}])
async def test_a_socket_is_kept_where_the_app_wills_it_so_or_nobody_has_to_come_with_a_token(
    redis: RedisManager, revocations: RevocationList, options: Any
) -> None:
    app = stack(redis, **options)
    call = begin(app, sign(exp=NOW + 0.001)) if "optional" not in options else Call(app, websocket()).start()
    await within(call.sees("websocket.accept"))
    await revocations.revoke("t-1", ttl=60)
    assert repr(redis.pubsub.feed) == "<Feed of nothing, 0 keys watched>"
    await leave(call)
    assert call.kinds == ["websocket.accept"]


async def test_requests_watch_nothing(redis: RedisManager) -> None:
    headers = [(b"host", b"test"), *((name.encode(), value) for name, value in bearer(sign()).items())]
    call = await Call(stack(redis), http(headers=headers)).run()
    assert call.status == 200
    assert repr(redis.pubsub.feed) == "<Feed of nothing, 0 keys watched>"


async def test_a_token_in_a_subprotocol_stays_hidden_and_closes_the_socket_all_the_same(
    redis: RedisManager, revocations: RevocationList
) -> None:
    seen: list[list[str]] = []

    async def notes(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["subprotocols"])
        await listens(scope, receive, send)

    offered = ["chat", f"access.{sign().decode()}"]
    scope = websocket(subprotocols=offered, headers=[(b"sec-websocket-protocol", ", ".join(offered).encode())])
    call = Call(stack(redis, notes, subprotocol="access"), scope).start()
    await within(call.sees("websocket.accept"))
    await looked(redis)
    await revocations.revoke("t-1", ttl=60)
    assert await closed(call) == REVOKED
    assert seen == [["chat"]]
    await leave(call)


@pytest.mark.parametrize("end", ["its client leaves", "the app closes", "the app fails", "it is cancelled"])
async def test_a_socket_that_is_over_is_watched_no_more(
    redis: RedisManager, revocations: RevocationList, end: str
) -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await go_on.wait()
        if end == "the app fails":
            raise LookupError
        if end == "its client leaves":
            assert (await receive())["type"] == "websocket.disconnect"
        else:
            await send({"type": "websocket.close", "code": 1000})

    (call,) = await opened(stack(redis, app), redis, sign())
    if end == "it is cancelled":
        call.task.cancel()
    else:
        call.feed(LEAVES)
        go_on.set()
    await asyncio.wait([call.task])
    assert is_quiet(redis)
    sent = len(call.sent)
    await revocations.revoke("t-1", ttl=60)
    await redis.pubsub.feed.tell(TOPIC, [b"x"])
    await within(settled(redis))
    assert len(call.sent) == sent
    if end == "the app fails":
        assert isinstance(call.task.exception(), LookupError)


async def test_an_app_that_never_reads_has_its_client_closed_and_nothing_it_sends_goes_out(
    redis: RedisManager, revocations: RevocationList
) -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})
        await go_on.wait()
        for _ in range(3):
            await send({"type": "websocket.send", "text": "secret"})
        await send({"type": "websocket.close", "code": 1000})

    (call,) = await opened(stack(redis, app), redis, sign())
    await revocations.revoke("t-1", ttl=60)
    assert await closed(call) == REVOKED
    await eventually(lambda: is_quiet(redis))
    go_on.set()
    await within(call.task)
    assert call.kinds == ["websocket.accept", "websocket.close"]


async def test_marks_of_other_software_are_looked_for_now_and_then(
    redis: RedisManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ASK_AGAIN", 0.0)
    app = stack(redis, legacy="token:blacklist:{jti}")
    calls = await opened(app, redis, *(sign(jti=str(number)) for number in range(4)))
    for number in range(3):
        await redis.execute("SET", f"token:blacklist:{number}", "1", "EX", "60")
        assert await closed(calls[number]) == REVOKED
    assert calls[3].kinds == ["websocket.accept"]
    await leave(*calls)
    assert is_quiet(redis)


async def test_with_a_mirror_a_socket_is_closed_as_well_and_by_what_redis_has_lost(redis: RedisManager) -> None:
    revocations = RevocationList(redis, mode="mirror")
    await within(revocations.mirrored())
    app = stack(redis, revocation=revocations)
    mine, other, lost = await opened(app, redis, *(sign(jti=jti, sub=jti) for jti in ("mine", "other", "lost")))
    await revocations.revoke("mine", ttl=60)
    assert await closed(mine) == REVOKED
    key = redis.keys.token("", "lost")
    monitor = revocations._mirror()
    monitor.note(key, revoked=True)  # as if Redis had lost it
    await redis.pubsub.feed.tell(TOPIC, [key[-20:]])
    assert await closed(lost) == REVOKED
    assert other.kinds == ["websocket.accept"]
    await leave(mine, other, lost)
