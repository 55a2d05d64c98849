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


@pytest.fixture
def token() -> str:
    """What a session's cookie holds."""
    return SessionIds(b"", Keys()).make(lambda size: bytes(range(size)), None).token.decode()


@pytest.fixture
def jwt() -> str:
    """A JSON Web Token."""
    return sign(sub="alice").decode()


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


def encoded(text: str, layers: int) -> str:
    """Percent-encode every character, several times."""
    for _ in range(layers):
        text = "".join(f"%{byte:02x}" for byte in text.encode())
    return text


def test_credentials_as_names_are_left_out(token: str, jwt: str) -> None:
    said = packed(**{token: 1}, deep=[{jwt: {f"id={token}": "x"}}])
    assert said == {"[secret]": 1, "deep": [{"[secret]": {"id=[secret]": "x"}}]}


@pytest.mark.parametrize("before", ["/?id%3D", "/?a=%26id%3d", "/%253D", "/%25253d", "%22", "é%20"])
def test_credentials_behind_a_percent_encoded_sign_are_left_out(before: str, token: str, jwt: str) -> None:
    for secret in (token, jwt):
        for after in ("", "%26x=1", " and more"):
            (text,) = packed(path=before + secret + after).values()
            assert secret[:20] not in text
            assert "[secret]" in text


@pytest.mark.parametrize("layers", [1, 2])
def test_credentials_that_are_percent_encoded_are_left_out(layers: int, token: str, jwt: str) -> None:
    for secret in (token, jwt):
        assert packed(a=f"id={encoded(secret, layers)}")["a"] == "id=[secret]"


def test_percent_encoding_around_nothing_secret_stays(token: str) -> None:
    assert packed(path="/?q=a%3Db%20c&n=100%", odd="%zz%") == {"path": "/?q=a%3Db%20c&n=100%", "odd": "%zz%"}


def test_half_a_credential_at_the_end_of_what_is_searched_is_left_out(token: str) -> None:
    many = "".join(f" {encoded(token, 1)}" for _ in range(60))
    assert packed(a=many)["a"].replace("[secret]", "").strip() == ""
    assert len(packed(a="x" * 10_000)["a"]) > 500


def nested(depth: int) -> Any:
    """Lists and dictionaries in one another."""
    value: Any = "x"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_what_lies_deep_is_an_error_that_says_so() -> None:
    assert packed(value=nested(16)) == {"value": nested(16)}
    endless: list[Any] = []
    endless.append(endless)
    for value in (nested(17), nested(100_000), endless):
        with pytest.raises(SessionDataError, match=r"^details of a security event lie too deep; allowed are 16"):
            pack_details({"value": value})


def test_handles_and_hashes_may_be_told() -> None:
    handle = SessionIds(b"", Keys()).make(lambda size: bytes(size), None).handle.decode()
    sha256 = "0123456789abcdef" * 4
    assert packed(session=handle, file=sha256) == {"session": handle, "file": sha256}


@pytest.mark.parametrize("wrong", [object(), b"bytes", {1: 2}, {("a",): 1}, float, list(range(2000)), {"x" * 2000: 1}])
def test_what_is_no_small_json_is_an_error(wrong: Any) -> None:
    with pytest.raises(SessionDataError, match="security event"):
        pack_details({"value": wrong})


def test_an_id_with_its_secret_is_no_json() -> None:
    with pytest.raises(SessionDataError):
        pack_details({"session": SessionIds(b"", Keys()).make(lambda size: bytes(size), None)})
