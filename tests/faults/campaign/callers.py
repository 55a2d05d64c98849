"""Callers that never stop: they log in, write sessions, hold locks, pay, log out, and know what they must be told.

Law: each does one request at a time and can tell its own answer from any other. What they find goes to the oracle.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from typing import Any

from tests.drive import Response, http_scope
from tests.faults.campaign.load import Load
from tests.faults.campaign.oracle import OTHER, SESSION, TOKEN, Allowance, Oracle
from tests.faults.campaign.site import BURST, EVERY, HOST, LOCK_WAIT, WORK, Site
from tests.jwt.tokens import sign

#: Seconds between two requests of one caller.
PACE = 0.02

#: Seconds that a request may take apart from waiting for Redis and for locks: its own work and its handler's.
OWN = 0.1

#: How often a request may use up the time for Redis whose handler's work is written before its head is sent.
WRITING = 1.25


class Caller:
    """A user with a token and, once it has one, a session's cookie."""

    def __init__(self, load: Load, name: str) -> None:
        self.load, self.name = load, name
        self.oracle = load.oracle
        self._chance = random.Random(name)
        self.cookie = ""
        self.serial = itertools.count(1)
        self.token = self.new_token()

    def new_token(self) -> str:
        """Return a token that nobody else has."""
        now = int(time.time())
        return sign(
            {"sub": self.name, "jti": f"{self.name}-{next(self.serial)}", "iat": now, "exp": now + 900}
        ).decode()

    async def ask(
        self, path: str, *, method: str = "GET", waits: float = 1, plus: float = 0.0, **more: str
    ) -> Response:
        """Send one request as this user, to one of the processes.

        `waits`: how often it may use up the time for Redis: once in all, again in a service that its handler calls, and
        a part of it again where the handler's work is written before the head; `plus`: seconds that it asked for.
        """
        token = more.pop("token", self.token)
        fields = [(b"host", HOST), *((name.encode(), value.encode()) for name, value in more.items())]
        if token:
            fields.append((b"authorization", f"Bearer {token}".encode()))
        if self.cookie and token:
            fields.append((b"cookie", f"session={self.cookie}".encode()))
        path, _, query = path.partition("?")
        scope = http_scope(path, fields, method=method, query_string=query.encode(), client=(f"10.{self.name}", 40_000))
        site = self._chance.choice(self.load.sites)
        return await self.load.send(site, scope, self.load.timeout * waits + plus + OWN)

    def expect(self, response: Response, **values: Any) -> bool:
        """Tell whether it was served, with an answer of its own."""
        if response.status != 200:
            return False
        body = response.json()
        if wrong := {name: body.get(name) for name, value in values.items() if body.get(name) != value}:
            self.oracle.found(OTHER, f"{self.name} got {wrong} for {values}")
        return True


class Visitor(Caller):
    """Writes its session and reads it again: what was acknowledged is there, and nothing older."""

    acknowledged = tried = 0
    since = 0.0

    async def turn(self) -> None:
        """Write, read, or look at who it is."""
        step = next(self.serial)
        if step % 3 == 0:
            self.expect(await self.ask(f"/me/{step}"), user=self.name, rest=str(step))
        elif step % 3 == 1:
            await self._put()
        else:
            await self.read()

    async def _put(self) -> None:
        self.tried += 1
        response = await self.ask(f"/cart?put={self.tried}", method="POST", waits=WRITING)
        if self.expect(response, user=self.name, owner=self.name, n=self.tried):
            self._found(response.json()["before"])
            self.acknowledged, self.since = self.tried, time.monotonic()
            for field in response.all("set-cookie"):
                self.cookie = SimpleCookie(field)["session"].value

    async def read(self) -> None:
        """Look into the session."""
        response = await self.ask("/cart")
        if not self.expect(response, user=self.name) or not self.acknowledged:
            return
        body = response.json()
        if body["owner"] not in (self.name, None):
            self.oracle.found(OTHER, f"{self.name} got the session {body}")
        self._found(body["n"])

    def _found(self, number: int | None) -> None:
        """Compare what is in the session with what was said to be."""
        if not self.acknowledged:
            return
        if number is None or number < self.acknowledged:
            self.oracle.found(SESSION, f"{self.name}: n={self.acknowledged}, {number} is there", self.since)
            self.acknowledged = number or 0
        elif number > self.tried:
            self.oracle.found(OTHER, f"{self.name}: n={number}, which it never wrote")


