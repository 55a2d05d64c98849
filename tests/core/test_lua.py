"""`core/lua.py`: Lua files that include others, and the faults that are told by the names of the files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from asgi_redis_guard.core.lua import includes_of, read_lua
from asgi_redis_guard.core.script import OperationKind

Package = Callable[..., str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Make a package of Lua files: `package(whole="…", part="…")`; its name comes back."""

    def make(**sources: str) -> str:
        name = f"lua_of_{tmp_path.name}"
        (tmp_path / name).mkdir()
        for stem, source in sources.items():
            (tmp_path / name / f"{stem}.lua").write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        return name

    return make


def test_a_file_that_includes_nothing_is_read_as_it_is(package: Package) -> None:
    name = package(whole="local a = 1\n-- includes nothing\n")
    assert read_lua(name, "whole.lua") == "local a = 1\n-- includes nothing\n"


def test_an_include_stands_for_the_whole_file_wherever_it_is_written(package: Package) -> None:
    name = package(whole="a()\n-- @include part.lua\nif b then\n  -- @include part.lua\nend\n", part="-- x\nc()\nd()\n")
    assert read_lua(name, "whole.lua") == "a()\n-- x\nc()\nd()\nif b then\n-- x\nc()\nd()\nend\n"


def test_what_is_included_may_include(package: Package) -> None:
    name = package(whole="-- @include one.lua\n-- @include two.lua\n", one="a()\n-- @include two.lua\n", two="b()\n")
    assert read_lua(name, "whole.lua") == "a()\nb()\nb()\n"


def test_a_backslash_is_what_it_is(package: Package) -> None:
    name = package(whole="-- @include part.lua\n", part=r"a('\1\n\g<0>')" + "\n")
    assert read_lua(name, "whole.lua") == r"a('\1\n\g<0>')" + "\n"


def test_a_contract_may_be_carried_out_by_parts(package: Package) -> None:
    name = package(
        whole="-- name: a.b\n-- @check\n-- @include look.lua\n-- @commit\n  -- @include write.lua\n",
        look="call('GET', KEYS[1])\n",
        write="call('DEL', KEYS[1])\n",
    )
    kind = OperationKind.load(name, "whole.lua")
    assert (kind.check, kind.commit) == ("call('GET', KEYS[1])\n", "call('DEL', KEYS[1])\n")


def test_an_include_that_does_not_exist_is_named_with_the_file_that_wants_it(package: Package) -> None:
    name = package(whole="-- @include part.lua\n", part="-- @include missing.lua\n")
    with pytest.raises(ValueError, match=r"part\.lua includes missing\.lua, which does not exist"):
        read_lua(name, "whole.lua")


@pytest.mark.parametrize(
    ("sources", "way"),
    [
        ({"whole": "-- @include whole.lua\n"}, "whole.lua > whole.lua"),
        (
            {"whole": "-- @include a.lua\n", "a": "-- @include b.lua\n", "b": "-- @include a.lua\n"},
            "a.lua > b.lua > a.lua",
        ),
    ],
)
def test_a_circle_is_named_file_by_file(package: Package, sources: dict[str, str], way: str) -> None:
    with pytest.raises(ValueError, match=f"circular: .*{way}$"):
        read_lua(package(**sources), "whole.lua")


@pytest.mark.parametrize("file", ["", "../part.lua", "sub/part.lua", "/part.lua", "part", "part.lua x", "part.py"])
def test_what_lies_elsewhere_is_not_included(package: Package, file: str) -> None:
    name = package(whole=f"-- @include {file}\n", part="")
    with pytest.raises(ValueError, match=r"whole\.lua includes '.*'; allowed are"):
        read_lua(name, "whole.lua")


def test_includes_are_listed_as_they_are_written() -> None:
    assert includes_of("-- @include b.lua\n  -- @include a.lua \nx()\n-- @includes c.lua\n") == ["b.lua", "a.lua"]
