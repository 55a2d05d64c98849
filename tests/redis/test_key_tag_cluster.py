"""A stack with `key_tag` on a cluster: all that a tenant has lies in one slot, and a round is one program there."""

import time
from typing import Any

import jwt

from asgi_redis_guard import (
    GuardMiddleware,
    Idempotency,
    JWTAuth,
    RateLimit,
    RedisManager,
    ResponseCache,
    RevocationList,
    RouteLock,
    Sessions,
)
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.redis.slots import slot_of
from tests.cluster import Cluster
from tests.drive import call, http_scope
from tests.redis.tools import PATIENCE

SECRET = "a secret for tests only, 32 bytes or more"


def token(tenant: str, user: str = "alice", jti: str = "1") -> str:
    claims = {"sub": user, "jti": jti, "exp": time.time() + 3600, "org": tenant}
    return jwt.encode(claims, SECRET, algorithm="HS256")


def evaluated(cluster: Cluster) -> int:
    """Programs and scripts that all nodes have run."""
    stats = [server.command("INFO", "commandstats") for server in cluster.primaries]
    return sum(one.get("cmdstat_evalsha", {"calls": 0})["calls"] for one in stats)


def keys_of(cluster: Cluster) -> set[bytes]:
    return {key for server in cluster.primaries for key in server.command("KEYS", "*")}


async def cart(scope: Scope, receive: Receive, send: Send) -> None:
    """Writes the session on POST, and answers what the session has."""
    session = scope["session"]
    if scope["method"] == "POST":
        session["n"] = session.get("n", 0) + 1
    body = str(session.get("n")).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def ask(app: Any, tenant: str, *, method: str = "GET", cookie: str = "", bearer: str = "") -> Any:
    fields = {"host": "x", "x-tenant": tenant, "authorization": f"Bearer {bearer or token(tenant)}"}
    if cookie:
        fields["cookie"] = cookie
    return await call(app, http_scope("/", fields, method=method))


def standard(manager: RedisManager) -> GuardMiddleware:
    guards = [
        JWTAuth(key=SECRET, algorithms=["HS256"], tenant="org"),
        Sessions(https_only=False),
        RateLimit("1000/minute", "10000/hour", key="user"),
    ]
    return GuardMiddleware(cart, guards, redis=manager, key_tag="{header:x-tenant}")


async def test_a_round_of_the_standard_stack_is_one_program(on_cluster: RedisManager, cluster: Cluster) -> None:
    app = standard(on_cluster)
    first = await ask(app, "acme", method="POST")
    cookie = first["set-cookie"].partition(";")[0]
    before = evaluated(cluster)
    for _ in range(5):
        answer = await ask(app, "acme", cookie=cookie)
        assert answer.body == b"1"
    assert evaluated(cluster) - before == 5


async def test_without_a_tag_it_is_several(on_cluster: RedisManager, cluster: Cluster) -> None:
    app = GuardMiddleware(
        cart, [guard for guard in standard(on_cluster).guards if guard.kind != "jwt"], redis=on_cluster
    )
    before = evaluated(cluster)
    first = await ask(app, "acme", method="POST")
    await ask(app, "acme", cookie=first["set-cookie"].partition(";")[0])
    assert evaluated(cluster) - before > 3


async def test_whatever_a_request_writes_lies_in_its_tenant_s_slot(on_cluster: RedisManager, cluster: Cluster) -> None:
    guards = [
        JWTAuth(key=SECRET, algorithms=["HS256"], tenant="org"),
        Sessions(https_only=False, statistics=True),
        RateLimit("1000/minute", key="user"),
        RateLimit("1000/hour", key="address", algorithm="log", name="by-address"),
        RouteLock("thing:{user}", wait=PATIENCE),
        Idempotency(),
        ResponseCache(ttl=60),
    ]
    app = GuardMiddleware(cart, guards, redis=on_cluster, key_tag=lambda exchange: "acme")
    for method in ("POST", "GET", "GET"):
        assert (await ask(app, "acme", method=method)).status == 200
    revoked = RevocationList(on_cluster.tagged("acme"))
    await revoked.revoke("9")
    await revoked.revoke_user("bob")
    of_servers = on_cluster.keys.incarnation(0).partition(b"{")[0]  # one a server, whoever's keys it has
    keys = [key for key in keys_of(cluster) if not key.startswith(of_servers)]
    assert len(keys) >= 6
    assert len({slot_of(key) for key in keys}) == 1, keys


async def test_what_a_service_does_for_a_tenant_is_found_by_its_requests_alone(on_cluster: RedisManager) -> None:
    app = standard(on_cluster)
    await RevocationList(on_cluster.tagged("acme")).revoke("1")
    assert (await ask(app, "acme")).status == 401
    assert (await ask(app, "globex")).status == 200, "the same jti of another tenant"


async def test_one_s_sessions_and_limits_are_not_another_s(on_cluster: RedisManager) -> None:
    guards = [Sessions(https_only=False), RateLimit("2/minute", key=lambda exchange: "all")]
    app = GuardMiddleware(cart, guards, redis=on_cluster, key_tag="{header:x-tenant}")
    cookie = (await ask(app, "acme", method="POST"))["set-cookie"].partition(";")[0]
    assert (await ask(app, "acme", cookie=cookie)).body == b"1"
    assert (await ask(app, "globex", cookie=cookie)).body == b"None"
    assert (await ask(app, "acme", cookie=cookie)).status == 429
    assert (await ask(app, "globex")).status == 200
    assert (await ask(app, "globex")).status == 429
