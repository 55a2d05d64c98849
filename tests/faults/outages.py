"""Visits of a site that has one guard, each told in a few words, so that a table can say what is expected of them.

Law: nothing here decides what is right. A visit that has no past uses names of its own, so that it may be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from asgi_redis_guard import Guard, GuardMiddleware, RedisManager, RevocationList
from asgi_redis_guard.cache.decorator import cached
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.drive import Response, call, fields, http_scope, websocket_scope
from tests.jwt.tokens import NOW, bearer, forge, sign

#: As many users, pages and records there are that have a past.
KNOWN = 40

Inside = Callable[[Scope], Awaitable[str]]
Visit = Callable[["Site", int], Awaitable[str]]


class Site:
    """One guard before an app that says what it has seen; `past` has the cookies of sessions that were made before."""

    def __init__(self, redis: RedisManager, guard: Callable[[RedisManager], Guard], past: dict[int, str]) -> None:
        self.redis, self.past = redis, past
        self.stack = GuardMiddleware(app, [guard(redis)], redis=redis, clock=lambda: NOW)

    async def visit(self, inside: Inside | None = None, headers: Any = (), **scope: Any) -> Response:
        """Send a request, at whose app `inside` is called."""
        given = {"headers": fields(headers), "scheme": "https", "does": inside or nothing}
        return await call(self.stack, http_scope(**given | scope))

    async def connect(self, headers: Any = (), **scope: Any) -> str:
        """Try to open a WebSocket."""
        response = await call(self.stack, websocket_scope(headers=fields(headers), **{"scheme": "wss"} | scope))
        return str(response.status)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what was seen; pages may be stored."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
    else:
        await (page if scope["path"].startswith("/page") else answer)(scope, receive, send)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    seen = await scope["does"](scope)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": seen.encode()})


page = cached(ttl=300)(answer)


async def nothing(scope: Scope) -> str:
    return "ran"


def told(response: Response) -> str:
    """A response in a few words; what refuses because it cannot know says when to come again."""
    if response.status == 503:
        assert response["content-type"] == "application/problem+json"
        assert int(response["retry-after"]) >= 1
    return f"{response.status} {response.body.decode()}" if response.status == 200 else str(response.status)


# Tokens.


async def revoke(site: Site) -> None:
    revocations = RevocationList(site.redis)
    await asyncio.gather(*(revocations.revoke(f"bad-{number}", ttl=3600) for number in range(KNOWN)))


def token(jti: str, number: int) -> dict[str, bytes]:
    return bearer(sign(jti=jti, sub=f"user-{number}"))


async def good_token(site: Site, number: int) -> str:
    return told(await site.visit(headers=token(f"good-{number}", number)))


async def revoked_token(site: Site, number: int) -> str:
    return told(await site.visit(headers=token(f"bad-{number % KNOWN}", number)))


async def forged_token(site: Site, number: int) -> str:
    return told(await site.visit(headers=bearer(forge({"alg": "HS256"}, secret=b"guessed " * 8))))


async def socket_with_token(site: Site, number: int) -> str:
    return await site.connect(token(f"good-{number}", number))


# Limits.


def _address(number: int) -> tuple[str, int]:
    return f"198.51.{number // 250}.{number % 250 + 1}", 1


async def three_in_a_row(site: Site, number: int) -> str:
    """Of a client that has not been there yet."""
    return " ".join([told(await site.visit(client=_address(number)))[:3] for _ in range(3)])


async def socket_of_a_client(site: Site, number: int) -> str:
    return await site.connect(client=_address(number + 10_000))


async def two_at_once(site: Site, number: int) -> str:
    """Of one client, or of one name."""
    scope = {"client": _address(number), "path": f"/{number}"}

    async def inside(outer: Scope) -> str:
        second = await site.visit(_locked, **scope)
        return f"{await _locked(outer)}, then {told(second)}"

    return told(await site.visit(inside, **scope))


async def _locked(scope: Scope) -> str:
    return "ran" if "lock" not in scope else "alone" if scope["lock"] is not None else "without lock"


# Sessions.


async def log_in(site: Site) -> None:
    for number in range(KNOWN):

        async def inside(scope: Scope, user: str = f"user-{number}") -> str:
            scope["session"]["user_id"] = user
            return "in"

        response = await site.visit(inside)
        site.past[number] = response["set-cookie"].partition(";")[0]


async def _who(scope: Scope) -> str:
    return str(scope["session"].get("user_id", "nobody"))[:4]


async def with_session(site: Site, number: int) -> str:
    return told(await site.visit(_who, headers={"cookie": site.past[number % KNOWN]}))


async def without_session(site: Site, number: int) -> str:
    return told(await site.visit(_who))


async def log_in_anew(site: Site, number: int) -> str:
    async def inside(scope: Scope) -> str:
        scope["session"]["user_id"] = f"user-{number}"
        return "in"

    response = await site.visit(inside)
    assert bool(response.all("set-cookie")) == (response.status == 200)
    return told(response)


async def write_session(site: Site, number: int) -> str:
    async def inside(scope: Scope) -> str:
        scope["session"]["seen"] = number
        return "written"

    response = await site.visit(inside, headers={"cookie": site.past[number % KNOWN]})
    return "200 in another" if response.all("set-cookie") else told(response)


async def socket_with_session(site: Site, number: int) -> str:
    return await site.connect({"cookie": site.past[number % KNOWN]})


# Pages and payments.


async def store(site: Site) -> None:
    await asyncio.gather(*(known_page(site, number) for number in range(KNOWN)))


async def known_page(site: Site, number: int) -> str:
    response = await site.visit(path=f"/page-{number % KNOWN}", headers={"host": "test"})
    status = response["cache-status"]
    return f"{response.status} {'stored' if 'hit' in status else 'made'}"


async def pay_before(site: Site) -> None:
    await asyncio.gather(*(pay_again(site, number) for number in range(KNOWN)))


async def pay_again(site: Site, number: int) -> str:
    return await _pay(site, f"known-{number % KNOWN}")


async def pay_twice(site: Site, number: int) -> str:
    return f"{await _pay(site, f'new-{number}')}, then {await _pay(site, f'new-{number}')}"


async def _pay(site: Site, key: str) -> str:
    response = await site.visit(method="POST", headers={"idempotency-key": f'"{key}"'})
    return "replayed" if response.all("idempotent-replayed") else told(response)
