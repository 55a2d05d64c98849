"""The app of the campaign: every guard in one stack, and routes whose answers tell whose they are.

Law: the handlers keep nothing but what the oracle asks for; what lasts is in Redis.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs

import orjson

from asgi_redis_guard import (
    Decision,
    GuardMiddleware,
    Idempotency,
    JWTAuth,
    RateLimit,
    RedisManager,
    RedisUnavailable,
    ResponseCache,
    RevocationList,
    RouteLock,
    Sessions,
)
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from tests.faults.campaign.oracle import Oracle
from tests.jwt.tokens import SECRET

#: Where it is asked for; responses of other hosts are not kept.
HOST = b"site.test"

#: Requests at once, and the seconds after which one more may come, of the two narrow limits.
BURST, EVERY = 20, 3.0

#: Seconds for which a request waits for a lock, and for which it is held without being renewed.
LOCK_WAIT, LOCK_TTL = 1.0, 5.0

#: Seconds that handlers take by themselves.
WORK = 0.002

#: Why the request of this task was refused: the guard and its word.
refusal: ContextVar[str] = ContextVar("refusal", default="")


class Site:
    """The app behind its guards, `app`; a revocation is acknowledged once so many `replicas` have it.

    With `mirrored` the process holds the blacklist in memory.
    """

    def __init__(self, redis: RedisManager, oracle: Oracle, *, replicas: int = 0, mirrored: bool = False) -> None:
        self.oracle = oracle
        self.confirming = redis.settings.connection_timeout if replicas else 0.0
        self.revocations = RevocationList(redis, wait_replicas=replicas, mode="mirror" if mirrored else "remote")
        self.app: ASGIApp = GuardMiddleware(self._answer, _guards(self.revocations), redis=redis, hooks=[_note])

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, _, rest = scope["path"].lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        status, body = 200, {"route": route, "rest": rest, **query}
        try:
            body |= await getattr(self, f"_{route}")(scope, rest, query)
        except RedisUnavailable as error:
            status = 503
            refusal.set(f"handler {type(error).__name__}")
        headers = [(b"content-type", b"application/json")]
        if route == "page":
            headers.append((b"guard-cache-control", b"public, max-age=2"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": orjson.dumps(body)})

    async def _me(self, scope: Scope, rest: str, query: dict[str, str]) -> dict[str, Any]:
        return {"user": scope["user"].identity}

    async def _logout(self, scope: Scope, rest: str, query: dict[str, str]) -> dict[str, Any]:
        await self.revocations.revoke_token(scope["user"])
        return {"user": scope["user"].identity}

    async def _cart(self, scope: Scope, rest: str, query: dict[str, str]) -> dict[str, Any]:
        session = scope["session"]
        before = session.get("n")
        if "put" in query:
            session["n"] = int(query["put"])
            session["owner"] = scope["user"].identity
        return {"user": scope["user"].identity, "owner": session.get("owner"), "n": session.get("n"), "before": before}

    async def _locked(self, scope: Scope, rest: str, query: dict[str, str]) -> dict[str, Any]:
        fence = scope["lock"].fence
        self.oracle.enters(rest, fence)
        try:
            await asyncio.sleep(WORK)
        finally:
            self.oracle.leaves(rest, fence)
        return {"user": scope["user"].identity, "fence": fence}

    async def _pay(self, scope: Scope, rest: str, query: dict[str, str]) -> dict[str, Any]:
        return {"user": scope["user"].identity, "payment": self.oracle.pays(rest)}

    async def _page(self, scope: Scope, rest: str, query: dict[str, str]) -> dict[str, Any]:
        return {"page": rest}

    async def _narrow(self, scope: Scope, rest: str, query: dict[str, str]) -> dict[str, Any]:
        return {"user": scope["user"].identity}

    async def _open(self, scope: Scope, rest: str, query: dict[str, str]) -> dict[str, Any]:
        return {}


def _guards(revocations: RevocationList) -> list[Any]:
    a_few = f"{round(60 / EVERY)}/minute"
    return [
        RateLimit(a_few, key="address", paths=["/open"], burst=BURST, name="door", workers=2),
        JWTAuth(SECRET, revocation=revocations, exempt=["/open", "/page/*"]),
        Sessions(https_only=False, exempt=["/open", "/page/*"]),
        RateLimit("1000000/minute", key="user", unidentified="allow", exempt=["/open", "/page/*"], name="quota"),
        RateLimit(a_few, key="user", paths=["/narrow"], burst=BURST, name="narrow", on_outage="closed"),
        RouteLock("{path}", paths=["/locked/*"], ttl=LOCK_TTL, wait=LOCK_WAIT),
        Idempotency(paths=["/pay/*"]),
        ResponseCache(hosts=[HOST.decode()]),
    ]


def _note(decision: Decision) -> None:
    if decision.outcome == "refused":
        refusal.set(f"{decision.guard} {decision.reason}")
