"""What travels with a family, as text: it comes back as it was, and nothing else is taken for it."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.jwt.service.family_note import FamilyNote

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
NAMED = st.none() | TEXT
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NOTES = st.builds(
    FamilyNote,
    user=TEXT,
    scopes=st.lists(st.from_regex(r"[!#-\[\]-~]{1,9}", fullmatch=True), max_size=3).map(tuple),
    client=NAMED,
    device=NAMED,
    session=NAMED,
    claims=st.dictionaries(TEXT, JSON, max_size=3),
)


@given(NOTES)
def test_a_note_comes_back_as_it_was(note: FamilyNote) -> None:
    assert FamilyNote.unpack(note.pack()) == note


def test_a_note_is_as_short_as_what_it_says() -> None:
    assert FamilyNote(user="alice").pack() == b'["alice"]'
    assert FamilyNote(user="alice", scopes=("a", "b")).pack() == b'["alice","a b"]'
    assert FamilyNote(user="alice", device="phone").pack() == b'["alice","",null,"phone"]'
    assert FamilyNote(user="alice", claims={"a": 1}).pack() == b'["alice","",null,null,null,{"a":1}]'


@given(st.binary(max_size=40) | JSON.map(orjson.dumps))
def test_whatever_stands_in_a_record_is_a_note_or_none(text: bytes) -> None:
    found = FamilyNote.unpack(text)
    assert found is None or FamilyNote.unpack(found.pack()) == found


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"null", b"{}", b"[]", b"[1]", b'[""]', b'["a",1]', b'["a","",7]', b'["a",]', b'["a"', b"\xff"),
        *(b'["a","",null,null,null,[]]', b'["a","",null,null,null,{},1]'),
    ],
)
def test_what_is_no_note_is_none(text: bytes) -> None:
    assert FamilyNote.unpack(text) is None


@pytest.mark.parametrize("value", [object(), b"x", {1: 2}, 2**64, "\ud800"])
def test_claims_that_json_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="claims: "):
        FamilyNote(user="alice", claims={"x": value}).pack()
