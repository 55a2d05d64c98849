"""Every option by keyword, variable or `.env`; every fault at once; secrets nowhere."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.settings import Settings

SECRET = "Sw0rdf1sh"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of this machine counts, nor the `.env` of a folder above."""
    for name in os.environ:
        if name.startswith(("REDIS_", "GUARD_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def dotenv(text: str) -> None:
    Path(".env").write_text(text)


def test_without_anything_it_is_a_local_redis() -> None:
    settings = Settings()
    assert settings.redis_url == "redis://localhost:6379/0"
    assert (settings.timeout, settings.connection_timeout, settings.max_connections) == (0.5, 2.0, 50)
    assert (settings.prefix, settings.stack, settings.production) == ("guard:", (), False)


def test_redis_url_wins_over_the_private_one_and_that_over_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_HOST="parts")
    assert Settings().redis_url == "redis://parts:6379/0"
    set_all(monkeypatch, REDIS_PRIVATE_URL="redis://private")
    assert Settings().redis_url == "redis://private"
    set_all(monkeypatch, REDIS_URL="redis://public")
    assert Settings().redis_url == "redis://public"
    assert Settings(url="redis://keyword").redis_url == "redis://keyword"


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_URL="", REDIS_PRIVATE_URL="redis://private", REDIS_PORT="")
    assert Settings().redis_url == "redis://private"
    assert Settings().port == 6379


def test_the_parts_make_a_url_that_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_HOST="db.example", REDIS_PORT="6380", REDIS_USERNAME="a@b", REDIS_DB="3")
    set_all(monkeypatch, REDIS_PASSWORD="p/w?#@:", REDIS_SSL="true", REDIS_SSL_CA_CERTS="/ca dir/ca.pem")
    assert Settings().redis_url == ("rediss://a%40b:p%2Fw%3F%23%40%3A@db.example:6380/3?ssl_ca_certs=/ca%20dir/ca.pem")


def test_a_user_without_a_password_and_an_ipv6_host_are_written_as_urls_want_them() -> None:
    assert Settings(host="::1", username="bob").redis_url == "redis://bob@[::1]:6379/0"
    assert Settings(password="").redis_url == "redis://localhost:6379/0"


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("REDIS_POOL_SIZE", "max_connections"),
        ("REDIS_MAX_CONNECTIONS", "max_connections"),
        ("REDIS_TIMEOUT", "timeout"),
        ("REDIS_SOCKET_TIMEOUT", "timeout"),
        ("REDIS_CONNECTION_TIMEOUT", "connection_timeout"),
        ("REDIS_MAX_IN_FLIGHT", "max_in_flight"),
    ],
)
def test_numbers_have_their_variables_and_aliases(monkeypatch: pytest.MonkeyPatch, variable: str, option: str) -> None:
    set_all(monkeypatch, **{variable: "7"})
    assert getattr(Settings(), option) == 7


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("GUARD_STACK", "stack"),
        ("GUARD_LIMITS", "limits"),
        ("GUARD_EXEMPT", "exempt"),
        ("GUARD_TRUSTED_PROXIES", "trusted_proxies"),
        ("GUARD_JWT_ALGORITHMS", "jwt_algorithms"),
        ("GUARD_JWT_AUDIENCE", "jwt_audience"),
        ("GUARD_JWT_REQUIRED", "jwt_required"),
        ("GUARD_JWT_SCOPES", "jwt_scopes"),
        ("GUARD_JWT_ORIGINS", "jwt_origins"),
        ("GUARD_JWT_LEGACY", "jwt_legacy"),
        ("GUARD_TOKEN_AUDIENCE", "token_audience"),
        ("GUARD_LIMIT_KEY", "limit_key"),
        ("GUARD_LIMIT_BYPASS", "limit_bypass"),
        ("GUARD_CONCURRENCY_KEY", "concurrency_key"),
        ("GUARD_SESSION_PRINCIPAL", "session_principal"),
        ("GUARD_SESSION_ORIGINS", "session_origins"),
        ("GUARD_SESSION_EXEMPT", "session_exempt"),
        ("GUARD_CSRF_ORIGINS", "csrf_origins"),
    ],
)
def test_lists_are_split_at_commas_wherever_they_come_from(
    monkeypatch: pytest.MonkeyPatch, variable: str, option: str
) -> None:
    dotenv(f"{variable}=x, y\n")
    assert getattr(Settings(), option) == ("x", "y")
    set_all(monkeypatch, **{variable: "a, b,,c "})
    assert getattr(Settings(), option) == ("a", "b", "c")
    assert getattr(Settings(**{option: "d,e"}), option) == ("d", "e")
    assert getattr(Settings(**{option: ["f, g"]}), option) == ("f, g",)


def test_keywords_win_over_variables_and_those_over_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv("REDIS_TIMEOUT=1\nREDIS_DB=1\nREDIS_PORT=1\n")
    set_all(monkeypatch, REDIS_TIMEOUT="2", REDIS_DB="2")
    settings = Settings(timeout=3)
    assert (settings.timeout, settings.db, settings.port) == (3.0, 2, 1)


