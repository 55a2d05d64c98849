"""The load of a benchmark: signed tokens, and wrk to send them.

A turn in which one request was refused or one socket failed gives no figure, it ends the benchmark.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

import jwt
from _servers import App
from apps import SECRET

USERS = 200

LUA = """
local requests, next_request = {}, 0
function init(args)
  next_request = tonumber(args[1])
  for line in io.lines("TOKENS") do
    local token, cookie = line:match("^(%S*) ?(.*)$")
    local headers = {}
    if token ~= "" then headers["Authorization"] = "Bearer " .. token end
    if cookie ~= "" then headers["Cookie"] = cookie end
    requests[#requests + 1] = wrk.format("GET", (("PATH"):gsub("#", #requests + 1)), headers)
  end
end
function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "us": %d, "refused": %d, "socket": %d, "p50": %d, "p99": %d}\\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def token(number: int, user: str = "") -> str:
    """The bearer token number `number`; its user is one of `USERS`, unless given."""
    now = int(time.time())
    claims = {"sub": user or f"user-{number % USERS}", "jti": f"{number:032x}", "iat": now, "exp": now + 3600}
    return jwt.encode(claims, SECRET, algorithm="HS256")


@contextmanager
def wrk_script(tokens: Sequence[str], path: str = "/items/7") -> Iterator[Path]:
    """A wrk script that sends these tokens round and round, each with a cookie if one stands behind it; "" is nobody's.

    A `#` in the path stands for the number of the token, from 1 on.
    """
    if not which("wrk"):
        raise SystemExit("this benchmark needs wrk (in the packages of most systems)")
    with tempfile.TemporaryDirectory(prefix="guard-bench-") as folder:
        listing, script = Path(folder, "tokens"), Path(folder, "load.lua")
        listing.write_text("\n".join(tokens) + "\n")
        script.write_text(LUA.replace("TOKENS", str(listing)).replace("PATH", path))
        yield script


@dataclass(frozen=True, slots=True)
class Load:
    """wrk with one thread against any app: `load(app)` is one turn and returns its figures."""

    script: Path
    seconds: float
    connections: int = 64
    prefix: tuple[str, ...] = ()
    sent: dict[str, int] = field(default_factory=dict)

    def __call__(self, app: App) -> dict[str, float]:
        """Requests a second, latencies in milliseconds, and CPU microseconds of the app's process for a request."""
        command = [*self.prefix, "wrk", "-t1", f"-c{self.connections}", f"-d{max(1, round(self.seconds))}s"]
        cpu = app.cpu_seconds()
        command += ["-s", str(self.script), app.url, "--", str(self.sent.get(app.name, 0))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        cpu = app.cpu_seconds() - cpu
        line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
        if line is None:
            raise SystemExit(f"wrk against {app.name} failed: {done.stdout}{done.stderr}")
        result = json.loads(line.removeprefix("RESULT "))
        if result["refused"] or result["socket"] or not result["requests"]:
            raise SystemExit(f"{app.name}: {result['refused']} refused, {result['socket']} socket errors: {result}")
        self.sent[app.name] = self.sent.get(app.name, 0) + result["requests"]  # the next turn goes on from there
        return {
            "requests/s": result["requests"] / result["us"] * 1e6,
            "p50 ms": result["p50"] / 1000,
            "p99 ms": result["p99"] / 1000,
            "CPU us": cpu / result["requests"] * 1e6,
        }
