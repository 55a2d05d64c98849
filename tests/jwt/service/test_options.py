"""The options of a token service: their defaults, and everything that is wrong with them at once."""

import inspect
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.service.options import Options, TokenOptions
from asgi_redis_guard.jwt.service.token_service import TokenService

ISSUER = "https://issuer.example"


def faults(**options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        Options(**{"issuer": ISSUER, **options})
    return caught.value.faults


def test_an_issuer_is_its_own_audience_and_client_unless_it_is_said() -> None:
    alone = Options(issuer=ISSUER)
    assert (alone.audiences, alone.default_client) == ((ISSUER,), ISSUER)
    other = Options(issuer=ISSUER, audience="api", client="web")
    assert (other.audiences, other.default_client) == (("api",), "web")
    assert Options(issuer=ISSUER, audience=["a", "b"]).audiences == ("a", "b")


def test_defaults_are_those_that_are_told() -> None:
    options = Options(issuer=ISSUER)
    assert (options.access_ttl, options.refresh_ttl, options.lifetime) == (600, 14 * 86_400, 90 * 86_400)
    assert (options.grace, options.max_replays, options.leeway) == (20, 100, 10)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("issuer", ""),
        ("issuer", None),
        ("issuer", "x" * 256),
        ("audience", [""]),
        ("audience", ["fine", 7]),
        ("client", "a\nb"),
        ("access_ttl", 0),
        ("access_ttl", 31 * 86_400),
        ("access_ttl", True),
        ("access_ttl", "600"),
        ("refresh_ttl", float("inf")),
        ("refresh_ttl", float("nan")),
        ("lifetime", -1),
        ("grace", 301),
        ("grace", -1),
        ("leeway", 601),
        ("max_replays", -1),
        ("max_replays", 1.5),
        ("max_size", 100),
        ("max_size", 1 << 20),
        ("claims", "roles"),
        ("hooks", [7]),
    ],
)
def test_a_fault_names_its_option_and_what_is_allowed(option: str, value: Any) -> None:
    (fault,) = faults(**{option: value})
    assert fault.startswith(f"{option}: ")
    assert "allowed" in fault


def test_a_hook_that_would_never_be_awaited_is_refused() -> None:
    async def hook(event: object) -> None: ...

    assert "not a coroutine function" in faults(hooks=[hook])[0]


def test_times_fit_into_each_other() -> None:
    assert "refresh_ttl: 600" in faults(refresh_ttl=600)[0]
    assert "lifetime: 1000" in faults(lifetime=1000)[0]
    assert "grace: 20" in faults(access_ttl=1, leeway=0, refresh_ttl=20, grace=20)[0]
    assert Options(issuer=ISSUER, access_ttl=600, leeway=10, refresh_ttl=610, lifetime=610)


def test_all_faults_are_told_at_once() -> None:
    assert len(faults(issuer="", audience=[7], access_ttl=0, grace=-1, max_replays=-1, claims=1, hooks=[1])) == 7


def test_an_option_that_there_is_not_is_named_with_the_one_that_was_meant() -> None:
    with pytest.raises(TypeError, match="a token service has no option 'access_tll'; did you mean 'access_ttl'"):
        Options.of({"issuer": ISSUER, "access_tll": 5})


def test_type_checkers_see_the_options_that_there_are() -> None:
    hints = get_type_hints(Options)
    assert get_type_hints(TokenOptions) == {option.name: hints[option.name] for option in fields(Options)}


def test_help_shows_the_options_that_there_are() -> None:
    shown = inspect.signature(TokenService).parameters
    assert list(shown) == [
        "redis",
        "keys",
        "refresh_keys",
        "revocation",
        "clock",
        *(option.name for option in fields(Options)),
    ]
    assert shown["access_ttl"].default == 600
