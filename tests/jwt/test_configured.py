"""`JWTAuth`, the keys of others, the mirror and a token service as the environment describes them."""

import inspect
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware, JWTAuth, RedisManager, RevocationList, Settings
from asgi_redis_guard.errors import TokenRevoked
from asgi_redis_guard.jwt.jwks.foreign import ForeignVerifier
from asgi_redis_guard.jwt.jwks.source import JWKSKeys
from asgi_redis_guard.jwt.middleware import JWTAuthOptions
from asgi_redis_guard.jwt.revocation.mirror import Mirror
from asgi_redis_guard.jwt.service.options import TokenOptions
from asgi_redis_guard.jwt.service.token_service import TokenService
from asgi_redis_guard.jwt.signing import SigningKey
from asgi_redis_guard.stack import build_stack
from tests.drive import App, get
from tests.jwt.conftest import CountingManager
from tests.jwt.publisher import Publisher, key
from tests.jwt.services import ISSUER, claims_of, header_of
from tests.jwt.tokens import NOW, OTHER_SECRET, SECRET, bearer, private_pem, sign
from tests.redis.tools import within

KEY = SECRET.decode()
OTHER_KEY = OTHER_SECRET.decode()
REFRESH = "of refresh tokens: 32 bytes, or more"
SECOND_REFRESH = "another of refresh tokens, 32 bytes"
URL = "https://issuer.example/keys"

