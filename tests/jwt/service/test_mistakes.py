"""What a token service says to those who are new to it: each mistake at once, in words, by its option's name."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from asgi_redis_guard import (
    ConfigurationError,
    CookieTransport,
    JWKSKeys,
    JWTAuth,
    RedisManager,
    RevocationList,
    TokenRoutes,
    TokenService,
)
from tests.jwt.routes.visits import post
from tests.jwt.services import REFRESH_KEY, service
from tests.jwt.tokens import SECRET

PASSWORD = serialization.BestAvailableEncryption(b"a password")
ENCRYPTED = ed25519.Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, PASSWORD
)
ESCAPED = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIA==\\n-----END PRIVATE KEY-----\\n"
DESCRIPTION = "https://login.example/.well-known/openid-configuration"


@pytest.fixture
def redis() -> RedisManager:
    """A manager that is never connected."""
    return RedisManager("memory://")


def said(make: Callable[[], object], error: type[Exception] = ConfigurationError) -> str:
    with pytest.raises(error) as caught:
        make()
    return str(caught.value)


async def told(call: Any, error: type[Exception]) -> str:
    with pytest.raises(error) as caught:
        await call
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hooks": print}, "hooks: <built-in function print> given; allowed is a list"),
        ({"audience": None}, "audience: None given; allowed is a list"),
        ({"revocation": True}, "revocation: True given; allowed is a RevocationList of the same manager"),
        ({"refresh_ttl": 600, "access_ttl": 900}, "refresh_ttl: 600 given; allowed are 900 (access_ttl) + 10 (leeway)"),
        ({"refresh_ttl": 8_640_000}, "lifetime: 7776000 given; allowed are 8640000 (refresh_ttl) seconds or more"),
        (
            {"refresh_keys": SECRET},
            "refresh_keys: a secret given that access tokens are signed with; allowed is another",
        ),
        ({"refresh_keys": [REFRESH_KEY, SECRET]}, "refresh_keys: a secret given that access tokens are signed with"),
    ],
)
def test_options_of_a_service(redis: RedisManager, options: dict[str, Any], words: str) -> None:
    assert words in said(lambda: service(redis, **options))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            [SECRET],
            "key: a list given; allowed are a secret, a private key as PEM text, and a private JWK; several stand",
        ),
        (ENCRYPTED, "key: PEM given that is no readable key or certificate; it is encrypted"),
        (ESCAPED, 'key: PEM given that is no readable key or certificate; its lines end with the characters "\\n"'),
    ],
)
def test_keys_of_a_service(redis: RedisManager, keys: Any, words: str) -> None:
    assert words in said(lambda: service(redis, keys))


def test_a_service_without_an_issuer_asks_for_one(redis: RedisManager) -> None:
    make: Any = TokenService
    assert "needs the option 'issuer'" in said(lambda: make(redis, SECRET, refresh_keys=REFRESH_KEY), TypeError)


def test_keys_that_are_taken_later_are_not_those_of_refresh_tokens(redis: RedisManager) -> None:
    tokens = service(redis)
    assert "refresh_keys: a secret given" in said(lambda: tokens.use_keys(REFRESH_KEY))
    assert tokens.keys.secrets() == [SECRET]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cookie": True}, "cookie (GUARD_JWT_COOKIE): True given; allowed is the name of a cookie"),
        ({"cookie": "a b"}, "cookie (GUARD_JWT_COOKIE): 'a b' given; allowed is the name of a cookie"),
        ({"revocation": None}, "revocation: None given; allowed are true, false and a RevocationList"),
    ],
)
def test_options_of_its_guard(redis: RedisManager, options: dict[str, Any], words: str) -> None:
    assert words in said(lambda: service(redis).guard(**options))


def test_a_guard_that_is_given_a_service_or_a_url_as_a_key(redis: RedisManager) -> None:
    make: Any = JWTAuth
    assert "key (GUARD_JWT_KEY): a TokenService given" in said(lambda: make(service(redis)))
    assert "keys: a str given; allowed are JWKSKeys" in said(lambda: make(keys="https://login.example/jwks.json"))


@pytest.mark.parametrize("options", [{"issuer": DESCRIPTION}, {"url": DESCRIPTION}, {"url": {DESCRIPTION: None}}])
def test_the_description_of_an_issuer_is_not_the_issuer(options: dict[str, Any]) -> None:
    words = said(lambda: JWKSKeys(**options))
    assert "the URL of an issuer's description given; issuer='https://login.example' finds it" in words


def test_routes_of_something_else_and_those_that_would_not_be_there(redis: RedisManager) -> None:
    make: Any = TokenRoutes
    assert "tokens: RedisManager given; allowed is a TokenService" in said(lambda: make(redis))
    words = said(lambda: make(service(redis), endpoints=["introspect"]))
    assert "endpoints: 'introspect' given; it needs introspection=" in words


async def test_a_login_that_is_not_awaited(redis: RedisManager) -> None:
    routes, login = TokenRoutes(service(redis), cookie=CookieTransport()), service(redis).issue("alice")
    given: Any = login
    calls: list[Callable[[], object]] = [lambda: routes.login(given), lambda: routes.cookies(given)]
    for call in calls:
        assert "pair: a coroutine given; allowed is a TokenPair, as `await" in said(call, TypeError)
    login.close()


async def test_a_cookie_that_does_not_reach_where_the_routes_are_mounted(redis: RedisManager) -> None:
    cookie = CookieTransport("__Secure-refresh", path="/elsewhere")
    answer = await post(TokenRoutes(service(redis), cookie=cookie), "/refresh")
    assert answer.status == 400
    assert "There is no refresh token: no cookie __Secure-refresh has come with this path" in answer.body.decode()


@pytest.mark.parametrize("token", [None, 7, ("access", "refresh")])
async def test_what_is_no_text_for_a_token(redis: RedisManager, token: Any) -> None:
    tokens = service(redis)
    for call in (tokens.verify, tokens.refresh, tokens.revoke):
        words = f"token: a {type(token).__name__} given; allowed is the text of a token"
        assert words in await told(call(token), TypeError)


async def test_what_cannot_be_said_of_a_user(redis: RedisManager) -> None:
    tokens, none = service(redis), service(redis, claims=lambda user: ["admin"])
    claims: Any = ["admin"]
    assert "claims: a list given; allowed is a mapping" in await told(tokens.issue("alice", claims), ValueError)
    assert "claims: a list given; allowed is a mapping" in await told(none.issue("alice"), ValueError)
    scopes: Any = None
    assert "scopes: None given; allowed are" in await told(tokens.issue("alice", scopes=scopes), ValueError)


async def test_a_whole_token_is_not_revoked_by_the_name_of_one(redis: RedisManager) -> None:
    tokens = service(redis)
    access = (await tokens.issue("alice")).access_token
    for call in (tokens.revoke_id(access), RevocationList(redis).revoke(access), tokens.revoke_many([access])):
        assert "jti: a whole token given; allowed is its claim `jti`" in await told(call, ValueError)


async def test_a_life_in_place_of_an_end(redis: RedisManager) -> None:
    for call in (RevocationList(redis).revoke("t", 900), service(redis).revoke_id("t", 900)):
        assert "expires_at: 900 given, in 1970; for seconds from now there is ttl" in await told(call, ValueError)


async def test_a_typo_in_what_is_kept_with_a_revocation(redis: RedisManager) -> None:
    tokens: Any = service(redis)
    pair = await tokens.issue("alice")
    calls = (tokens.revoke_user("alice", reson="x"), tokens.revoke(pair.access_token, reson="x"))
    for call in calls:
        assert "no option 'reson'; there are reason, actor, ip" in await told(call, TypeError)
    assert (await tokens.verify(pair.access_token)).user == "alice"


async def test_a_date_as_text(redis: RedisManager) -> None:
    tokens: Any = service(redis)
    assert "time: '2026-01-01' given; allowed are seconds" in await told(
        tokens.revoke_all_before("2026-01-01"), TypeError
    )
