"""Claim: 4 processes refuse what was revoked within 100 ms, and what a mirror knows takes <= 150 bytes an entry.

Each process runs a guarded app with `RevocationList(mode="mirror")` and sends itself a request with the token, about
every millisecond, until that is refused. The parent notes the time just before it revokes the token, its login or its
user; both clocks are the machine's monotonic one. The share of requests that asked Redis is counted: it is to be none.
Then 1,000 tokens at once are revoked, in under 10 ms while all of them listen. Bytes of an entry are what Python has
allocated for it, and what the process has grown by.
"""

import asyncio
import gc
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import uvloop
from _asgi import request
from _common import arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import stop, valkey
from tokens import MANY, new_names

from asgi_redis_guard import GuardMiddleware, RedisManager, RevocationList
from asgi_redis_guard.jwt.revocation.mirrored import Revoked
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.service.token_service import TokenService

SECRET = "a secret of a benchmark, which nobody else has to know"
PROCESSES, ENTRIES = 4, 200_000

Revoke = Callable[[TokenService, TokenPair], Awaitable[object]]
#: What is revoked, in turns.
KINDS: Mapping[str, Revoke] = {
    "a token": lambda tokens, pair: tokens.revoke(pair.access_token),
    "a login": lambda tokens, pair: tokens.revoke(pair.refresh_token),
    "a user": lambda tokens, pair: tokens.revoke_user(pair.user),
}


def service(manager: RedisManager, mode: str = "remote") -> TokenService:
    """The same in all processes."""
    revoked = RevocationList(manager, mode=mode)
    return TokenService(
        manager, SECRET, issuer="https://issuer.example", refresh_keys=SECRET + " for refreshing", revocation=revoked
    )


async def app(scope: object, receive: object, send: object) -> None:
    """Nothing but 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class CountingManager(RedisManager):
    """Counts the rounds that guards ask."""

    rounds = 0

    def evaluate(self, *args: object) -> object:
        """One round."""
        self.rounds += 1
        return super().evaluate(*args)


async def watch(url: str) -> None:
    """A worker: a line in is a token to ask with, a line out when it was refused, and how often Redis was asked."""
    async with CountingManager(url) as manager:
        tokens = service(manager, "mirror")
        await tokens.revocation.mirrored()
        guarded = GuardMiddleware(app, [tokens.guard()], redis=manager)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            token = line.strip()
            if await request(guarded, token) != 200:
                raise SystemExit("refused before it was revoked")
            print("asking", flush=True)
            while await request(guarded, token) == 200:  # noqa: ASYNC110  (it is what a client does)
                await asyncio.sleep(0.001)
            print(time.monotonic(), manager.rounds, flush=True)


class Worker:
    """A process that watches."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, __file__, "--watch", "--url", url]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    async def line(self) -> str:
        """What it says next."""
        said = await asyncio.to_thread(self.child.stdout.readline)
        if not said:
            raise SystemExit("a worker has ended")
        return said.decode().strip()

    def say(self, token: str) -> None:
        """Tell the next token."""
        self.child.stdin.write(f"{token}\n".encode())
        self.child.stdin.flush()


async def spread(
    tokens: TokenService, workers: Sequence[Worker], samples: int
) -> tuple[Mapping[str, list[float]], int]:
    """Milliseconds until the last of the workers refuses, by what is revoked; and the rounds that they asked."""
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    rounds = 0
    for number in range(samples):
        for kind, revoke in KINDS.items():
            pair = await tokens.issue(f"user-{kind}-{number}")
            for worker in workers:
                worker.say(pair.access_token)
            for worker in workers:
                await worker.line()
            await asyncio.sleep(0.05)
            began = time.monotonic()
            await revoke(tokens, pair)
            said = [(await worker.line()).split() for worker in workers]
            times[kind].append((max(float(when) for when, _ in said) - began) * 1000)
            rounds = sum(int(count) for _, count in said)
    return times, rounds


async def many(tokens: TokenService, samples: int) -> list[float]:
    """Milliseconds that it takes to revoke `MANY` tokens."""
    times = []
    for _ in range(samples):
        names, began = new_names(), time.monotonic()
        await tokens.revoke_many(names)
        times.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(0.05)
    return times


def resident() -> int:
    """Bytes of this process in memory; 0 where /proc is not there to tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def marks() -> Revoked:
    """Revoked tokens, as a mirror knows them."""
    known = Revoked()
    for number in range(ENTRIES):
        known.mark((b"%d" % number).rjust(20, b"d"), 480_000 + number % 24)
    return known


def cutoffs() -> Revoked:
    """Users whose tokens were revoked."""
    known = Revoked()
    for number in range(ENTRIES):
        known.cut((b"%d" % number).rjust(20, b"d"), 1_800_000_000_000_000 + number)
    return known


def bytes_an_entry(make: Callable[[], Revoked]) -> tuple[float, float]:
    """What an entry takes: allocated by Python, and as the process grows."""
    gc.collect()
    before = resident()
    known = make()
    grown = (resident() - before) / len(known)
    del known
    tracemalloc.start()
    known = make()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / len(known), grown


async def measure(url: str, samples: int) -> tuple[Mapping[str, Sequence[float]], int]:
    """All of it, against workers of their own."""
    workers = [Worker(url) for _ in range(PROCESSES)]
    try:
        for worker in workers:
            await worker.line()
        async with RedisManager(url) as manager:
            tokens = service(manager)
            seen, rounds = await spread(tokens, workers, samples)
            return {**seen, f"revoke_many({MANY})": await many(tokens, samples)}, rounds
    finally:
        for worker in workers:
            await asyncio.to_thread(stop, worker.child)


def report(found: Mapping[str, Sequence[float]], rounds: int, sizes: Mapping[str, tuple[float, float]]) -> list[bool]:
    """Print the tables and the verdicts."""
    rows, ranked = [], {what: sorted(times) for what, times in found.items()}
    for what, times in ranked.items():
        rows.append((what, *(times[int(len(times) * share)] for share in (0.5, 0.99)), times[-1]))
    table((f"ms, {PROCESSES} processes", "median", "p99", "most"), rows)
    table(("bytes an entry", "allocated", "grown by"), [(what, *size) for what, size in sizes.items()])
    slowest, at_once = max(ranked[kind][-1] for kind in KINDS), ranked[f"revoke_many({MANY})"]
    return [
        verdict(f"ms until {PROCESSES} processes refuse, the slowest revocation", slowest, at_most=100),
        verdict(f"ms to revoke {MANY} tokens (median)", at_once[len(at_once) // 2], at_most=10),
        verdict("rounds asked of Redis by requests with the mirror", rounds, at_most=0),
        *(verdict(f"bytes an entry in a process, {what}", max(size), at_most=150) for what, size in sizes.items()),
    ]


def main() -> None:
    """Measure and report, or be a worker."""
    parser = arguments(__doc__, rounds=1, seconds=0)
    parser.add_argument("--samples", type=int, default=100, help="revocations of each kind (default 100)")
    parser.add_argument("--watch", action="store_true", help="be a worker, told by lines of standard input")
    parser.add_argument("--url", help="the server of that")
    options = parser.parse_args()
    if options.watch:
        uvloop.run(watch(options.url))
        return
    stop_cleanly_on_sigterm()
    sizes = {"tokens": bytes_an_entry(marks), "users": bytes_an_entry(cutoffs)}
    with valkey() as server:
        header("how revocations spread", server.banner)
        found, rounds = uvloop.run(measure(server.url, options.samples))
    finish(report(found, rounds, sizes))


if __name__ == "__main__":
    main()
