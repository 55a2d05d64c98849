"""What may stand in a security event: clients choose much of it, and must neither fill it nor hide it."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.errors import SessionDataError
from asgi_redis_guard.sessions.details import MOST_BYTES, pack_details
from asgi_redis_guard.sessions.ids import SessionIds
from tests.jwt.tokens import sign


def packed(**details: Any) -> Any:
    return orjson.loads(pack_details(details))


def test_small_json_is_kept_as_it_is_and_what_is_none_is_dropped() -> None:
    said = {"ip": "203.0.113.7", "count": 3, "score": 0.5, "ok": True, "list": ["a", 1], "more": {"a": "b"}}
    assert packed(**said, nothing=None) == said
    assert packed() == {}


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=4000), max_size=6))
def test_no_text_of_a_client_is_too_long_or_too_strange_to_be_recorded(details: dict[str, str]) -> None:
    assert len(pack_details(details)) <= MOST_BYTES


def test_lone_surrogates_are_no_way_out() -> None:
    assert packed(agent="a\ud800b") == {"agent": "a?b"}


def test_the_longest_is_cut_first_and_says_so() -> None:
    said = packed(agent="é" * 5000, ip="203.0.113.7")
    assert said["ip"] == "203.0.113.7"
    assert said["agent"].startswith("éé")
    assert said["agent"].endswith("…")


def test_credentials_are_left_out_wherever_they_stand() -> None:
    token = SessionIds(b"", Keys()).make(lambda size: bytes(range(size)), None).token.decode()
    jwt = sign(sub="alice").decode()
    said = packed(a=token, b=f"x=1; __Host-session={token}", c=[{"d": jwt}], e="y" * 900 + f" Bearer {jwt}")
    text = orjson.dumps(said).decode()
    assert token not in text
    assert jwt.split(".")[1][:20] not in text
    assert said["a"] == "[secret]"
    assert said["b"] == "x=1; __Host-session=[secret]"
    assert said["c"] == [{"d": "[secret]"}]


def test_a_credential_at_the_place_where_a_text_is_cut_is_left_out_too() -> None:
    jwt = sign(sub="alice" * 100).decode()
    for start in range(MOST_BYTES - 80, MOST_BYTES):
        assert jwt[:20] not in packed(a=" " * start + jwt)["a"]


def test_handles_and_hashes_may_be_told() -> None:
    handle = SessionIds(b"", Keys()).make(lambda size: bytes(size), None).handle.decode()
    sha256 = "0123456789abcdef" * 4
    assert packed(session=handle, file=sha256) == {"session": handle, "file": sha256}


@pytest.mark.parametrize("wrong", [object(), b"bytes", {1: 2}, float, list(range(2000)), {"x" * 2000: 1}])
def test_what_is_no_small_json_is_an_error(wrong: Any) -> None:
    with pytest.raises(SessionDataError, match="security event"):
        pack_details({"value": wrong})


def test_an_id_with_its_secret_is_no_json() -> None:
    with pytest.raises(SessionDataError):
        pack_details({"session": SessionIds(b"", Keys()).make(lambda size: bytes(size), None)})
