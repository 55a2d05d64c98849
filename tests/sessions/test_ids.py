"""Ids: random, of one form, and never stored as they are."""

import os
import re

import pytest

from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.sessions.ids import SessionIds

KEYS = Keys("p:")
PLAIN, KEYED = SessionIds(b"", KEYS), SessionIds(b"k" * 16, KEYS)


@pytest.mark.parametrize("ids", [PLAIN, KEYED])
@pytest.mark.parametrize("user", [None, "alice", "", "Zoë", "x" * 10_000])
def test_an_id_that_was_made_is_read_as_the_same(ids: SessionIds, user: str | None) -> None:
    made = ids.make(os.urandom, user)
    assert re.fullmatch(rb"[A-Za-z0-9_-]{51}", made.token)
    assert ids.read(made.token, user) == made._replace(token=b"")
    found = ids.read(made.token)
    assert found is not None
    assert (found.record, found.owner) == (made.record, made.record)
    assert ids.of_user(found, user) == made._replace(token=b"")


def test_all_256_bits_are_of_the_random_source() -> None:
    seen: list[int] = []

    def random(size: int) -> bytes:
        seen.append(size)
        return b"\xff" * size

    token = PLAIN.make(random, "alice").token
    assert (seen, token[8:]) == ([32], b"_" * 42 + b"8")


def test_ids_of_one_user_share_a_slot_and_those_of_nobody_do_not() -> None:
    slots = {PLAIN.make(os.urandom, "alice").token[:8] for _ in range(10)}
    assert len(slots) == 1
    assert len({PLAIN.make(os.urandom, None).token[:8] for _ in range(10)}) == 10
    made = PLAIN.make(os.urandom, "alice")
    tag = b"{" + made.token[:8] + b"}"
    assert made.record.startswith(b"p:s:" + tag)
    assert made.owner.startswith(b"p:i:" + tag)


@pytest.mark.parametrize("ids", [PLAIN, KEYED])
def test_neither_secret_nor_user_stands_in_what_is_stored_or_shown(ids: SessionIds) -> None:
    made = ids.make(os.urandom, "alice")
    for shown in (made.handle, made.record, made.owner, repr(made).encode(), str(made).encode(), f"{made}".encode()):
        assert made.token not in shown
        assert made.token[8:] not in shown
        assert b"alice" not in shown


def test_another_key_means_other_records_and_tags() -> None:
    made = PLAIN.make(os.urandom, "alice")
    found = KEYED.read(made.token)
    assert found is not None
    assert found.record != made.record
    assert KEYED.make(os.urandom, "alice").token[:8] != made.token[:8]


@pytest.mark.parametrize(
    "value", [b"", b"A" * 50, b"A" * 52, b"A" * 50 + b"\n", b"A" * 51 + b"\n", b"A" * 50 + b"=", b"\xc3\xa9" * 26]
)
def test_what_has_another_form_is_no_id(value: bytes) -> None:
    assert PLAIN.read(value) is None
