"""The `asgi-redis-guard` command: reads arguments, and turns errors into one line and an exit status, nothing else.

What a subcommand needs is imported when it runs, so that `--version` works without any extra.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import __version__
from .errors import ConfigurationError, GuardError

PROG = "asgi-redis-guard"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; usage errors exit with 2, as argparse does."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 0  # the way to end it, so no fault
    except ConfigurationError as error:
        return _fail(*error.faults)
    except (GuardError, OSError) as error:
        return _fail(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROG, description="Composable ASGI middlewares over one shared Redis.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="serve an example API and print the curl lines to try",
        description="Serve an example API on REDIS_URL if that is set, else on an embedded Valkey. Ctrl-C ends both.",
    )
    demo.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    demo.add_argument("--port", type=_port, default=8000, help="port, 0 for any free one (default: %(default)s)")
    demo.set_defaults(run=lambda options: _demo(options.host, options.port))
    _add_acl(commands)
    _add_accept_loss(commands)
    return parser


def _add_acl(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    acl = commands.add_parser(
        "acl",
        help="print the least account that a server must give to this package",
        description="Print one ACL SETUSER command: the commands, keys and channels that this package uses, and no "
        "others. It sets no password; add >PASSWORD or #SHA256. In an ACL file the line begins with `user` instead.",
    )
    acl.add_argument("--user", default="guard", help="name of the account (default: %(default)s)")
    acl.add_argument("--prefix", help="prefix of all keys (default: GUARD_PREFIX, else guard:)")
    acl.add_argument("--channel", action="append", default=[], metavar="PATTERN", help="a channel of the app's own")
    acl.add_argument("--sharded", action="store_true", help="some of them are sharded (Redis 7.0, Valkey)")
    acl.add_argument("--db", type=int, default=0, help="number of the database (default: %(default)s)")
    acl.add_argument("--cluster", action="store_true", help="the server is one of a cluster")
    acl.add_argument("--sentinel", action="store_true", help="the server is found through sentinels")
    acl.set_defaults(run=_acl)


def _acl(options: argparse.Namespace) -> int:
    from .redis.acl import acl_of
    from .settings import Settings

    words = acl_of(
        options.user,
        options.prefix or Settings().prefix,
        channels=options.channel,
        cluster=options.cluster,
        sentinel=options.sentinel,
        sharded=options.sharded,
        db=options.db,
    )
    print("ACL SETUSER", *words)
    return 0


def _add_accept_loss(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    accept = commands.add_parser(
        "accept-loss",
        help="go on with a Redis that has lost its revocations",
        description="Guards refuse tokens while Redis is known to have lost its data, for it cannot tell what was "
        "revoked. All processes go by what it has now, then. Tokens that had been revoked before may be good again.",
    )
    accept.add_argument("--url", help="the Redis (default: REDIS_URL, as the app has it)")
    accept.add_argument("--prefix", help="prefix of all keys (default: GUARD_PREFIX, else guard:)")
    accept.set_defaults(run=_accept_loss)


def _accept_loss(options: argparse.Namespace) -> int:
    import asyncio

    from .redis.manager import RedisManager

    manager = RedisManager(options.url, prefix=options.prefix, require_redis=True)

    async def accept() -> bool:
        async with manager:
            return await manager.accept_loss()

    where = f"at {manager.address} below the prefix {manager.settings.prefix}"
    if asyncio.run(accept()):
        print(f"accepted: guards go by what Redis has now, {where}")
    else:
        print(f"nothing is known to be missing {where}")
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError
    return port


_port.__name__ = "port"  # argparse puts it into "invalid port value"


def _demo(host: str, port: int) -> int:
    try:
        from .demo import run
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "uvicorn"):
            raise
        return _fail(f'the demo needs {error.name}; pip install "asgi-redis-guard[demo]"')
    run(host, port)
    return 0


def _fail(*lines: str) -> int:
    for line in lines:
        print(f"{PROG}: error: {line}", file=sys.stderr)
    return 1
