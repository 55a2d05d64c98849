"""Environment variables that look like options and are none."""

import pytest

from asgi_redis_guard import ConfigurationError, Settings


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("GUARD_JWT_AUDIENCES", "GUARD_JWT_AUDIENCE"),
        ("GUARD_JWT_OPTONAL", "GUARD_JWT_OPTIONAL"),
        ("GUARD_JWT_JWK_URL", "GUARD_JWT_JWKS_URL"),
        ("GUARD_JWT_DISCOVER", "GUARD_JWT_DISCOVERY"),
        ("GUARD_TOKENS_KEY", "GUARD_TOKEN_KEY"),
        ("GUARD_LIMIT", "GUARD_LIMITS"),
        ("GUARD_LIMITS_RULES", "GUARD_LIMIT_RULES"),
        ("GUARD_CONCURENCY", "GUARD_CONCURRENCY"),
        ("GUARD_SESSIONS_MAX_SESSIONS", "GUARD_SESSION_MAX_SESSIONS"),
        ("GUARD_SESSION_STATISTIC", "GUARD_SESSION_STATISTICS"),
        ("GUARD_SESSION_EVENT", "GUARD_SESSION_EVENTS"),
        ("GUARD_EVENT_RETENTION", "GUARD_EVENTS_RETENTION"),
    ],
)
def test_a_misspelt_option_is_a_fault_that_names_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch, typo: str, meant: str
) -> None:
    monkeypatch.setenv(typo, "x")
    with pytest.raises(ConfigurationError, match=f"{typo}: not an option; did you mean {meant}"):
        Settings()


def test_what_looks_like_no_option_is_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_TOWER_HEIGHT", "3")
    Settings()
