"""Names of tokens, issuers and users of any characters: each revokes itself and nobody else."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard import GuardMiddleware, JWTAuth, RedisManager, Revocation, RevocationList
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, bearer, sign

text = st.text(max_size=12)
ids = st.tuples(text, st.text(min_size=1, max_size=12) | st.binary(min_size=1, max_size=32))


@settings(max_examples=150, deadline=None)
@given(st.sets(ids, min_size=1, max_size=6), st.sets(ids, max_size=6))
def test_any_names_are_kept_apart(revoked: set[tuple[str, str | bytes]], others: set[tuple[str, str | bytes]]) -> None:
    async def run() -> None:
        async with RedisManager("memory://") as manager:
            revocations = RevocationList(manager, by_issuer=True)
            added = await revocations.revoke_many([Revocation(jti, ttl=60, issuer=iss) for iss, jti in revoked])
            assert added == len(revoked)
            for iss, jti in revoked | others:
                assert await revocations.is_revoked(jti, issuer=iss) is ((iss, jti) in revoked)
            for iss, jti in revoked:
                assert await revocations.unrevoke(jti, issuer=iss)
            assert (await revocations.stats())["revoked"] == 0

    asyncio.run(run())


@settings(max_examples=100, deadline=None)
@given(iss=text, jti=st.text(min_size=1, max_size=12), sub=text, by_user=st.booleans(), nobody=text)
def test_the_guard_asks_for_the_name_that_was_revoked(iss: str, jti: str, sub: str, by_user: bool, nobody: str) -> None:
    async def run() -> None:
        async with RedisManager("memory://") as manager:
            guard = JWTAuth(SECRET, issuer=[iss, iss + "x"], max_size=65_536)
            app = GuardMiddleware(App(), [guard], redis=manager, clock=lambda: NOW)
            revocations = RevocationList(manager, by_issuer=True)
            if by_user:
                await revocations.revoke_user(sub, before=NOW, issuer=iss)
            else:
                await revocations.revoke(jti, ttl=60, issuer=iss)

            async def status(**more: str) -> int:
                return (await get(app, headers=bearer(sign(**{"iss": iss, "jti": jti, "sub": sub, **more})))).status

            assert await status() == (401 if not by_user or sub else 200)
            assert await status(iss=iss + "x") == 200
            if nobody != (sub if by_user else jti) and nobody:
                assert await status(**{"sub" if by_user else "jti": nobody}) == 200

    asyncio.run(run())
