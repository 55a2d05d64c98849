"""`SessionCipher` by itself: what it seals opens for its own record and field alone."""

from base64 import b64decode, b64encode, urlsafe_b64encode
from os import urandom

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard import ConfigurationError, RedisUnavailable, SessionCipher, SessionUnreadable

ONE, TWO = b"1" * 32, b"2" * 32
RECORD = b"guard:s:{aaaaaaaa}bbbbbbbbbbbbbbbbbbbb"
texts = st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=8), st.binary(max_size=200))


@given(texts)
def test_what_is_sealed_opens_again(fields: dict[str, bytes]) -> None:
    cipher = SessionCipher(ONE)
    sealed = cipher.seal(RECORD, fields, urandom)
    assert cipher.unseal(RECORD, sealed) == fields
    for name, value in sealed.items():
        assert value.isascii()
        assert value[:1] == b"$"
        assert len(b64decode(value[1:], validate=True)) == 32 + len(fields[name])


def test_the_same_value_is_another_text_each_time() -> None:
    cipher = SessionCipher(ONE)
    assert len({cipher.seal(RECORD, {"a": b"1"}, urandom)["a"] for _ in range(20)}) == 20


@given(st.binary(max_size=50), st.data())
def test_nothing_of_it_can_be_changed(text: bytes, data: st.DataObject) -> None:
    cipher = SessionCipher(ONE)
    packed = bytearray(b64decode(cipher.seal(RECORD, {"a": text}, urandom)["a"][1:]))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SessionUnreadable):
        cipher.unseal(RECORD, {"a": b"$" + b64encode(packed)})


@given(st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(lambda some: b"$" + b64encode(some))))
def test_bytes_from_anywhere_are_unreadable_and_nothing_worse(value: bytes) -> None:
    with pytest.raises(SessionUnreadable):
        SessionCipher(ONE).unseal(RECORD, {"a": value})


@pytest.mark.parametrize(("record", "name"), [(RECORD, "b"), (RECORD[:-1], "a"), (RECORD + b"a", ""), (b"", "a")])
def test_a_value_opens_at_its_own_place_alone(record: bytes, name: str) -> None:
    cipher = SessionCipher(ONE)
    value = cipher.seal(RECORD, {"a": b"1"}, urandom)["a"]
    with pytest.raises(SessionUnreadable, match="moved"):
        cipher.unseal(record, {name: value})


def test_each_record_has_a_key_of_its_own() -> None:
    """A nonce that comes twice gives the same stream under the same key, and nothing away under two."""
    cipher = SessionCipher(ONE)
    streams = [b64decode(cipher.seal(record, {"a": bytes(32)}, bytes)["a"][1:])[16:-16] for record in (b"x", b"y")]
    assert len(streams[0]) == 32
    assert streams[0] != streams[1]


def test_names_that_run_together_are_still_two() -> None:
    cipher = SessionCipher(ONE)
    value = cipher.seal(b"x:ab", {"c": b"1"}, urandom)["c"]
    with pytest.raises(SessionUnreadable):
        cipher.unseal(b"x:a", {"bc": value})


def test_the_first_key_seals_and_all_open() -> None:
    old, both, new = SessionCipher(ONE), SessionCipher([TWO, ONE]), SessionCipher([TWO])
    before, after = old.seal(RECORD, {"a": b"1"}, urandom), both.seal(RECORD, {"b": b"2"}, urandom)
    assert both.unseal(RECORD, before | after) == {"a": b"1", "b": b"2"}
    assert new.unseal(RECORD, after) == {"b": b"2"}
    with pytest.raises(SessionUnreadable, match="a key that is not there"):
        new.unseal(RECORD, before)
    with pytest.raises(SessionUnreadable, match="a key that is not there"):
        old.unseal(RECORD, after)


def test_what_is_not_encrypted_is_read_where_that_is_allowed() -> None:
    with pytest.raises(SessionUnreadable, match="is not encrypted"):
        SessionCipher(ONE).unseal(RECORD, {"a": b"1"})
    assert SessionCipher(ONE, plaintext=True).unseal(RECORD, {"a": b"1", "b": b'"$x"'}) == {"a": b"1", "b": b'"$x"'}


def test_a_failure_is_one_of_redis_and_of_a_value() -> None:
    """Whoever is ready for the one or the other is ready for this."""
    assert issubclass(SessionUnreadable, RedisUnavailable)
    assert issubclass(SessionUnreadable, ValueError)


@pytest.mark.parametrize(
    "key",
    [b64encode(b"\xff" * 32).decode(), urlsafe_b64encode(b"\xff" * 32).decode(), b64encode(b"\xff" * 32).decode()[:-1]],
)
def test_a_key_can_be_base64_text(key: str) -> None:
    sealed = SessionCipher(key).seal(RECORD, {"a": b"1"}, urandom)
    assert SessionCipher(b"\xff" * 32).unseal(RECORD, sealed) == {"a": b"1"}


def test_wrong_keys_are_told_all_at_once_and_none_is_shown() -> None:
    short = b64encode(b"k" * 31).decode()
    with pytest.raises(ConfigurationError) as caught:
        SessionCipher([ONE, b"short", short, "no base64!", "Ä" * 32, ONE, b64encode(ONE).decode()])
    assert [fault.partition(" has")[0].partition(" as")[0] for fault in caught.value.faults] == [
        "keys (GUARD_SESSION_ENCRYPTION): number 2",
        "keys (GUARD_SESSION_ENCRYPTION): number 3",
        "keys (GUARD_SESSION_ENCRYPTION): number 4",
        "keys (GUARD_SESSION_ENCRYPTION): number 5",
        "keys (GUARD_SESSION_ENCRYPTION): number 6 is the same",
        "keys (GUARD_SESSION_ENCRYPTION): number 7 is the same",
    ]
    for secret in ("short", short, "no base64!", ONE.decode()):
        assert secret not in str(caught.value)
    with pytest.raises(ConfigurationError, match="none given"):
        SessionCipher([])


def test_its_repr_shows_no_key() -> None:
    cipher = SessionCipher([ONE, TWO])
    assert repr(cipher) == str(cipher) == "<SessionCipher of 2 keys>"
    assert not hasattr(cipher, "__dict__")
