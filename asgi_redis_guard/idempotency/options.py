"""What options of idempotent requests and calls may be. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from ..core.checks import is_within

#: Seconds.
LONGEST_TTL, LONGEST_LEASE, LONGEST_WAIT = 366 * 86_400, 3_600, 600

#: Bytes of a body: that of a request stays in memory until it is read, that of a response until it is recorded.
MOST_BODY = 64 << 20

#: Characters of a name.
LONGEST_NAME = 200

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")


def seconds_faults(option: str, value: object, least: float, most: float) -> list[str]:
    """What is wrong with a number of seconds."""
    if is_within(value, least, most):
        return []
    return [f"{option}: {value!r} given; allowed are {least:g} to {most} seconds"]


def bytes_faults(option: str, value: object) -> list[str]:
    """What is wrong with a number of bytes."""
    if value.__class__ is int and 0 <= value <= MOST_BODY:
        return []
    return [f"{option}: {value!r} given; allowed are 0 to {MOST_BODY} bytes"]


def name_faults(name: object) -> list[str]:
    """What is wrong with a name; None is none."""
    if name is None or (isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()):
        return []
    return [f"name: {name!r} given; allowed are 1 to {LONGEST_NAME} printable characters"]


def method_faults(methods: Collection[object]) -> list[str]:
    """What is wrong with the methods whose requests take effect once."""
    wrong = [method for method in methods if not (isinstance(method, str) and _TOKEN.fullmatch(method))]
    if methods and not wrong:
        return []
    return [f"methods: {wrong or list(methods)!r} given; allowed are methods of HTTP, such as 'POST', one at least"]


def header_faults(header: object) -> list[str]:
    """What is wrong with the name of a field."""
    if isinstance(header, str) and _TOKEN.fullmatch(header):
        return []
    return [f"header: {header!r} given; allowed is the name of a header field"]
