"""`manager.client`: redis-py's whole command API over the multiplexed second lane.

Ordinary commands of all tasks share one connection. What needs a connection of its own gets one from redis-py's pool:
blocking commands, WAIT, pipelines, transactions, WATCH, pub/sub, MONITOR. Commands that would change the shared
connection under everybody else are refused. Errors are redis-py's own, as its callers expect them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis._parsers.base import BaseParser
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import Monitor, Pipeline, PubSub

from ..errors import OperationFailed, RedisTimeout, RedisUnavailable
from .dedicated import PatientMonitor, PatientPubSub, SingleClient, TidyPipeline, cancellations

if TYPE_CHECKING:
    from .lane import Lane

_BLOCKING = frozenset(
    ["BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMOVEM", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"]
)
_BLOCKING_BY_OPTION = frozenset(("XREAD", "XREADGROUP"))
_SCRIPTS = frozenset(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"))
_REFUSED = frozenset(
    [
        "SELECT",
        "AUTH",
        "HELLO",
        "RESET",
        "QUIT",
        "MONITOR",
        "MULTI",
        "EXEC",
        "DISCARD",
        "WATCH",
        "UNWATCH",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
        "PSUBSCRIBE",
        "PUNSUBSCRIBE",
        "SSUBSCRIBE",
        "SUNSUBSCRIBE",
        "SYNC",
        "PSYNC",
        "READONLY",
        "READWRITE",
        "ASKING",
    ]
)
_REFUSED_CLIENT = frozenset(["REPLY", "TRACKING", "CACHING", "SETNAME", "SETINFO", "NO-EVICT", "NO-TOUCH"])


class GuardClient(Redis):
    """A `redis.asyncio.Redis` whose ordinary commands are multiplexed. One object serves every event loop."""

    def __init__(self, template: ConnectionPool, pool: Callable[[], ConnectionPool], lane: Callable[[], Lane]) -> None:
        self._template = template
        self._pool = pool
        self._lane = lane
        super().__init__(connection_pool=template)

    @property
    def connection_pool(self) -> ConnectionPool:
        """The pool of the running loop; outside of any, one that only tells encodings."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._template
        return self._pool()

    @connection_pool.setter
    def connection_pool(self, pool: ConnectionPool) -> None:
        """redis-py sets what it was given; the pool of each loop is found when it is needed."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command and parse its reply; raises redis-py's exceptions."""
        words = _words(args[0])
        verb = words[0].upper()
        if verb in _REFUSED or (verb == "CLIENT" and _subcommand(words, args) in _REFUSED_CLIENT):
            raise exceptions.RedisError(
                f"{' '.join(words)} would change the connection that all callers share; "
                "use client.pipeline(), client.pubsub() or a client of your own"
            )
        if verb in _BLOCKING or (verb in _BLOCKING_BY_OPTION and _block_option(args) is not None):
            return await self._execute_blocking(verb, args, options)
        reply = await self._multiplexed(words, args)
        if verb in _SCRIPTS:
            reply = _with_errors(reply)
        stand_in = _StandIn(reply, self._template.connection_kwargs)
        return await self.parse_response(stand_in, args[0], **options)  # type: ignore[arg-type]

    async def _multiplexed(self, words: list[str], args: tuple[Any, ...]) -> Any:
        try:
            encode = self._template.get_encoder().encode
            return await self._lane().submit((*words, *map(encode, args[1:])))
        except OperationFailed as error:
            return BaseParser.parse_error(str(error))
        except RedisTimeout as error:
            raise exceptions.TimeoutError(str(error)) from error
        except RedisUnavailable as error:
            raise exceptions.ConnectionError(str(error)) from error

    async def _execute_blocking(self, verb: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run on a connection of its own, whose read timeout leaves the time that the command may block."""
        pool = self.connection_pool
        cancelled = cancellations()
        connection = await pool.get_connection()
        usual = connection.socket_timeout
        try:
            blocks = _block_seconds(verb, args)
            connection.socket_timeout = None if blocks == 0 or usual is None else blocks + usual
            await connection.send_command(*args)
            if cancellations() > cancelled:  # redis-py sends with `wait_for`, which swallows that on Python 3.11
                raise asyncio.CancelledError
            return await self.parse_response(connection, args[0], **options)
        except BaseException:
            await connection.disconnect(nowait=True)  # a reply may still be on its way: never reuse the socket
            raise
        finally:
            connection.socket_timeout = usual
            await pool.release(connection)

    def pubsub(self, **kwargs: Any) -> PubSub:
        """Return a redis-py PubSub on a connection of its own; `manager.pubsub` shares one and reports gaps."""
        return PatientPubSub(self.connection_pool, **kwargs)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a redis-py pipeline, which takes a connection of its own when it is executed or watches."""
        return TidyPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    def monitor(self) -> Monitor:
        """Return a redis-py Monitor on a connection of its own."""
        return PatientMonitor(self.connection_pool)

    def client(self) -> Redis:
        """Return a client on one connection of its own, for what the shared one refuses; use it with `async with`."""
        return SingleClient(connection_pool=self.connection_pool, single_connection_client=True)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Do nothing: the manager closes what it owns."""


class _StandIn:
    """What `Redis.parse_response` reads from, where the reply is there already."""

    def __init__(self, reply: Any, kwargs: dict[str, Any]) -> None:
        self._reply = reply
        self._kwargs = kwargs

    async def read_response(self, disable_decoding: bool = False, **_: Any) -> Any:
        if isinstance(self._reply, Exception):
            raise self._reply
        if disable_decoding or not self._kwargs.get("decode_responses"):
            return self._reply
        return _decode(
            self._reply, self._kwargs.get("encoding", "utf-8"), self._kwargs.get("encoding_errors", "strict")
        )


def _decode(reply: Any, encoding: str, errors: str) -> Any:
    if isinstance(reply, bytes):
        return reply.decode(encoding, errors)
    if isinstance(reply, list):
        return [_decode(item, encoding, errors) for item in reply]
    return reply


def _words(command: Any) -> list[str]:
    """The command's words; redis-py writes some as one string with spaces (`CONFIG GET`)."""
    return (command.decode() if isinstance(command, bytes) else str(command)).split()


def _subcommand(words: list[str], args: tuple[Any, ...]) -> str:
    rest = [*words[1:], *(_words(arg)[0] for arg in args[1:2] if isinstance(arg, str | bytes) and arg)]
    return rest[0].upper() if rest else ""


def _with_errors(reply: Any) -> Any:
    """Turn errors inside of `reply` into redis-py's."""
    if isinstance(reply, list):
        return [_with_errors(item) for item in reply]
    return BaseParser.parse_error(str(reply)) if isinstance(reply, OperationFailed) else reply


def _block_option(args: tuple[Any, ...]) -> Any:
    """The milliseconds after XREAD's BLOCK; None without it."""
    words = iter(args[1:])
    for word in words:
        option = str(word, "latin-1").upper() if isinstance(word, bytes) else str(word).upper()
        if option == "BLOCK":
            return next(words, None)
        if option == "STREAMS":  # from here on they are names
            break
    return None


def _block_seconds(verb: str, args: tuple[Any, ...]) -> float:
    """How long the command may block by its own arguments; 0 means for ever, or that it cannot be told."""
    if verb in _BLOCKING_BY_OPTION:
        value, scale = _block_option(args), 1000
    else:
        value, scale = args[1 if verb in ("BLMPOP", "BZMPOP") else -1], 1000 if verb in ("WAIT", "WAITAOF") else 1
    try:
        return float(value) / scale
    except (TypeError, ValueError):
        return 0.0
