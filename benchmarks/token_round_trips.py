"""Claim: a login, a refresh and a check cost one round trip each, a check by the mirror none, revoking 1,000 one.

Counted at the socket, by a proxy between one process and its server, one call at a time. `until it returns` is what the
caller waits for, or what happens to be sent meanwhile; `in all` has what follows: statistics go out after the reply,
those of many calls together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import uvloop
from _common import arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import Valkey, valkey
from tokens import MANY, new_names, service

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.service.token_service import TokenService
from asgi_redis_guard.testing import RoundTripCounter

BUDGETS = {"issue": 1, "refresh": 1, "refresh, again": 1, "verify": 1, "verify, mirrored": 0, f"revoke_many({MANY})": 1}
QUIET = 0.05  # seconds without a byte: what follows a call has arrived

Call = Callable[[], Awaitable[object]]


class Cost(NamedTuple):
    """Traffic of one call: round trips that it waits for, all round trips, commands."""

    waited: int
    round_trips: int
    commands: int


async def cost(counter: RoundTripCounter, call: Call) -> Cost:
    """Count what a call makes, once everything before it is quiet."""
    await settle(counter)
    counter.reset()
    await call()
    waited = counter.round_trips
    await settle(counter)
    return Cost(waited, counter.round_trips, len(counter.commands))


async def settle(counter: RoundTripCounter) -> None:
    """Wait until nothing crosses the proxy any more."""
    while True:
        seen = counter.bytes_up + counter.bytes_down
        await asyncio.sleep(QUIET)
        if counter.bytes_up + counter.bytes_down == seen:
            return


async def costs(server: Valkey) -> Mapping[str, Cost]:
    """All calls of a service, one after another, by a process that has made each of them before."""
    async with (
        RoundTripCounter(server.unix_url) as counter,
        RedisManager(counter.url) as manager,
        RoundTripCounter(server.unix_url) as other,  # a mirror is told what the first one does
        RedisManager(other.url) as mirroring,
    ):
        mirrored, found = service(mirroring, "mirror"), {}
        await mirrored.revocation.mirrored()
        for _ in range(2):
            token = (await service(manager).issue("bob")).access_token
            calls = await calls_of(service(manager))
            found["verify, mirrored"] = await cost(other, lambda token=token: mirrored.verify(token))
            found |= {name: await cost(counter, call) for name, call in calls.items()}
        return found


async def calls_of(tokens: TokenService) -> Mapping[str, Call]:
    """Everything that is done in a login's life, in this order."""
    first, second = [await tokens.issue("alice", device="phone") for _ in range(2)]
    names = new_names()
    return {
        "issue": lambda: tokens.issue("alice"),
        "verify": lambda: tokens.verify(first.access_token),
        "refresh": lambda: tokens.refresh(first.refresh_token),
        "refresh, again": lambda: tokens.refresh(first.refresh_token),
        f"revoke_many({MANY})": lambda: tokens.revoke_many(names),
        "revoke (access)": lambda: tokens.revoke(first.access_token),
        "revoke_family": lambda: tokens.revoke_family(second.family),
        "revoke_device": lambda: tokens.revoke_device("alice", "phone"),
        "revoke_user": lambda: tokens.revoke_user("alice"),
    }


def main() -> None:
    """Count and report."""
    arguments(__doc__, rounds=1, seconds=1).parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("round trips of a token service", server.banner)
        counted = uvloop.run(costs(server))
    table(("call", "until it returns", "in all", "commands"), [(name, *cost) for name, cost in counted.items()])
    finish([verdict(f"round trips of {name}", counted[name].waited, at_most=most) for name, most in BUDGETS.items()])


if __name__ == "__main__":
    main()
