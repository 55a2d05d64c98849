"""The package lies as the design says: layers, purity, sizes, Lua with contracts, and a wheel with everything in it."""

import ast
import inspect
import re
import subprocess
import sys
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hatchling.builders.wheel import WheelBuilder

import asgi_redis_guard
from asgi_redis_guard import CSRF, ConcurrencyLimit, JWTAuth, RedisManager, Sessions
from asgi_redis_guard.core.lua import includes_of, read_lua
from asgi_redis_guard.core.script import OperationKind, place_of
from asgi_redis_guard.idempotency.guard import Idempotency
from asgi_redis_guard.idempotency.middleware import IdempotencyOptions
from asgi_redis_guard.jwt.middleware import JWTAuthOptions
from asgi_redis_guard.locks.options import Options as RouteLockChoices
from asgi_redis_guard.locks.options import RouteLockOptions
from asgi_redis_guard.ratelimit.concurrency_middleware import ConcurrencyLimitOptions
from asgi_redis_guard.ratelimit.options import Options, RateLimitOptions
from asgi_redis_guard.redis.program import Script, program_of
from asgi_redis_guard.sessions.csrf_middleware import CSRFOptions
from asgi_redis_guard.sessions.middleware import SessionOptions
from tests.redis.tools import PATIENCE

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "asgi_redis_guard"
MODULES = sorted(PACKAGE.rglob("*.py"))
LUA = sorted(PACKAGE.rglob("*.lua"))
OPERATIONS = [path for path in LUA if "-- @check\n" in path.read_text("utf-8")]
#: What others include.
PARTS = sorted({path.parent / name for path in LUA for name in includes_of(path.read_text("utf-8"))})
SCRIPTS = [path for path in LUA if path not in OPERATIONS and path not in PARTS]

#: These decide and never do I/O: time, randomness and the network come in as arguments.
PURE = [
    path
    for path in MODULES
    if path.parent.name == "core"
    or path.name in ("guard.py", "policy.py", "freshness.py", "vary.py")
    or re.search(r"\bPure\b", path.read_text("utf-8").partition("from __future__")[0])
]
IMPURE_MODULES = {
    "asyncio",
    "socket",
    "redis",
    "hiredis",
    "time",
    "random",
    "secrets",
    "uuid",
    "threading",
    "subprocess",
}
IMPURE_NAMES = {"now", "utcnow", "today", "environ", "getenv", "urandom", "open", "print", "input"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def package_of(path: Path) -> str:
    return ".".join(path.parent.relative_to(ROOT).parts)


def lua_of(path: Path) -> str:
    """A Lua file with all that it includes."""
    return read_lua(package_of(path), path.name)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports_of(tree: ast.Module) -> Iterator[str]:
    """The first parts of the names of all modules from outside that are imported, anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]


def names_used_in(tree: ast.Module) -> Iterator[str]:
    """The names that are read as attributes or called, or imported by themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "exchange")):
                yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def test_the_layers_are_those_of_the_contracts() -> None:
    lint = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: \d+ kept, 0 broken", done.stdout)


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_pure_modules_know_neither_the_time_nor_chance_nor_the_network(path: Path) -> None:
    tree = tree_of(path)
    assert IMPURE_MODULES.isdisjoint(imports_of(tree))
    assert IMPURE_NAMES.isdisjoint(names_used_in(tree))


def test_there_are_pure_modules_of_every_kind() -> None:
    assert {"rounds.py", "guard.py", "policy.py"} <= {path.name for path in PURE}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short_and_nothing_is_asserted(path: Path) -> None:
    tree = tree_of(path)
    assert len(path.read_text("utf-8").splitlines()) <= 400
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


@pytest.mark.parametrize("path", [path for path in MODULES if path.read_text("utf-8").strip()], ids=name_of)
def test_a_file_s_first_lines_say_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


@pytest.mark.parametrize("name", asgi_redis_guard.__all__)
def test_public_names_and_their_methods_are_documented(name: str) -> None:
    public = getattr(asgi_redis_guard, name)
    if not inspect.isroutine(public) and not inspect.isclass(public):  # a constant or an alias takes a comment
        assert [path for path in MODULES if re.search(rf"^#: .*\n{name} = ", path.read_text("utf-8"), re.M)]
        return
    assert public.__doc__
    for attribute, value in vars(public).items():
        if not attribute.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
            assert inspect.getdoc(getattr(public, attribute)), attribute


def test_public_names_are_sorted_and_each_is_there_once() -> None:
    names = asgi_redis_guard.__all__
    assert names == sorted(set(names), key=_in_order)
    public = {name for name, value in vars(asgi_redis_guard).items() if not name.startswith("_")}
    assert set(names) == public - {name for name in public if inspect.ismodule(getattr(asgi_redis_guard, name))}


