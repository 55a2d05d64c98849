"""Cookies of any bytes: never an error, and asked for is only what has the form of an id."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from asgi_redis_guard import Ask, Pass, Sessions
from asgi_redis_guard.sessions.ids import SessionIds
from tests.guards import exchange

GUARD = Sessions()
IDS = SessionIds(b"", exchange().keys)
TOKENS = st.from_regex(rb"[A-Za-z0-9_-]{49,53}", fullmatch=True)
VALUES = st.binary(max_size=80) | TOKENS | TOKENS.map(lambda token: b'"' + token + b'"')
PAIRS = st.builds(lambda name, value: name + b"=" + value, st.sampled_from([b"__Host-session", b"session"]), VALUES)
FIELDS = st.lists(PAIRS | st.binary(max_size=80), max_size=5).map(b"; ".join)


@given(st.lists(st.tuples(st.sampled_from([b"cookie", b"origin", b"host"]), FIELDS), max_size=4))
@example([(b"cookie", b"__Host-session=" + b"A" * 51)])
@example([(b"cookie", b"__Host-session=" + b"A" * 51 + b"\x00")])
@example([(b"cookie", b"__Host-session=" + b"A" * 1_048_576)])
def test_any_bytes_are_nobody_or_asked_for(headers: list[tuple[bytes, bytes]]) -> None:
    step = GUARD.ask(exchange(headers=headers))
    if isinstance(step, Ask):
        (key,) = step.batch.keys
        assert re.fullmatch(rb"guard:s:\{[A-Za-z0-9_-]{8}\}[A-Za-z0-9_-]{20}", key)
        given_values = re.findall(rb'__Host-session="?([A-Za-z0-9_-]{51})', b";".join(value for _, value in headers))
        assert step.about.id in [IDS.read(value) for value in given_values]
        assert not any(value[8:] in key + step.about.name for value in given_values)
    else:
        assert isinstance(step, Pass)
        assert step.facts is not None
        assert step.facts["session"] == {}
