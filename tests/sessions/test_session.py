"""The dictionary that an app sees, by itself: what has changed in it, and what it says of itself."""

from typing import Any

import pytest

from asgi_redis_guard import Session, SessionDataError
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.sessions.codec import encode
from asgi_redis_guard.sessions.ids import SessionIds
from asgi_redis_guard.sessions.record import Record, read_record

FOUND = SessionIds(b"", Keys()).read(b"A" * 51)
assert FOUND is not None
ID = FOUND


def loaded(**values: Any) -> Session:
    """A session as it was loaded."""
    return Session.of(Record(ID, {name: encode(name, value) for name, value in values.items()}, (1, 2, 3, 4, 5)))


def test_a_session_is_a_dictionary() -> None:
    session = loaded(a=1)
    session |= {"b": 2}
    assert (isinstance(session, dict), session, session.get("c"), session.pop("a")) == (True, {"b": 2}, None, 1)
    assert {**session} == {"b": 2}


def test_a_new_one_has_no_id_and_one_that_was_loaded_has_a_name_that_is_no_secret() -> None:
    assert (Session().id, Session().is_new) == (None, True)
    assert (loaded().id, loaded().is_new) == (ID.handle.decode(), False)


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        (lambda session: None, ({}, [])),
        (lambda session: session.update(a=1, b=[1], c="x" * 10), ({}, [])),
        (lambda session: session["b"].append(2), ({"b": b"[1,2]"}, [])),
        (lambda session: session.update(a=True), ({"a": b"true"}, [])),
        (lambda session: session.update(a=1.0), ({"a": b"1.0"}, [])),
        (lambda session: session.pop("a"), ({}, ["a"])),
        (lambda session: session.update(a=None, d=0), ({"a": b"null", "d": b"0"}, [])),
        (lambda session: (session.pop("a"), session.update(a=1)), ({}, [])),
        (lambda session: (session.clear(), session.update(a=1)), ({"a": b"1"}, [])),
    ],
)
def test_what_has_changed_is_told_by_its_text(change: Any, changes: Any) -> None:
    session = loaded(a=1, b=[1], c="x" * 10)
    change(session)
    assert session.changes() == changes
    assert session.modified is (changes != ({}, []))


def test_a_rotation_and_an_end_are_changes() -> None:
    for session, change in ((loaded(), Session.rotate), (loaded(a=1), Session.clear)):
        assert not session.modified
        change(session)
        assert session.modified


def test_a_new_session_that_is_cleared_is_as_it_was() -> None:
    session = Session()
    session["a"] = 1
    assert session.modified
    session.clear()
    assert (session.modified, session.is_destroyed) == (False, False)


def test_starlette_s_mark_is_kept() -> None:
    session = Session()
    assert not session.accessed
    session.mark_accessed()
    assert (session.accessed, session.modified) == (True, False)


def test_what_others_have_written_is_taken_over_below_changes_of_one_s_own() -> None:
    session = loaded(a=1, b=1, c=1)
    session["a"] = 2
    del session["b"]
    fields = {"a": b"7", "b": b"7", "c": b"7", "d": b"7"}
    session.rebase(Record(ID, fields, (1, 2, 3, 4, 6)))
    assert session == {"a": 2, "c": 7, "d": 7}
    assert session.changes() == ({"a": b"2"}, ["b"])


def test_a_session_of_nobody_s_making_cannot_be_saved() -> None:
    with pytest.raises(RuntimeError, match="was not made by the Sessions guard"):
        Session().save()


def test_a_repr_says_how_much_and_not_what() -> None:
    session = loaded(password="hunter2")
    assert repr(session) == str(session) == f"<Session {ID.handle.decode()} with 1 keys>"
    assert repr(Session()) == "<Session not saved with 0 keys>"


def test_a_value_that_cannot_be_kept_is_named() -> None:
    session = loaded()
    session["basket"] = object()
    with pytest.raises(SessionDataError, match=r"session\['basket'\]"):
        session.changes()


@pytest.mark.parametrize("flat", [0, None, [], [b".a", b"1"], [b"m", b""], [b"m", b"1:2"], [b"m", b"1:2:3:4:5:6"]])
def test_what_has_no_times_is_no_record(flat: Any) -> None:
    assert read_record(ID, flat) is None


def test_a_record_is_read_with_its_times_and_its_successor() -> None:
    record = read_record(ID, [b"m", b"1:2:3:4:5", b".a", b"1", b"later", b"x"])
    assert record is not None
    assert (record.created, record.ends, record.idle, record.touched, record.version) == (1, 2, 3, 4, 5)
    assert (record.fields, record.read_only) == ({"a": b"1"}, False)
    replaced = read_record(ID, [b"m", b"1:2:3:4:5", b"o", b"handle"])
    assert replaced is not None
    assert replaced.read_only


def test_a_version_counts_only_where_nobody_wrote_between() -> None:
    record = Record(ID, {}, (1, 2, 3, 4, 5))
    assert (record.seen_at(7).version, record.seen_at(6).version, record.version) == (5, 6, 5)


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.update(a=True),
        lambda session: session.update(b=1),
        lambda session: (session.clear(), session.update(a=True, b=1)),
        lambda session: (session.pop("a"), session.pop("b"), session.update(b=1, a=True)),
        lambda session: session.update(zero=-0.0),
        lambda session: session.update(more=None),
        lambda session: session.pop("zero"),
    ],
)
def test_equal_values_of_other_types_are_changes(change: Any) -> None:
    session = loaded(a=1, b=True, zero=0.0)
    assert session.is_untouched
    change(session)
    assert not session.is_untouched
    assert session.modified


def test_requests_that_share_a_record_share_nothing_that_can_change() -> None:
    record = Record(ID, {"a": b"1", "log": b"[1]", "deep": b'{"x":{"y":1}}'}, (1, 2, 3, 4, 5))
    first, second = Session.of(record), Session.of(record)
    first["log"].append(2)
    first["deep"]["x"]["y"] = 2
    first["a"] = 2
    del first["deep"]
    assert second == Session.of(record) == {"a": 1, "log": [1], "deep": {"x": {"y": 1}}}
    assert (second.changes(), first.changes()) == (({}, []), ({"a": b"2", "log": b"[1,2]"}, ["deep"]))
