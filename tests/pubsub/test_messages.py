"""The values that subscribers get."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.pubsub.messages import Gap, Malformed, Message, parse_json, to_bytes, to_text


@pytest.mark.parametrize("value", [Message("a", b""), Malformed("a", b"", None, "why"), Gap("overflow", 1)])
def test_values_cannot_be_changed(value: object) -> None:
    with pytest.raises((AttributeError, TypeError)):
        value.channel = "other"  # type: ignore[attr-defined]
    assert not hasattr(value, "__dict__")


@given(st.binary())
def test_any_name_survives_being_text(name: bytes) -> None:
    assert to_bytes(to_text(name)) == name


def test_names_are_text_or_bytes() -> None:
    with pytest.raises(TypeError, match="not int"):
        to_bytes(1)  # type: ignore[arg-type]


@given(st.binary())
def test_no_data_can_break_a_json_subscription(data: bytes) -> None:
    event = parse_json(Message("channel", data, "pattern"))
    assert event.channel == "channel"
    assert event.pattern == "pattern"
    assert isinstance(event, Message) or event.data == data


def test_what_is_not_json_says_why() -> None:
    event = parse_json(Message("channel", b"{"))
    assert isinstance(event, Malformed)
    assert event.error
