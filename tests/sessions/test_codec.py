"""Session values as text: each comes back as what it was, what cannot is an error that names the key."""

import math
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest

from asgi_redis_guard import SessionDataError
from asgi_redis_guard.sessions.codec import decode, encode

EAST = timezone(timedelta(hours=5, minutes=45))


class Summer(tzinfo):
    """A zone whose offset depends on the date."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta | None:
        return None if moment is None else timedelta(hours=1 + (4 <= moment.month <= 10))

    def dst(self, moment: datetime | None, /) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None, /) -> str:
        return "summer"


VALUES: list[Any] = [
    None,
    True,
    "",
    "Zoë \0 \u2028 🎈",
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(2**63) - 1,
    10**400,
    -0.0,
    1e308,
    5e-324,
    0.1,
    math.inf,
    -math.inf,
    [],
    {},
    (),
    set(),
    frozenset(),
    [[[]]],
    {"": {"": ""}},
    (1, (2, [3])),
    {1, "1", (1, 2), frozenset((1,)), None, 1.5},
    frozenset(("a", b"a")),
    datetime(2024, 2, 29, 23, 59, 59, 999_999),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(2024, 10, 27, 2, 30, fold=1),
    datetime(2024, 1, 1, tzinfo=EAST),
    date(9999, 12, 31),
    time(23, 59, 59, 1),
    time(1, tzinfo=EAST),
    time(2, 30, fold=1, tzinfo=UTC),
    timedelta.min,
    timedelta.max,
    UUID(int=0),
    Decimal("1.10"),
    Decimal("-Infinity"),
    Decimal("1E+400"),
    b"",
    bytes(range(256)),
    {"$t": "2024-01-01"},
    {"$o": {"$o": 1}},
    {"$": 1},
    {"$later": [{"$b": "AA=="}]},
    {"$t": 1, "x": 2},
    ["$t", {"x": "$b"}],
]


def alike(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in type, value and text."""
    return repr(one) == repr(other) and type(one) is type(other)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_every_type_comes_back_as_what_it_was(value: Any) -> None:
    back = decode(encode("key", value))
    assert back == value
    assert type(back) is type(value)
    assert alike(back, value) or isinstance(value, set | frozenset)


@pytest.mark.parametrize("value", [math.nan, Decimal("NaN"), Decimal("sNaN")])
def test_what_is_not_even_equal_to_itself_comes_back_too(value: Any) -> None:
    assert alike(decode(encode("key", value)), value)


def test_a_time_in_a_named_zone_comes_back_as_the_same_instant_with_its_offset() -> None:
    there = datetime(2024, 7, 1, 12, tzinfo=Summer())
    back = decode(encode("key", there))
    assert (back, back.utcoffset()) == (there, timedelta(hours=2))


def test_what_json_has_a_name_for_is_plain_json() -> None:
    value = {"user": "alice", "n": 1, "list": [1.5, None, True], "$price": 1, "other": 2}
    assert encode("key", value) == b'{"user":"alice","n":1,"list":[1.5,null,true],"$price":1,"other":2}'


def test_the_same_set_is_the_same_text() -> None:
    words = [f"word {n}" for n in range(100)]
    backwards = words[::-1]
    assert encode("key", set(words)) == encode("key", set(backwards))


class Colour(StrEnum):
    RED = "red"


class Number(int):
    pass


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]

REFUSED = [
    (object(), "object given"),
    (lambda: None, "function given"),
    (Colour.RED, "Colour given"),
    (Number(1), "Number given"),
    (OrderedDict(), "OrderedDict given"),
    (1j, "complex given"),
    (time(1, tzinfo=Summer()), "no offset without a date"),
    ([1, {"x": bytearray()}], "bytearray given"),
    ({1: "one"}, "the key 1 given; allowed are strings"),
    ({"x": [{None: 1}]}, "the key None given"),
    ("\ud800", "surrogates"),
    ({"\udfff": 1}, "surrogates"),
    ([{"x": "a\ud800"}], "surrogates"),
    (CYCLE, "recursion"),
    (DEEP, "[Rr]ecursion"),
    (10**5000, "digits"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_kept_is_an_error_that_names_the_key(value: Any, message: str) -> None:
    with pytest.raises(SessionDataError, match=r"session\['basket'\] cannot be kept: .*" + message):
        encode("basket", value)


@pytest.mark.parametrize("name", [1, None, b"key", ("a",), Colour.RED, "\ud800"])
def test_a_key_that_is_no_text_is_an_error_that_names_it(name: Any) -> None:
    with pytest.raises(SessionDataError, match="cannot be kept") as caught:
        encode(name, 1)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nan",
        b"\xff",
        b'"\xff"',
        b'{"$later":1}',
        b'{"$":1}',
        b'{"x":[{"$t":5}]}',
        b'{"$t":"yesterday"}',
        b'{"$d":null}',
        b'{"$h":[]}',
        b'{"$l":"abc"}',
        b'{"$l":[1e300,0,0]}',
        b'{"$u":5}',
        b'{"$u":"x"}',
        b'{"$n":"x"}',
        b'{"$n":{}}',
        b'{"$b":1}',
        b'{"$b":"a"}',
        b'{"$i":"x"}',
        b'{"$i":[]}',
        b'{"$f":{}}',
        b'{"$s":1}',
        b'{"$s":[[]]}',
        b'{"$z":[{}]}',
        b'{"$p":1}',
        b'{"$o":[]}',
    ],
)
def test_what_encode_never_makes_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):
        decode(text)
