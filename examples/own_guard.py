"""A guard of your own: a maintenance mode for all processes, read in the round trip that the other guards make anyway.

Run it with `REDIS_URL=redis://localhost uvicorn examples.own_guard:app`; then
`redis-cli SET guard:maintenance "Back at noon" EX 600` closes it for ten minutes.
"""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_redis_guard import (
    PASS,
    Answer,
    Ask,
    Exchange,
    GuardMiddleware,
    OneRoundGuard,
    Operation,
    OperationKind,
    Pass,
    RateLimit,
    RedisManager,
    RedisUnavailable,
    Replies,
    problem,
)

SWITCH = OperationKind.parse("""\
-- name: maintenance.switch
-- keys: switch (a string: what to tell people while the service is closed)
-- returns: words, left (the string; ms until it ends, below 0 if it does not)
-- repeatable: yes
-- @check
local text = call('GET', switch)
if text then
  stop = true
  words = text
  left = call('PTTL', switch)
end
""")


class Maintenance(OneRoundGuard):
    """Answer 503 while the switch is set. A request that it stops is counted by no limit behind it."""

    kind = name = "maintenance"
    operations = (SWITCH,)

    def ask(self, exchange: Exchange) -> Ask:
        """Read the switch."""
        return Ask([Operation(SWITCH, (f"{exchange.keys.prefix}maintenance".encode(),))])

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer:
        """Refuse while it is set."""
        (reply,) = replies
        if reply.passed:
            return PASS
        words, left = reply.values
        seconds = max(1, left // 1000)
        return problem(503, "maintenance", words.decode(errors="replace"), headers=[(b"retry-after", b"%d" % seconds)])

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass:
        """Without Redis the switch counts as off."""
        return PASS


async def home(request: Request) -> PlainTextResponse:
    """Answer while the service is open."""
    return PlainTextResponse("open")


redis = RedisManager(os.environ.get("REDIS_URL", "embedded://"))
guards = [Maintenance(), RateLimit("10/minute")]
app = Starlette(routes=[Route("/", home)], middleware=[Middleware(GuardMiddleware, guards, redis=redis)])