def _in_order(name: str) -> tuple[bool, bool, str]:
    """Constants first, then classes, then functions, as the linter has it."""
    return (not name.isupper(), not name[0].isupper(), name)


@pytest.mark.parametrize(
    ("options", "guard"),
    [
        (JWTAuthOptions, JWTAuth),
        (RateLimitOptions, Options),
        (ConcurrencyLimitOptions, ConcurrencyLimit),
        (IdempotencyOptions, Idempotency),
        (SessionOptions, Sessions),
        (CSRFOptions, CSRF),
        (RouteLockOptions, RouteLockChoices),
    ],
)
def test_a_middleware_takes_exactly_the_options_of_its_guard(options: Any, guard: Any) -> None:
    taken = get_type_hints(guard.__init__)
    parameters = inspect.signature(guard).parameters.values()
    keywords = [one.name for one in parameters if one.kind is not inspect.Parameter.VAR_POSITIONAL]
    keywords = [name for name in keywords if name != "amount"]  # the middleware takes it in front of its options
    assert get_type_hints(options) == {name: taken[name] for name in keywords}


@pytest.mark.parametrize("path", [*OPERATIONS, *SCRIPTS], ids=name_of)
def test_lua_looks_at_no_key_that_it_was_not_given_and_uses_what_all_servers_have(path: Path) -> None:
    source = lua_of(path)
    commands = {name.upper() for name in re.findall(r"call\(\s*['\"](\w+)['\"]", source)}
    assert commands
    assert not commands & {"KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "RANDOMKEY", "FLUSHDB", "FLUSHALL"}
    assert not re.search(r"\b(cmsgpack|bit|struct)\.", source)
    assert not source.startswith("#!")


@pytest.mark.parametrize("path", OPERATIONS, ids=name_of)
def test_an_operation_keeps_its_contract(path: Path) -> None:
    source = lua_of(path)
    kind = OperationKind.load(package_of(path), path.name)
    assert kind.name == f"{path.relative_to(PACKAGE).parts[0]}.{path.stem}"
    assert "redis.call" not in source, "a failure has to stay in its own slot"
    assert "redis.pcall" not in source
    for name in (*kind.keys, *kind.args):
        assert re.search(rf"\b{name}\b", kind.check + kind.commit), f"{name} is not used"
    for name in kind.returns:
        assert re.search(rf"\b{name}\b", kind.check), f"{name} is never set"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_pattern_repeats_a_group_possessively(path: Path) -> None:
    """Python before 3.11.5 matches those wrongly (gh-106052); of single characters they are fine."""
    with path.open("rb") as file:
        strings = [token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.STRING]
    patterns = [text for text in strings if "r" in re.split("['\"]", text.lower(), maxsplit=1)[0]]
    assert [text for text in patterns if re.search(r"(?<!\\)\)[*+?]\+|\(\?>", text)] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_service_s_script_says_what_it_does_and_what_it_takes(path: Path) -> None:
    head = path.read_text("utf-8").split("\nlocal ", 1)[0].splitlines()
    assert all(line.startswith("--") for line in head)
    assert re.match(r"-- [A-Z].*[.:]$", head[0])
    assert [line for line in head if line.startswith("-- KEYS: 1 = ")]
    assert [line for line in head if line.startswith("-- returns: ")]


@pytest.mark.parametrize("path", PARTS, ids=name_of)
def test_a_part_says_what_it_does_what_it_takes_and_what_it_sets(path: Path) -> None:
    first, takes, sets, *body = path.read_text("utf-8").splitlines()
    assert re.fullmatch(r"-- [A-Z].*\.", first)
    assert takes.startswith("-- takes: ")
    assert sets.startswith("-- sets: ")
    assert "-- @check" not in body, "an operation is no part of another"
    assert "-- @commit" not in body


async def test_all_lua_loads_on_every_server(backend: str) -> None:
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        for path in (*OPERATIONS, *SCRIPTS):
            source = lua_of(path)
            if path in OPERATIONS:
                source = program_of((place_of(True, (OperationKind.parse(source),)),)).source
            assert (await redis.client.script_load(source)) in (Script(source).sha, Script(source).sha.encode())


def test_the_wheel_has_the_lua_and_the_mark_of_a_typed_package(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("asgi_redis_guard/")}
    wanted = {path.relative_to(ROOT).as_posix() for path in (*MODULES, *LUA, PACKAGE / "py.typed")}
    assert packed == wanted
