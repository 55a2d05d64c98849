"""Claim: a cluster of 3 masters on one machine serves >= 60 % of the single server's requests/s; costs stay flat to 6.

The whole stack (JWT, blacklist, a session, two limits a user) under uvicorn and `wrk -t1 -c64`, as `session_stack.py`
has it, in turns against one server and clusters of 1, 3 and 6 masters that share the machine with it: one process of
the app each. With `key_tag` all keys of a user lie in one slot, and a round is one program there. What Redis does for
a request is counted by the servers themselves: programs that the app has sent, commands with those inside of programs,
bytes in and out, and CPU of all servers together.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from _clusters import Store, cluster, single
from _common import Rounds, alternate, arguments, finish, header, stop_cleanly_on_sigterm, table, verdict
from _load import USERS, Load, token, wrk_script
from _servers import App, uvicorn_app
from session_stack import login, prove

MASTERS = (1, 3, 6)
TAGGED = ", key_tag"
COUNTED = ("programs", "commands", "bytes", "Redis us")


def turn(app: App, load: Load, store: Store) -> Mapping[str, float]:
    """One turn of a side: the figures of the load, and what the servers have counted for each of its requests."""
    before, cpu = load.sent.get(app.name, 0), store.cpu_seconds()
    store.reset()
    figures = load(app)
    requests = load.sent[app.name] - before
    counted = {**store.counted(), "Redis us": (store.cpu_seconds() - cpu) * 1e6}
    return {**figures, **{name: counted[name] / requests for name in COUNTED}}


def measure(stores: Sequence[Store], options: object) -> Rounds:
    """Start an app for each store, log everybody in, then load them in turns."""
    tokens = [token(number) for number in range(1000, 1000 + USERS)]
    with ExitStack() as running:
        loads = {}
        for store in stores:
            tagged = str(int(store.name.endswith(TAGGED)))
            side = uvicorn_app("ours_session", redis_url=store.url, name=store.name, BENCH_KEY_TAG=tagged)
            app = running.enter_context(side)
            lines = [login(app, bearer) for bearer in tokens]
            prove(app, lines[0])
            load = Load(running.enter_context(wrk_script(lines, "/cart/7")), options.seconds, options.connections)
            loads[store.name] = lambda app=app, load=load, store=store: turn(app, load, store)
        return alternate(loads, options.rounds)


def report(rounds: Rounds) -> list[bool]:
    """Print the table and the verdicts."""
    units = ("requests/s", "p50 ms", "p99 ms", "CPU us", *COUNTED)
    rows = [
        (name, f"{rounds.ratio('requests/s', name, 'single'):.1%}", *(rounds.median(name, unit) for unit in units))
        for name in rounds.readings
    ]
    table(("store", "of single", *units), rows)
    verdicts = [
        verdict("share of one server, 3 masters", rounds.ratio("requests/s", "3 masters", "single"), at_least=0.6)
    ]
    for name in ("3 masters", "6 masters"):
        for unit in ("programs", "commands", "bytes"):
            share = rounds.ratio(unit, name, "1 master")
            verdicts.append(verdict(f"{unit} a request, {name} against 1", share, at_most=1.05))
    whole = rounds.median("3 masters" + TAGGED, "programs")
    verdicts.append(verdict("programs a request with key_tag", whole, at_most=1.05))
    return verdicts


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__, rounds=11, seconds=1)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    stop_cleanly_on_sigterm()
    with ExitStack() as running:
        stores = [running.enter_context(single()), *(running.enter_context(cluster(size)) for size in MASTERS)]
        stores += [replace(store, name=store.name + TAGGED) for store in stores if store.name == "3 masters"]
        header("the whole stack on one server and on clusters", stores[0].nodes[0].banner, ("httptools",))
        print(f"{options.connections} connections, {USERS} users, Redis over TCP\n")
        verdicts = report(measure(stores, options))
    finish(verdicts)


if __name__ == "__main__":
    main()
