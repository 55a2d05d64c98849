"""What a subscriber gets: messages, and the holes between them. Values only; nothing in here knows Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import orjson

GapReason = Literal["reconnected", "overflow"]


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody published: `data` is bytes, or the decoded value for a JSON subscription.

    `pattern` is the pattern that matched, None for a subscription to the channel itself. A channel whose name is not
    UTF-8 is decoded with `surrogateescape`, so that it can be given back as it is.
    """

    channel: str
    data: Any
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is not JSON, given to a JSON subscription as it came."""

    channel: str
    data: bytes
    pattern: str | None
    error: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages may be missing before this point; whoever keeps state reads it anew.

    `reconnected`: the connection was lost, or came later than was waited for, and now every channel of the subscription
    is subscribed. `overflow`: the subscriber was too slow. `lost` counts the messages dropped, None where nobody can
    know.
    """

    reason: GapReason
    lost: int | None = None


#: What an iterator yields and a callback gets.
Event = Message | Malformed | Gap


def parse_json(message: Message) -> Message | Malformed:
    """Decode the data of `message`; a subscriber's value is its own, never shared with another's."""
    try:
        return Message(message.channel, orjson.loads(message.data), message.pattern)
    except orjson.JSONDecodeError as error:
        return Malformed(message.channel, message.data, message.pattern, str(error))


def to_bytes(name: str | bytes) -> bytes:
    """Encode the name of a channel or pattern; the inverse of `to_text`."""
    if isinstance(name, bytes):
        return name
    if isinstance(name, str):
        return name.encode("utf-8", "surrogateescape")
    raise TypeError(f"a channel is str or bytes, not {type(name).__name__}")


def to_text(name: bytes) -> str:
    """Decode the name of a channel or pattern, whatever bytes it has."""
    return name.decode("utf-8", "surrogateescape")
