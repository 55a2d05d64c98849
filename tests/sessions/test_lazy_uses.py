"""A lazy session before it is loaded: no use of a dictionary finds it empty."""

import copy
import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import orjson
import pydantic_core
import pytest

from asgi_redis_guard import Session, SessionNotLoaded
from asgi_redis_guard.sessions.lazy import LazySession
from tests.middleware.calls import TestRedis
from tests.sessions.visits import Site, loaded


@pytest.fixture
def lazy(memory: TestRedis) -> Site:
    """Lazy sessions in this process, and a note of every round."""
    return Site(memory, lazy=True)


#: Whatever can be done with a dictionary, and with a session.
USES: dict[str, Callable[[Any], Any]] = {
    "get": lambda s: s.get("user_id"),
    "[]": lambda s: s["user_id"],
    "set": lambda s: s.update(user_id="eve"),
    "[]=": lambda s: s.__setitem__("user_id", "eve"),
    "|=": lambda s: s.__ior__({"a": 1}),
    "setdefault": lambda s: s.setdefault("a", 1),
    "del": lambda s: s.__delitem__("user_id"),
    "pop": lambda s: s.pop("user_id", None),
    "popitem": lambda s: s.popitem(),
    "clear": lambda s: s.clear(),
    "in": lambda s: "user_id" in s,
    "len": len,
    "bool": bool,
    "not": lambda s: not s,
    "==": lambda s: s == {},
    "!=": lambda s: s != {},
    "{} ==": lambda s: dict.fromkeys(()) == s,
    "|": lambda s: s | {},
    "{} |": lambda s: {} | s,
    "list": list,
    "sorted": sorted,
    "reversed": lambda s: list(reversed(s)),
    "keys": lambda s: s.keys(),
    "values": lambda s: s.values(),
    "items": lambda s: s.items(),
    "copy": lambda s: s.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "dict": dict,
    "{**}": lambda s: {**s},
    "**": lambda s: (lambda **values: values)(**s),
    "update from": lambda s: {}.update(s),
    "format_map": lambda s: "{user_id}".format_map(s),
    "match": lambda s: _matched(s),
    "json": json.dumps,
    "json inside": lambda s: json.dumps([s]),
    "json indented": lambda s: json.dumps(s, indent=1),
    "json skipping": lambda s: json.dumps(s, skipkeys=True),
    "fromkeys": lambda s: s.fromkeys("a"),
    "id": lambda s: s.id,
    "is_new": lambda s: s.is_new,
    "ended": lambda s: s.ended,
    "rotate": lambda s: s.rotate(),
    "save": lambda s: s.save(),
    "incr": lambda s: s.incr("n"),
    "append": lambda s: s.append("log", 1),
}


def _matched(session: Any) -> str:
    match session:
        case {"user_id": _}:
            return "somebody"
        case _:
            return "nobody"


@pytest.mark.parametrize("use", USES)
async def test_until_it_is_loaded_no_use_of_a_session_finds_it_empty(lazy: Site, use: str) -> None:
    browser = await lazy.signed_in(user_id="alice")

    def act(session: Session) -> None:
        with pytest.raises(SessionNotLoaded, match=re.escape("await session.load()")):
            USES[use](session)

    await browser.visit(act)
    assert browser.told == []
    assert await browser.visit(loaded) == {"user_id": "alice"}


def test_every_method_of_a_dictionary_refuses_or_tells_nothing() -> None:
    told = {"__new__", "__init__", "__repr__", "__getattribute__", "__hash__", "__sizeof__", "__class_getitem__"}
    plain = {name for name in vars(dict) if name not in vars(LazySession)}
    assert plain <= told | {"__doc__"}


@pytest.mark.parametrize("dump", [orjson.dumps, pydantic_core.to_json])
def test_encoders_that_read_behind_the_methods_fail_too(dump: Any) -> None:
    for value in (LazySession(), {"session": LazySession()}):
        with pytest.raises((TypeError, SessionNotLoaded, pydantic_core.PydanticSerializationError)):
            dump(value)
    with pytest.raises(TypeError):
        orjson.dumps(LazySession(), option=orjson.OPT_NON_STR_KEYS)


def test_a_repr_never_fails() -> None:
    assert repr(LazySession()) == str(LazySession()) == f"{LazySession()}" == "<Session not loaded>"