Told = Callable[..., None]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Set variables: `told(JWT_KEY=…)` is `GUARD_JWT_KEY`."""

    def say(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"GUARD_{name}", value)

    with monkeypatch.context():
        yield say


def guard(redis: RedisManager | None = None) -> JWTAuth:
    """The guard of the environment."""
    (found,) = build_stack(Settings(stack="jwt"), redis)
    assert isinstance(found, JWTAuth)
    return found


def keys_of(found: JWTAuth) -> JWKSKeys:
    """The published keys that it verifies with."""
    assert isinstance(found.verifier, ForeignVerifier)
    assert isinstance(found.verifier.source, JWKSKeys)
    return found.verifier.source


def faults() -> str:
    """Everything that is wrong with the guard of the environment."""
    with pytest.raises(ConfigurationError) as caught:
        build_stack(Settings(stack="jwt"))
    return "\n".join(caught.value.faults)


# The guard.


def test_every_plain_option_reaches_the_guard(told: Told) -> None:
    told(JWT_KEY=KEY, JWT_ALGORITHMS="HS256,HS512", JWT_ISSUER=ISSUER, JWT_AUDIENCE="a, b", JWT_LEEWAY="5")
    told(JWT_REQUIRED="exp,sub", JWT_SCOPES="read, write", JWT_MAX_LIFETIME="3600", JWT_TYP="at+jwt")
    told(JWT_OPTIONAL="yes", EXEMPT="/health", JWT_KEEP_SOCKETS="yes")
    told(JWT_COOKIE="token", JWT_ORIGINS="https://a.test", JWT_QUERY="token", JWT_SUBPROTOCOL="bearer")
    told(JWT_LEGACY="token:blacklist:{jti}, revoked:{iss}:{jti}", JWT_WITHOUT_JTI="refuse", JWT_ON_OUTAGE="open")
    told(JWT_MAX_AGE="60", JWT_MAX_SIZE="1024", JWT_CACHE_SIZE="7", JWT_REALM="shop")
    found = guard()
    rules = found.verifier.rules
    assert found.verifier.algorithms == ("HS256", "HS512")
    assert [set(names) for names in (rules.issuers, rules.audiences, rules.required)] == [
        {ISSUER},
        {"a", "b"},
        {"exp", "sub"},
    ]
    assert (rules.leeway, rules.typ, rules.max_lifetime) == (5, "at+jwt", 3600)
    assert (found._scopes, found._optional, found.exempt.patterns) == (("read", "write"), True, ("/health",))
    sources = found._sources
    assert (sources.cookie, sources.query, sources.subprotocol) == (b"token", "token", "bearer")
    assert found._origins == {"https://a.test"}
    assert found._legacy._forms == ("token:blacklist:{jti}", "revoked:{iss}:{jti}")
    assert (found._without_jti, found._closed, found._max_age) == ("refuse", False, None)
    assert found._sockets is None
    assert found._remembered.cache_parameters()["maxsize"] == 7
    assert any(b'realm="shop"' in value for _, value in found._challenges.missing().headers)


def test_every_option_that_is_plain_has_a_setting_with_the_same_default() -> None:
    """Functions and names are for code; a preflight is exempt for all guards of the environment."""
    signatures: list[tuple[str, Any, set[str]]] = [
        ("jwt_", JWTAuth, {"key", "keys", "on_refused", "name", "exempt", "exempt_preflight"}),
        ("jwt_", RevocationList, {"redis", "by_issuer", "wait_replicas"}),  # a guard revokes nothing
        ("jwt_jwks_", JWKSKeys, {"issuer", "algorithms", "context"}),
        ("token_", TokenService, {"redis", "keys", "refresh_keys", "revocation", "issuer", "clock", "claims", "hooks"}),
    ]
    for prefix, kind, code in signatures:
        for name, parameter in inspect.signature(kind).parameters.items():
            if name not in code:
                default = Settings.model_fields[prefix + name].default
                assert (default or None) == (parameter.default or None), (kind, name)
    assert set(JWTAuthOptions.__annotations__) <= set(inspect.signature(JWTAuth).parameters)
    assert set(TokenOptions.__annotations__) <= set(inspect.signature(TokenService).parameters)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("KEY", "short", "needs 32 or more"),
        ("ALGORITHMS", "none", "'none' given"),
        ("SCOPES", 'a"b', "allowed are printable ASCII"),
        ("ORIGINS", "example.com", "allowed are whole origins"),
        ("LEGACY", "blacklist", "{jti}"),
        ("WITHOUT_JTI", "ignore", "Input should be 'hash' or 'refuse'"),
        ("MAX_LIFETIME", "0", "allowed are"),
        ("ON_OUTAGE", "last_known", "GUARD_JWT_MODE=mirror"),
        ("MAX_AGE", "-1", "allowed are 0 to"),
        ("MAX_SIZE", "1", "allowed are 256 to"),
        ("CACHE_SIZE", "-1", "greater than or equal to 0"),
        ("REALM", 'a"b', "allowed is printable ASCII"),
        ("MODE", "local", "Input should be 'remote' or 'mirror'"),
        ("JWKS_URL", URL, "given beside GUARD_JWT_JWKS_URL"),
        ("DISCOVERY", "true", "given beside GUARD_JWT_DISCOVERY"),
        ("ISSUERS", "nonsense", "Expecting value"),
        ("ISSUERS", "[]", "valid dictionary"),
    ],
)
def test_a_fault_names_the_variable(told: Told, name: str, value: str, words: str) -> None:
    told(**{"JWT_KEY": KEY, f"JWT_{name}": value})
    said = faults()
    assert f"GUARD_JWT_{name}" in said
    assert words in said
    assert KEY not in said


# Keys of others.


def test_the_keys_of_an_issuer_are_told_by_a_url(told: Told) -> None:
    told(JWT_JWKS_URL=URL, JWT_ISSUER=ISSUER, JWT_ALGORITHMS="RS256,ES256", JWT_AUDIENCE="api")
    told(JWT_JWKS_LIFETIME="60", JWT_JWKS_LONGEST="120", JWT_JWKS_STALE_IF_ERROR="30", JWT_JWKS_COOLDOWN="2")
    told(JWT_JWKS_TIMEOUT="1.5", JWT_JWKS_MAX_SIZE="2048", JWT_JWKS_MAX_KEYS="3")
    keys = keys_of(guard())
    assert (keys.issuers, keys.algorithms, keys.timeout) == ((ISSUER,), ("RS256", "ES256"), 1.5)
    assert keys.remotes[ISSUER].url == URL
    terms = keys._terms
    assert (terms.lifetime, terms.longest, terms.stale_if_error, terms.cooldown) == (60, 120, 30, 2)
    assert (terms.max_size, terms.max_keys, terms.loopback_http) == (2048, 3, False)


def test_without_an_issuer_whoever_signs_with_the_keys_is_one(told: Told) -> None:
    told(JWT_JWKS_URL=URL)
    assert keys_of(guard()).issuers == ()


def test_an_issuer_is_asked_for_its_keys_only_where_that_is_said(told: Told) -> None:
    told(JWT_ISSUER=ISSUER)
    assert "GUARD_JWT_KEY" in faults()
    told(JWT_DISCOVERY="true")
    keys = keys_of(guard())
    assert keys.issuers == (ISSUER,)
    assert keys.remotes[ISSUER].discovers


def test_each_of_several_issuers_has_keys_of_its_own(told: Told) -> None:
    told(JWT_ISSUERS=json.dumps({"https://a.test": None, "b": URL}), JWT_ALGORITHMS="ES256")
    found = guard()
    keys = keys_of(found)
    assert {issuer: remote.url for issuer, remote in keys.remotes.items()} == {"https://a.test": None, "b": URL}
    assert found._several_issuers
    assert keys.algorithms == ("ES256",)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"JWKS_URL": "http://issuer.example"}, "jwks_url (GUARD_JWT_JWKS_URL): 'http://issuer.example' given"),
        ({"JWKS_URL": URL, "JWKS_TIMEOUT": "0"}, "jwks_timeout (GUARD_JWT_JWKS_TIMEOUT): 0.0 given"),
        ({"JWKS_URL": URL, "JWKS_LIFETIME": "0"}, "jwks_lifetime (GUARD_JWT_JWKS_LIFETIME): 0.0 given"),
        ({"JWKS_URL": URL, "JWKS_MAX_SIZE": "1"}, "jwks_max_size (GUARD_JWT_JWKS_MAX_SIZE): 1 given"),
        ({"JWKS_URL": URL, "ALGORITHMS": "HS256"}, "algorithms (GUARD_JWT_ALGORITHMS): 'HS256' given"),
        ({"JWKS_URL": URL, "DISCOVERY": "1", "ISSUER": ISSUER}, "(GUARD_JWT_JWKS_URL): given beside GUARD_JWT_DISC"),
        ({"DISCOVERY": "1"}, "discovery (GUARD_JWT_DISCOVERY): true given, but nobody to ask; GUARD_JWT_ISSUER"),
        ({"DISCOVERY": "1", "ISSUER": "me"}, "issuer (GUARD_JWT_ISSUER): 'me' given"),
        ({"ISSUERS": '{"a": "http://x.test"}'}, "issuers (GUARD_JWT_ISSUERS): 'http://x.test' given"),
        ({"ISSUERS": '{"me": null}'}, "issuers (GUARD_JWT_ISSUERS): 'me' given"),
        ({"ISSUERS": '{"a": "https://x.test"}', "ISSUER": "a"}, "issuer (GUARD_JWT_ISSUER): given beside GUARD_JWT_IS"),
        ({"ISSUERS": '{"a": "https://x.test"}', "KEY": KEY}, "key (GUARD_JWT_KEY): given beside GUARD_JWT_ISSUERS"),
    ],
)
def test_what_is_wrong_with_keys_of_others_names_their_variable(
    told: Told, variables: dict[str, str], words: str
) -> None:
    told(**{f"JWT_{name}": value for name, value in variables.items()})
    said = faults()
    assert words in said
    assert "REDIS_" not in said


async def test_tokens_of_others_are_let_in_by_the_environment_alone(told: Told, manager: CountingManager) -> None:
    async with Publisher() as publisher:
        publisher.publish(key())
        publisher.describe()
        told(STACK="jwt", JWT_DISCOVERY="true", JWT_ISSUER=publisher.issuer, JWT_JWKS_LOOPBACK_HTTP="true")
        app = GuardMiddleware(App(), redis=manager, clock=lambda: NOW)
        good = sign(algorithm="ES256", header={"kid": "a"}, iss=publisher.issuer)
        other = sign(algorithm="ES256", header={"kid": "a"}, iss="https://another.test")
        assert [(await get(app, headers=bearer(token))).status for token in (good, other)] == [200, 401]


# The mirror.


def test_a_mirror_is_held_where_the_environment_says_so(told: Told, manager: CountingManager) -> None:
    told(JWT_KEY=KEY, JWT_MODE="mirror", JWT_MAX_STALE="5", JWT_MAX_ENTRIES="10", JWT_MAX_LIFETIME="60")
    told(JWT_ON_OUTAGE="last_known", JWT_MAX_AGE="30")
    found = guard(manager)
    blacklist = found._mirror
    assert isinstance(blacklist, RevocationList)
    options = blacklist._options
    assert (options.max_stale, options.max_entries, options.longest) == (5, 10, 60_000)
    assert (found._max_age, found._closed, blacklist.by_issuer) == (30, True, False)
    assert blacklist._redis is manager


def test_a_token_service_writes_to_the_mirror_that_the_environment_describes(
    told: Told, manager: CountingManager
) -> None:
    told(TOKEN_KEY=KEY, TOKEN_REFRESH_KEY=REFRESH, TOKEN_ISSUER="me", JWT_MODE="mirror", JWT_MAX_STALE="5")
    tokens = TokenService.from_settings(redis=manager)
    assert (tokens.revocation.mode, tokens.revocation.redis) == ("mirror", manager)
    own = RevocationList(manager)
    assert TokenService.from_settings(redis=manager, revocation=own).revocation is own


def test_a_mirror_goes_by_issuer_where_there_are_several(told: Told) -> None:
    told(JWT_ISSUERS=json.dumps({"a": URL, "b": URL}), JWT_MODE="mirror")
    blacklist = guard()._mirror
    assert isinstance(blacklist, RevocationList)
    assert blacklist.by_issuer


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_STALE", "0", "max_stale (GUARD_JWT_MAX_STALE): 0.0 given"),
        ("MAX_ENTRIES", "0", "max_entries (GUARD_JWT_MAX_ENTRIES): 0 given"),
        ("REVOCATION", "false", "mode (GUARD_JWT_MODE): 'mirror' given, but GUARD_JWT_REVOCATION is false"),
        ("LEGACY", "gone:{jti}", "legacy (GUARD_JWT_LEGACY): given, but a mirror does not hear"),
    ],
)
def test_what_is_wrong_with_a_mirror_names_the_variable(told: Told, name: str, value: str, words: str) -> None:
    told(JWT_KEY=KEY, JWT_MODE="mirror", **{f"JWT_{name}": value})
    assert words in faults()


async def test_a_middleware_of_the_environment_answers_from_its_mirror(told: Told, manager: CountingManager) -> None:
    told(STACK="jwt", JWT_KEY=KEY, JWT_MODE="mirror")
    app = GuardMiddleware(App(), redis=manager, clock=lambda: NOW)
    token = bearer(sign())
    assert (await get(app, headers=token)).status == 200, "the first one asks Redis, and begins the mirror"
    asked = manager.round_trips
    (mirror,) = (one for one in manager.links.residents.values() if isinstance(one, Mirror))
    await within(mirror.ready())
    assert (await get(app, headers=token)).status == 200
    await RevocationList(manager).revoke("t-1", ttl=60)
    assert (await get(app, headers=token)).status == 401
    assert manager.round_trips == asked


def test_no_blacklist_is_asked_where_the_environment_says_so(told: Told) -> None:
    told(JWT_KEY=KEY, JWT_REVOCATION="false")
    assert not guard()._revocation


# A token service.


def service_faults(**options: Any) -> tuple[str, ...]:
    """Everything that is wrong with the service of the environment."""
    with pytest.raises(ConfigurationError) as caught:
        TokenService.from_settings(**options)
    return caught.value.faults


async def test_a_token_service_is_told_by_the_environment(told: Told, manager: CountingManager) -> None:
    told(TOKEN_KEY=private_pem("ed25519"), TOKEN_REFRESH_KEY=REFRESH, TOKEN_ISSUER=ISSUER, TOKEN_AUDIENCE="api, web")
    told(TOKEN_CLIENT="app", TOKEN_ACCESS_TTL="300", TOKEN_REFRESH_TTL="86400", TOKEN_LIFETIME="172800")
    told(TOKEN_GRACE="5", TOKEN_MAX_REPLAYS="3", TOKEN_LEEWAY="1", TOKEN_MAX_SIZE="2048", TOKEN_BY_ISSUER="true")
    told(TOKEN_WAIT_REPLICAS="0")
    tokens = TokenService.from_settings(redis=manager)
    options = tokens.options
    assert (options.audiences, options.default_client) == (("api", "web"), "app")
    assert (options.access_ttl, options.refresh_ttl, options.lifetime) == (300, 86_400, 172_800)
    assert (options.grace, options.max_replays, options.leeway, options.max_size) == (5, 3, 1, 2048)
    assert options.by_issuer
    assert options.wait_replicas == 0
    pair = await tokens.refresh((await tokens.issue("alice")).refresh_token)
    assert header_of(pair.access_token)["alg"] == "EdDSA"
    assert (claims_of(pair.access_token)["iss"], claims_of(pair.access_token)["client_id"]) == (ISSUER, "app")
    assert (await tokens.verify(pair.access_token)).user == "alice"


def test_what_only_code_can_say_stands_beside_the_environment_and_goes_before_it(
    told: Told, manager: CountingManager
) -> None:
    told(TOKEN_KEY=KEY, TOKEN_REFRESH_KEY=REFRESH, TOKEN_ISSUER=ISSUER, TOKEN_ACCESS_TTL="300")
    ring = SigningKey(OTHER_KEY, kid="mine")
    tokens = TokenService.from_settings(redis=manager, claims=lambda user: {}, access_ttl=60, keys=ring)
    assert tokens.options.claims is not None
    assert (tokens.options.access_ttl, tokens.keys.active.kid) == (60, "mine")
    told(TOKEN_KEY="", TOKEN_REFRESH_KEY="")
    assert TokenService.from_settings(redis=manager, keys=ring, refresh_keys=REFRESH).options.issuer == ISSUER


async def test_keys_are_rotated_by_the_environment_without_a_refused_token(
    told: Told, manager: CountingManager
) -> None:
    old, new = private_pem("p256"), private_pem("ed25519")
    told(TOKEN_KEY=old, TOKEN_UPCOMING_KEY=new, TOKEN_ISSUER=ISSUER, TOKEN_REFRESH_KEY=REFRESH)
    first = TokenService.from_settings(redis=manager)
    told(TOKEN_KEY=new, TOKEN_OLDER_KEY=old, TOKEN_UPCOMING_KEY="", TOKEN_REFRESH_KEY=SECOND_REFRESH)
    told(TOKEN_SECOND_REFRESH_KEY=REFRESH)
    second = TokenService.from_settings(redis=manager)
    pair = await first.issue("alice")
    assert (await second.verify(pair.access_token)).user == "alice"
    assert header_of((await second.refresh(pair.refresh_token)).access_token)["alg"] == "EdDSA"
    published = [{key["kid"] for key in one.public_jwks()["keys"]} for one in (first, second)]
    assert published[0] == published[1]
    assert len(published[0]) == 2


def test_an_algorithm_is_that_of_all_keys(told: Told, manager: CountingManager) -> None:
    told(TOKEN_KEY=KEY, TOKEN_OLDER_KEY=OTHER_KEY, TOKEN_ALGORITHM="HS512")
    told(TOKEN_ISSUER=ISSUER, TOKEN_REFRESH_KEY=REFRESH)
    assert TokenService.from_settings(redis=manager).keys.algorithms == ("HS512",)


def test_faults_of_a_service_name_their_variables_all_at_once_and_repeat_no_secret(
    told: Told, manager: CountingManager
) -> None:
    names = ["key (GUARD_TOKEN_KEY)", "issuer (GUARD_TOKEN_ISSUER)", "refresh_keys (GUARD_TOKEN_REFRESH_KEY)"]
    assert [fault.partition(":")[0] for fault in service_faults()] == names
    told(TOKEN_KEY="too short", TOKEN_OLDER_KEY="also short", TOKEN_REFRESH_KEY="shorter", TOKEN_GRACE="-1")
    said = service_faults(redis=manager)
    names.insert(1, "older_key (GUARD_TOKEN_OLDER_KEY)")
    names.insert(3, "grace (GUARD_TOKEN_GRACE)")
    assert [fault.partition(":")[0] for fault in said] == names
    assert said[-1].endswith("a secret of 7 bytes given; allowed are 32 or more")
    told(TOKEN_KEY=KEY, TOKEN_OLDER_KEY=KEY, TOKEN_REFRESH_KEY=REFRESH, TOKEN_GRACE="1", TOKEN_ISSUER=ISSUER)
    (twice,) = service_faults(redis=manager)
    assert twice.startswith("keys (GUARD_TOKEN_KEY): two with the kid")
    told(TOKEN_OLDER_KEY="", JWT_MODE="mirror", JWT_MAX_STALE="0")
    (stale,) = service_faults(redis=manager)
    assert stale.startswith("max_stale (GUARD_JWT_MAX_STALE): 0.0 given")
    for secret in ("too short", "also short", "shorter", KEY, REFRESH):
        assert secret not in "\n".join((*said, twice, stale))


def test_settings_that_are_given_are_those_of_the_service_and_of_its_redis() -> None:
    settings = Settings(url="memory://", token_key=KEY, token_refresh_key=REFRESH, token_issuer=ISSUER)
    tokens = TokenService.from_settings(settings)
    assert tokens._redis is RedisManager.shared(settings)
    assert KEY not in f"{settings!r} {tokens!r}"


async def test_one_environment_describes_a_service_and_the_guard_of_its_tokens(
    told: Told, manager: CountingManager
) -> None:
    told(STACK="jwt", TOKEN_KEY=private_pem("ed25519"), TOKEN_REFRESH_KEY=REFRESH, TOKEN_ISSUER=ISSUER)
    told(TOKEN_AUDIENCE="api", JWT_MODE="mirror", JWT_SCOPES="read", EXEMPT="/login")
    tokens, app = TokenService.from_settings(redis=manager), GuardMiddleware(App(), redis=manager)
    pair, poor = await tokens.issue("alice", scopes="read"), await tokens.issue("alice")
    fields = bearer(pair.access_token.encode())
    assert [(await get(app, path)).status for path in ("/", "/login")] == [401, 200]
    assert (await get(app, headers=bearer(poor.access_token.encode()))).status == 403
    assert (await get(app, headers=fields)).status == 200
    (mirror,) = (one for one in manager.links.residents.values() if isinstance(one, Mirror))
    await within(mirror.ready())
    assert (await tokens.verify(pair.access_token)).user == "alice"
    await tokens.revoke_family(pair.family)
    asked = manager.round_trips
    assert (await get(app, headers=fields)).status == 401
    with pytest.raises(TokenRevoked):
        await tokens.verify(pair.access_token)
    assert manager.round_trips == asked, "guard and service have one mirror"


def test_a_guard_of_the_service_takes_from_the_environment_only_what_is_told(told: Told) -> None:
    told(TOKEN_KEY=KEY, TOKEN_REFRESH_KEY=REFRESH, TOKEN_ISSUER=ISSUER, TOKEN_LEEWAY="7", JWT_COOKIE="token")
    found = guard()
    assert (found.verifier.rules.leeway, found.verifier.rules.typ) == (7, "at+jwt")
    assert (set(found.verifier.rules.audiences), found._sources.cookie) == ({ISSUER}, b"token")
    told(JWT_LEEWAY="0", JWT_AUDIENCE="api", JWT_REVOCATION="no")
    found = guard()
    assert (found.verifier.rules.leeway, set(found.verifier.rules.audiences)) == (0, {"api"})
    assert not found._revocation


@pytest.mark.parametrize("name", ["ISSUER", "ALGORITHMS"])
def test_what_is_told_of_other_tokens_is_not_taken_for_those_of_the_service(told: Told, name: str) -> None:
    told(TOKEN_KEY=KEY, TOKEN_REFRESH_KEY=REFRESH, TOKEN_ISSUER=ISSUER, **{f"JWT_{name}": "HS512"})
    assert "GUARD_JWT_KEY" in faults()


def test_faults_of_the_service_are_those_of_its_guard(told: Told) -> None:
    told(TOKEN_KEY=KEY, TOKEN_REFRESH_KEY=REFRESH, TOKEN_GRACE="-1")
    said = faults()
    assert "issuer (GUARD_TOKEN_ISSUER): None given" in said
    assert "grace (GUARD_TOKEN_GRACE): -1.0 given" in said
