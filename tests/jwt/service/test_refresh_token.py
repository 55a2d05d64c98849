"""Refresh tokens as text: one for each number of a family and key, and nothing else is accepted."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.service.refresh_token import RefreshKeys, RefreshToken, new_family

OLD, NEW = b"o" * 32, "n" * 40
FAMILY = b"tagtag0123456789-_abcd"
KEYS = RefreshKeys(OLD, "https://issuer.example")
TEXT = KEYS.text(FAMILY, 7)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def test_a_token_is_what_it_says_and_160_bits_that_only_the_key_makes() -> None:
    assert TEXT == "rt1.tagtag0123456789-_abcd.7.XqZiYN74ATrYQW4UJvt-G115Pa4"
    assert KEYS.read(TEXT) == KEYS.read(TEXT.encode()) == RefreshToken(FAMILY, 7)


@given(st.binary(min_size=12, max_size=12), st.integers(1, 9_999_999_999))
def test_what_is_made_is_read_back_and_made_again_the_same(random: bytes, number: int) -> None:
    family = new_family(b"tagtag", lambda size: random[:size])
    text = KEYS.text(family, number)
    assert KEYS.read(text) == RefreshToken(family, number)
    assert KEYS.text(family, number) == text
    assert len(text) <= 65


@pytest.mark.parametrize("at", range(len(TEXT)))
def test_no_character_can_be_another(at: int) -> None:
    for character in ALPHABET + "./+= \n":
        changed = TEXT[:at] + character + TEXT[at + 1 :]
        assert (KEYS.read(changed) is None) is (changed != TEXT)


@pytest.mark.parametrize(
    "text",
    [
        *["", "rt1", "rt1.", "...", TEXT[:-1], TEXT + "A", TEXT + "=", TEXT + "\n", " " + TEXT, TEXT.upper()],
        *[TEXT.replace(".7.", f".{number}.") for number in ("07", "+7", "-7", "7.0", "", "0", "٧", "7" * 11)],
        *[TEXT.replace("rt1", "rt2"), TEXT * 2, "é" * 56, "\ud800" * 56, "x" * 100_000, "rt1." + "9" * 61],
    ],
)
def test_what_is_no_token_is_none(text: str) -> None:
    assert KEYS.read(text) is None
    assert KEYS.read(text.encode("utf-8", "surrogatepass")) is None


@given(
    st.one_of(st.text(max_size=80), st.binary(max_size=80), st.from_regex(r"\Art1\.[\w-]{22}\.\d{1,4}\.[\w-]{27}\Z"))
)
def test_whatever_comes_is_read_without_an_error(text: str | bytes) -> None:
    assert KEYS.read(text) is None


@pytest.mark.parametrize(
    "other",
    [RefreshKeys(NEW, "https://issuer.example"), RefreshKeys(OLD), RefreshKeys(OLD, "https://issuer.example/")],
)
def test_a_token_of_another_key_or_another_service_is_none(other: RefreshKeys) -> None:
    assert other.read(TEXT) is None
    assert KEYS.read(other.text(FAMILY, 7)) is None


def test_keys_are_replaced_without_a_token_that_anybody_refuses() -> None:
    steps = [RefreshKeys(OLD), RefreshKeys([OLD, NEW]), RefreshKeys([NEW, OLD])]
    for one, next_one in pairwise(steps):
        for writer, reader in ((one, next_one), (next_one, one), (next_one, next_one)):
            assert reader.read(writer.text(FAMILY, 1)) == RefreshToken(FAMILY, 1)
    assert steps[2].text(FAMILY, 1) == RefreshKeys(NEW).text(FAMILY, 1), "the first signs"
    assert RefreshKeys(NEW).read(steps[0].text(FAMILY, 1)) is None, "a key that was taken away"


def test_faults_are_told_all_at_once_and_no_key_is_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RefreshKeys(["short secret", b"", OLD])
    assert list(caught.value.faults) == [
        "refresh_keys: a secret of 12 bytes given; allowed are 32 or more",
        "refresh_keys: a secret of 0 bytes given; allowed are 32 or more",
    ]
    with pytest.raises(ConfigurationError, match="refresh_keys: none given"):
        RefreshKeys([])
    assert "o" * 32 not in repr(KEYS) + str(caught.value)
