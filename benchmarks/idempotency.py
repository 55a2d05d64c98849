"""Claim: a locked request costs less than twice a bare FastAPI request, an idempotent one less than three times.

POSTs of a small JSON body, under uvicorn + wrk, each app in a process of its own, in turns. `limit` is one rate limit,
the least that any guard costs. `lock` takes a lock of the request's own path, which nobody else wants, and gives it
back; `idempotency` is sent a new key each time, so that a record is begun and completed; `replay` is sent a few keys
again and again, and the route does not run at all.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import which

from _common import Rounds, alternate, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _servers import App, uvicorn_app, valkey

#: Sides, the guard of each, and how many keys (and paths) are sent; 0 is a new one for each request.
SIDES = {
    "bare": ("", 0),
    "limit": ("limit", 0),
    "lock": ("lock", 0),
    "idempotency": ("idempotency", 0),
    "replay": ("idempotency", 200),
}
BUDGETS = {"lock": 100, "idempotency": 200}  # %

LUA = """
local body = '{"amount": 4200, "text": "' .. string.rep("a", 200) .. '"}'
local number, keys, first = 0, 0, 0
function init(args) first, keys = tonumber(args[1]), tonumber(args[2]) end
function request()
  number = number + 1
  local id = keys == 0 and first + number or number % keys
  local headers = {["Content-Type"] = "application/json", ["Idempotency-Key"] = '"order-' .. id .. '"'}
  return wrk.format("POST", "/orders/" .. id, headers, body)
end
function done(summary, latency)
  local e = summary.errors
  local failed = e.status + e.connect + e.read + e.write + e.timeout
  io.write(string.format('\\nRESULT {"requests": %d, "us": %d, "failed": %d, "p50": %d, "p99": %d}\\n',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
"""


@contextmanager
def script() -> Iterator[Path]:
    """The wrk script."""
    if not which("wrk"):
        raise SystemExit("this benchmark needs wrk (in the packages of most systems)")
    with tempfile.TemporaryDirectory(prefix="guard-bench-") as folder:
        path = Path(folder, "posts.lua")
        path.write_text(LUA)
        yield path


class Posts:
    """One side: `posts()` is one turn and returns its figures."""

    def __init__(self, app: App, script: Path, keys: int, seconds: float) -> None:
        self.app, self.script, self.keys, self.seconds = app, script, keys, seconds
        self.sent = 0

    def __call__(self) -> dict[str, float]:
        """Requests a second, latencies in milliseconds, CPU microseconds of the app's process for a request."""
        self.sent += 1_000_000  # no turn sends so many
        command = ["wrk", "-t1", "-c32", f"-d{max(1, round(self.seconds))}s", "-s", str(self.script), self.app.url]
        cpu = self.app.cpu_seconds()
        command += ["--", str(self.sent), str(self.keys)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        cpu = self.app.cpu_seconds() - cpu
        line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
        if line is None:
            raise SystemExit(f"wrk against {self.app.name} failed: {done.stdout}{done.stderr}")
        result = json.loads(line.removeprefix("RESULT "))
        if result["failed"] or not result["requests"]:
            raise SystemExit(f"{self.app.name}: {result}")
        return {
            "requests/s": result["requests"] / result["us"] * 1e6,
            "p50 ms": result["p50"] / 1000,
            "p99 ms": result["p99"] / 1000,
            "CPU us": cpu / result["requests"] * 1e6,
        }


def report(rounds: Rounds) -> list[bool]:
    """Print the table and the verdicts."""
    rows, verdicts = [], []
    for side in rounds.readings:
        cost = rounds.ratio("requests/s", "bare", side)
        figures = [rounds.median(side, unit) for unit in ("requests/s", "p50 ms", "p99 ms", "CPU us")]
        rows.append((side, *figures, f"{cost:.2f}", f"{rounds.spread(side, 'requests/s'):.0%}"))
        if side in BUDGETS:
            verdicts.append((f"{side}, % of a bare request more", (cost - 1) * 100, BUDGETS[side]))
    table(("guard", "requests/s", "p50 ms", "p99 ms", "CPU us", "cost", "+-"), rows)
    return [verdict(claim, more, at_most=budget) for claim, more, budget in verdicts]


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__, rounds=9, seconds=2)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=[*SIDES], help="the apps to compare")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with valkey() as server, script() as path, ExitStack() as stack:
        header("locked and idempotent routes", server.banner)
        sides = {}
        for side in options.sides:
            guard, keys = SIDES[side]
            app = stack.enter_context(uvicorn_app("posts", name=side, redis_url=server.url, BENCH_GUARD=guard))
            sides[side] = Posts(app, path, keys, options.seconds)
        rounds = alternate(sides, options.rounds)
    finish(report(rounds))


if __name__ == "__main__":
    main()