class Leaver(Caller):
    """Logs out, and comes again with the tokens that were revoked."""

    async def turn(self) -> None:
        """Use a new token, revoke it, use it again, and an old one."""
        token = self.new_token()
        self.expect(await self.ask("/me/first", token=token), user=self.name)
        if not self.expect(
            await self.ask("/logout", method="POST", waits=2, plus=self.load.confirming, token=token), user=self.name
        ):
            return
        self.oracle.revoked[token] = time.monotonic()
        await self.comes_with(token)
        old = [*self.oracle.revoked]
        await self.comes_with(old[next(self.serial) * 7 % len(old)])

    async def comes_with(self, token: str) -> int:
        """Use a token that was revoked; return the status."""
        response = await self.ask("/me/revoked", token=token)
        if response.status not in (401, 503):
            self.oracle.found(TOKEN, f"{response.status} {response.body!r}", self.oracle.revoked[token])
        return response.status


class Worker(Caller):
    """Works under a lock that others want too."""

    async def turn(self) -> None:
        """Take one of two locks."""
        name = "ab"[next(self.serial) % 2]
        response = await self.ask(f"/locked/{name}", method="POST", plus=LOCK_WAIT + WORK)
        self.expect(response, user=self.name, rest=name)


class Payer(Caller):
    """Pays once, however often it has to ask."""

    async def turn(self) -> None:
        """Ask until there is a receipt, and once more."""
        key = f"{self.name}-{next(self.serial)}"
        receipts = 0
        while receipts < 2 and not self.load.stopped:
            response = await self.ask(f"/pay/{key}", method="POST", waits=WRITING, **{"idempotency-key": f'"{key}"'})
            if self.expect(response, user=self.name, rest=key):
                self.oracle.receipt(key, response.body)
                receipts += 1
            elif response.status == 409:  # it may be under way for as long as its lease
                return
            await asyncio.sleep(PACE)


class Reader(Caller):
    """Reads pages that are the same for everybody."""

    async def turn(self) -> None:
        """Read one of ten; who comes while it is being made waits for that."""
        number = str(next(self.serial) % 10)
        self.expect(await self.ask(f"/page/{number}", token="", plus=self.load.timeout), page=number)


class Glutton(Caller):
    """Takes all that two narrow limits give: one that refuses while Redis is away, and one that counts by itself."""

    def __init__(self, load: Load, name: str) -> None:
        super().__init__(load, name)
        self.narrow = Allowance(self.oracle, f"narrow of {name}", burst=BURST, every=EVERY, times=1)
        self.door = Allowance(self.oracle, f"door of {name}", burst=BURST, every=EVERY, times=2)

    async def turn(self) -> None:
        """Ask for both."""
        if self.expect(await self.ask("/narrow"), user=self.name):
            self.narrow.passes()
        if self.expect(await self.ask("/open", token="")):
            self.door.passes()


CALLERS: tuple[tuple[type[Any], int], ...] = (
    (Visitor, 8),
    (Leaver, 4),
    (Worker, 4),
    (Payer, 3),
    (Reader, 2),
    (Glutton, 2),
)


@asynccontextmanager
async def load_on(sites: Sequence[Site], oracle: Oracle, *, timeout: float) -> AsyncIterator[Load]:
    """Keep all callers busy; at the end each has ended its turn, and what any of them raised is raised."""
    load = Load(sites, oracle, timeout=timeout)
    callers = [kind(load, f"{kind.__name__.lower()}{number}") for kind, count in CALLERS for number in range(count)]
    tasks = [asyncio.create_task(_keep(load, caller.turn)) for caller in callers]
    async with load.lag:
        try:
            yield load
        finally:
            load.stopped = True
            ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error


async def _keep(load: Load, turn: Callable[[], Awaitable[None]]) -> None:
    """Take turns until the end; what a turn raises ends the run."""
    while not load.stopped:
        await turn()
        await asyncio.sleep(PACE)
