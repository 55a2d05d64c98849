"""`examples/tenants.py`: two tenants with the same user, on one server and on a cluster."""

import httpx
import pytest

from tests.cluster import Cluster
from tests.examples.conftest import Load, Serve, stack_of

ACME, BOLT = {"host": "acme.localhost"}, {"host": "bolt.localhost:8000"}


async def log_in(visitor: httpx.AsyncClient, tenant: dict[str, str], user: str = "alice") -> tuple[dict[str, str], str]:
    """Return header fields with a new token, and the refresh token."""
    response = await visitor.post("/login", params={"user": user}, headers=tenant)
    assert response.status_code == 200
    pair = response.json()
    return tenant | {"authorization": f"Bearer {pair['access_token']}"}, pair["refresh_token"]


async def status(visitor: httpx.AsyncClient, headers: dict[str, str]) -> int:
    return (await visitor.get("/me", headers=headers)).status_code


async def walk(visitor: httpx.AsyncClient) -> None:
    """A user of the same name at both; the one tenant's token, refresh token and log-out are nothing to the other."""
    acme, refresh = await log_in(visitor, ACME)
    bolt, bolts_refresh = await log_in(visitor, BOLT)
    assert (await visitor.get("/me", headers=acme)).json() == {"user": "alice", "tenant": "acme.localhost"}
    assert (await visitor.get("/me", headers=bolt)).json() == {"user": "alice", "tenant": "bolt.localhost"}
    refused = await visitor.get("/me", headers=acme | BOLT)
    assert refused.status_code == 401
    assert "another tenant's" in refused.headers["www-authenticate"]
    stolen = await visitor.post("/auth/refresh", headers=BOLT, data={"refresh_token": refresh})
    assert stolen.status_code == 400
    pair = (await visitor.post("/auth/refresh", headers=ACME, data={"refresh_token": refresh})).json()
    renewed = ACME | {"authorization": f"Bearer {pair['access_token']}"}
    assert (await visitor.get("/me", headers=renewed)).json()["tenant"] == "acme.localhost"
    assert (await visitor.post("/auth/logout", headers=renewed)).status_code == 204
    assert (await status(visitor, renewed), await status(visitor, acme)) == (401, 401)
    assert await status(visitor, bolt) == 200
    again = await visitor.post("/auth/refresh", headers=BOLT, data={"refresh_token": bolts_refresh})
    assert again.status_code == 200


async def test_a_user_of_one_tenant_is_nobody_at_another(load: Load, serve: Serve) -> None:
    app = load("tenants").app
    async with serve(app) as visitor:
        await walk(visitor)


async def test_log_out_everywhere_and_limits_are_those_of_one_tenant(load: Load, serve: Serve) -> None:
    app = load("tenants").app
    async with serve(app) as visitor:
        acme, _ = await log_in(visitor, ACME, "carol")
        other, _ = await log_in(visitor, ACME, "carol")
        bolt, _ = await log_in(visitor, BOLT, "carol")
        assert (await visitor.get("/me", headers=acme)).headers["ratelimit"].startswith('"minute";r=9;')
        assert (await visitor.get("/me", headers=bolt)).headers["ratelimit"].startswith('"minute";r=9;')
        ended = await visitor.post("/logout-everywhere", headers=acme)
        assert ended.json() == {"logins": 2}
        assert (await status(visitor, acme), await status(visitor, other)) == (401, 401)
        assert await status(visitor, bolt) == 200


async def test_nobody_invents_a_tenant(load: Load, serve: Serve) -> None:
    app = load("tenants").app
    async with serve(app) as visitor:
        response = await visitor.post("/login", params={"user": "alice"}, headers={"host": "evil.example"})
        assert response.status_code == 400


def test_guard_and_limit_are_one_stack(load: Load) -> None:
    app = load("tenants").app
    assert stack_of(app.build_middleware_stack()) == "<GuardMiddleware [jwt + ratelimit]"


async def test_it_is_the_same_on_a_cluster(load: Load, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cluster() as cluster:
        app = load("tenants", cluster.url).app
        async with serve(app) as visitor:
            await walk(visitor)