def test_an_alias_in_the_environment_wins_over_the_name_in_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv("REDIS_MAX_CONNECTIONS=1\n")
    set_all(monkeypatch, REDIS_POOL_SIZE="2")
    assert Settings().max_connections == 2


def test_none_as_a_keyword_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_URL="redis://public")
    assert Settings(url=None).redis_url == "redis://public"


def test_variables_that_everybody_has_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform sets PORT for the app, a shell has USERNAME; none of them is about Redis."""
    for name in Settings.model_fields:
        set_all(monkeypatch, **{name.upper(): "8000"})
    dotenv("".join(f"{name.upper()}=9000\n{name}=9000\n" for name in Settings.model_fields))
    settings = Settings()
    assert settings.redis_url == "redis://localhost:6379/0"
    assert settings.timeout == 0.5
    assert settings.stack == ()
    assert settings.env == "development"


def test_what_else_is_in_dotenv_is_no_fault() -> None:
    dotenv("OTHER=1\nREDIS_OTHER=1\nREDIS_PORT=7000\n")
    assert Settings().port == 7000


@pytest.mark.parametrize(("env", "production"), [("production", True), ("PROD", True), ("staging", False)])
def test_production_is_what_guard_env_says(monkeypatch: pytest.MonkeyPatch, env: str, production: bool) -> None:
    set_all(monkeypatch, GUARD_ENV=env)
    assert Settings().production is production


def test_all_faults_come_at_once_with_option_variable_and_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_PORT="99999", GUARD_LIMIT_ALGORITHM="guess")
    dotenv("REDIS_SOCKET_TIMEOUT=soon\n")
    with pytest.raises(ConfigurationError) as caught:
        Settings(max_connections=0, jwt_on_outage="maybe", no_such_option=1)
    faults = caught.value.faults
    assert len(faults) == 6
    told = "\n".join(faults)
    for words in (
        "port (REDIS_PORT): ",
        "less than or equal to 65535; given: '99999'",
        "timeout (REDIS_TIMEOUT, REDIS_SOCKET_TIMEOUT): ",
        "given: 'soon'",
        "max_connections (REDIS_MAX_CONNECTIONS, REDIS_POOL_SIZE): ",
        "greater than or equal to 1; given: 0",
        "limit_algorithm (GUARD_LIMIT_ALGORITHM): Input should be 'gcra', 'leaky', 'fixed', 'counter', 'log' or "
        "'calendar'; given: 'guess'",
        "jwt_on_outage (GUARD_JWT_ON_OUTAGE): Input should be 'open', 'closed' or 'last_known'; given: 'maybe'",
        "no_such_option: no such option",
    ):
        assert words in told


@pytest.mark.parametrize(
    "name",
    [
        *("url", "password", "jwt_key", "csrf_key", "csrf_second_key"),
        *("token_key", "token_older_key", "token_upcoming_key", "token_refresh_key", "token_second_refresh_key"),
    ],
)
@pytest.mark.parametrize("wrong", [[SECRET], {SECRET: 1}, SECRET.encode() + b"\xff"])
def test_a_secret_of_the_wrong_type_is_not_repeated(name: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings(**{name: wrong})
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.faults}"
    assert "given: ***" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_secrets_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_URL=f"redis://:{SECRET}@host", REDIS_PASSWORD=SECRET, GUARD_JWT_KEY=SECRET)
    settings = Settings()
    assert SECRET in settings.redis_url
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    set_all(monkeypatch, REDIS_PORT="wrong")
    with pytest.raises(ConfigurationError) as caught:
        Settings()
    assert SECRET not in f"{caught.value!r}"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().timeout = 3


def test_nothing_is_read_before_settings_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_DB="5")
    assert Settings().db == 5
    monkeypatch.delenv("REDIS_DB")
    assert Settings().db == 0


def test_sentinels_may_be_told_by_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_SENTINELS="s1:26379, s2", REDIS_SENTINEL_SERVICE="db", REDIS_PASSWORD="p@")
    set_all(monkeypatch, REDIS_SENTINEL_USERNAME="watch", REDIS_SENTINEL_PASSWORD="a&b", REDIS_SENTINEL_SSL="yes")
    where = "redis+sentinel://:p%40@s1:26379,s2/db/0"
    assert Settings().redis_url == f"{where}?sentinel_username=watch&sentinel_password=a%26b&sentinel_ssl=true"
    assert SECRET not in repr(Settings(sentinel_password=SECRET))


def test_options_of_tls_are_added_to_a_url_that_does_not_say_them(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, REDIS_SSL_CA_CERTS="/a.pem", REDIS_SSL_CHECK_HOSTNAME="no", REDIS_SSL_MIN_VERSION="1.3")
    set_all(monkeypatch, REDIS_URL="rediss://db?ssl_ca_certs=/b.pem")
    assert Settings().redis_url == "rediss://db?ssl_ca_certs=/b.pem&ssl_check_hostname=false&ssl_min_version=1.3"
    assert Settings(url="redis://db").redis_url == "redis://db"
    assert Settings(url="rediss+cluster://a,b").redis_url.startswith("rediss+cluster://a,b?ssl_ca_certs=/a.pem&")
