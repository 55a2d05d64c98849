"""Claim: 30 minutes at half load let the app's memory grow by less than 1 %, and no connection to Redis is made anew.

The stack of `session_stack.py` on a cluster of 3 masters, with mirrors and maps and pings of its own. The load is half
of what a few full turns reached: each of wrk's connections waits between its requests. Memory is what the app's process
has resident: the median of the first tenth of the time after a warm-up, and of the last. Connections are compared by
the ids that the servers give them.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from _clusters import Store, cluster, single
from _common import arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _load import USERS, Load, token, wrk_script
from _servers import App, uvicorn_app
from session_stack import login, prove

STORES = {"single": single, "cluster": lambda: cluster(3)}
EVERY, WARM_UP = 5.0, 60.0
PAUSE = "\nfunction delay() return {:.0f} end\n"


def resident(pid: int) -> int:
    """Bytes that a process has resident."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connections(store: Store) -> set[tuple[int, str]]:
    """Each connection of the app, by its server and the id that it has there."""
    found = set()
    for number, node in enumerate(store.nodes):
        with node.client() as client:
            named = [each for each in client.client_list() if each["name"].startswith("asgi-redis-guard")]
            found |= {(number, each["id"]) for each in named}
    return found


def slow_down(app: App, load: Load, rate: float) -> None:
    """Have each connection wait between its requests, so that the load comes to about `rate` requests/s."""
    script, pause = load.script.read_text(), load.connections / rate
    load.script.write_text(script + PAUSE.format(pause * 1000))
    pause -= load.connections * (1 / load(app)["requests/s"] - 1 / rate)  # what a request takes beside the pause
    load.script.write_text(script + PAUSE.format(max(1.0, pause * 1000)))


def soak(app: App, store: Store, script: Path, options: object) -> tuple[list[float], bool, float]:
    """Load the app for so long; return its memory every few seconds, whether links stayed, and requests/s."""
    seconds = WARM_UP + options.minutes * 60
    command = ["wrk", "-t1", f"-c{options.connections}", f"-d{seconds:.0f}s", "-s", str(script), app.url, "--", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as wrk:
        try:
            time.sleep(WARM_UP)
            before, memory = connections(store), [*readings(app, wrk)]
            stayed = bool(before) and connections(store) == before
            told, _ = wrk.communicate()
        finally:
            wrk.kill()
    result = json.loads(next(line for line in told.splitlines() if line.startswith("RESULT ")).removeprefix("RESULT "))
    if result["refused"] or result["socket"]:
        raise SystemExit(f"{result['refused']} refused, {result['socket']} socket errors")
    return memory, stayed, result["requests"] / result["us"] * 1e6


def readings(app: App, load: "subprocess.Popen[str]") -> Iterator[float]:
    """The app's memory now and then, while the load goes on."""
    while load.poll() is None:
        yield resident(app.pid)
        time.sleep(EVERY)


def report(memory: Sequence[float], stayed: bool, rate: float, full: float) -> list[bool]:
    """Print what became of memory and connections, and the verdicts."""
    part = max(1, len(memory) // 10)
    rows = [
        (f"{number * 10} to {number * 10 + 10} % of the time", median(memory[number * part :][:part]) / 2**20)
        for number in range(10)
        if memory[number * part :]
    ]
    table(("when", "resident MiB"), rows)
    print(f"{rate:,.0f} requests/s of {full:,.0f}; connections {'all stayed' if stayed else 'were made anew'}\n")
    growth = median(memory[-part:]) / median(memory[:part]) - 1
    return [
        verdict("growth of memory in percent", growth * 100, at_most=1),
        verdict("connections that stayed", float(stayed), at_least=1),
    ]


def main() -> None:
    """Log in, find the full load, soak at half of it."""
    parser = arguments(__doc__, rounds=3, seconds=5)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--store", choices=STORES, default="cluster")
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with ExitStack() as running:
        store = running.enter_context(STORES[options.store]())
        header(f"{options.minutes:g} minutes at half load", store.nodes[0].banner, ("httptools",))
        app = running.enter_context(uvicorn_app("ours_session", redis_url=store.url))
        lines = [login(app, bearer) for bearer in (token(number) for number in range(1000, 1000 + USERS))]
        prove(app, lines[0])
        script = running.enter_context(wrk_script(lines, "/cart/7"))
        load = Load(script, options.seconds, options.connections)
        full = max(load(app)["requests/s"] for _ in range(options.rounds))
        slow_down(app, load, full / 2)
        verdicts = report(*soak(app, store, script, options), full)
    finish(verdicts)


if __name__ == "__main__":
    main()
