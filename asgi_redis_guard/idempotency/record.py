"""A response as it is recorded and replayed: status, header fields in their order, body, all to the byte. Pure.

`<status> <bytes of the fields> <bytes of the body>\\n`, then the fields, each name and value as `<bytes>:<text>`, then
the body. What has not exactly this shape is no response: nobody guesses at what an app has answered.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..core.asgi import Headers

#: Statuses of responses that are recorded; what else stands there would break a server.
_FIRST = re.compile(rb"([234][0-9]{2}) ([0-9]{1,9}) ([0-9]{1,9})\n")
_LENGTH = re.compile(rb"([0-9]{1,8}):")
#: The name of a field, and what would end its line.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_BREAKS = re.compile(rb"[\r\n\0]")


class Recorded(NamedTuple):
    """A response that was recorded."""

    status: int
    headers: Headers
    body: bytes


def encode(status: int, headers: Headers, body: bytes) -> bytes | None:
    """Return a response as it is recorded; None for one that no server should send, so that none is replayed."""
    if not all(_TOKEN.fullmatch(name) and not _BREAKS.search(value) for name, value in headers):
        return None
    fields = b"".join([b"%d:%b" % (len(text), text) for field in headers for text in field])
    return b"%d %d %d\n%b%b" % (status, len(fields), len(body), fields, body)


def decode(content: bytes) -> Recorded | None:
    """Return the response that was recorded; None for what is none."""
    first = _FIRST.match(content)
    if first is None:
        return None
    status, of_fields, of_body = map(int, first.groups())
    at = first.end()
    if len(content) != at + of_fields + of_body:
        return None
    texts = _texts(content[at : at + of_fields])
    if texts is None or len(texts) % 2 or not all(map(_TOKEN.fullmatch, texts[::2])):
        return None
    return Recorded(status, list(zip(texts[::2], texts[1::2], strict=True)), content[at + of_fields :])


def _texts(fields: bytes) -> list[bytes] | None:
    texts, at = [], 0
    while at < len(fields):
        length = _LENGTH.match(fields, at)
        if length is None:
            return None
        at = length.end() + int(length[1])
        text = fields[length.end() : at]
        if at > len(fields) or _BREAKS.search(text):
            return None
        texts.append(text)
    return texts
