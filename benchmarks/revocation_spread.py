"""Claim: a revocation is seen by 4 processes in under 100 ms, revoking 1,000 tokens takes under 10 ms, and a mirrored
entry at most 150 bytes.

Each process runs a guarded app with `RevocationList(mode="mirror")` and sends itself a request with the token, about
every millisecond, until that is refused. The parent notes the time just before it calls `revoke`; both clocks are the
machine's monotonic one. The share of requests that asked Redis is counted: it is to be none.
"""

import asyncio
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Mapping, Sequence

import jwt
from _asgi import request
from _common import arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import stop, valkey

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, RevocationList
from asgi_redis_guard.jwt.revocation.mirrored import Revoked

SECRET = "a secret of a benchmark, which nobody else has to know"
PROCESSES, MANY, ENTRIES = 4, 1000, 200_000


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
    """A worker: a line in is a token id to ask with, a line out when it was refused, and how often Redis was asked."""
    async with CountingManager(url) as manager:
        revoked = RevocationList(manager, mode="mirror")
        await revoked.mirrored()
        guarded = GuardMiddleware(app, [JWTAuth(SECRET, revocation=revoked)], redis=manager)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            token = jwt.encode({"sub": "alice", "jti": line.strip(), "exp": time.time() + 600}, SECRET)
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

    def say(self, jti: str) -> None:
        """Name the next token."""
        self.child.stdin.write(f"{jti}\n".encode())
        self.child.stdin.flush()


async def spread(revoked: RevocationList, workers: Sequence[Worker], samples: int) -> tuple[list[float], int]:
    """Milliseconds until the last of the workers refuses, sorted; and the rounds that they asked."""
    times, rounds = [], 0
    for number in range(samples):
        for worker in workers:
            worker.say(f"t-{number}")
        for worker in workers:
            await worker.line()
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await revoked.revoke(f"t-{number}", ttl=600)
        said = [(await worker.line()).split() for worker in workers]
        times.append((max(float(when) for when, _ in said) - began) * 1000)
        rounds = sum(int(count) for _, count in said)
    return sorted(times), rounds


async def many(revoked: RevocationList, samples: int) -> list[float]:
    """Milliseconds that it takes to revoke `MANY` tokens, sorted."""
    times = []
    for number in range(samples):
        names = [f"m-{number}-{one}" for one in range(MANY)]
        began = time.monotonic()
        await revoked.revoke_many(names)
        times.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(0.05)
    return sorted(times)


def bytes_an_entry() -> float:
    """What an entry takes in memory."""
    tracemalloc.start()
    known = Revoked()
    for number in range(ENTRIES):
        known.mark((b"%d" % number).rjust(20, b"d"), 480_000 + number % 24)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / len(known)


async def measure(url: str, samples: int) -> tuple[Mapping[str, Sequence[float]], int]:
    """All of it, against workers of their own."""
    workers = [Worker(url) for _ in range(PROCESSES)]
    try:
        for worker in workers:
            await worker.line()
        async with RedisManager(url) as manager:
            revoked = RevocationList(manager)
            seen, rounds = await spread(revoked, workers, samples)
            return {
                f"seen by {PROCESSES} processes": seen,
                f"revoke_many({MANY})": await many(revoked, samples),
            }, rounds
    finally:
        for worker in workers:
            await asyncio.to_thread(stop, worker.child)


def main() -> None:
    """Measure and report, or be a worker."""
    parser = arguments(__doc__, rounds=1, seconds=0)
    parser.add_argument("--samples", type=int, default=100, help="revocations (default 100)")
    parser.add_argument("--watch", action="store_true", help="be a worker, told by lines of standard input")
    parser.add_argument("--url", help="the server of that")
    options = parser.parse_args()
    if options.watch:
        asyncio.run(watch(options.url))
        return
    stop_cleanly_on_sigterm()
    with valkey() as server:
        header("how revocations spread", server.banner)
        found, rounds = asyncio.run(measure(server.url, options.samples))
    rows = [
        (what, *(f"{times[int(len(times) * share)]:.2f}" for share in (0.5, 0.99)), f"{times[-1]:.2f}")
        for what, times in found.items()
    ]
    table(("what", "median ms", "p99 ms", "most"), rows)
    (seen, at_once), size = found.values(), bytes_an_entry()
    finish(
        [
            verdict(f"ms until {PROCESSES} processes refuse, the slowest revocation", seen[-1], at_most=100),
            verdict(f"ms to revoke {MANY} tokens (median)", at_once[len(at_once) // 2], at_most=10),
            verdict("rounds asked of Redis by requests with the mirror", rounds, at_most=0),
            verdict("bytes an entry in a process", size, at_most=150),
        ]
    )


if __name__ == "__main__":
    main()
