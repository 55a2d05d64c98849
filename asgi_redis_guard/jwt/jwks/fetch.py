"""Fetching JWK sets over HTTPS, for those who made the URLs known and nobody else.

Law: no redirect is followed, no coding undone, no more read than is allowed, and everything together takes no longer
than the timeout. What fails is noted on the keys and logged once per change, and never raised.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from .jwk_set import DocumentRefused, read_discovery, read_keys
from .remote_keys import RemoteKeys, Terms
from .url import is_loopback, url_faults

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("asgi_redis_guard.jwt")

#: Seconds that keys are kept at least, whatever their server says: fetching them for every request helps nobody.
_SHORTEST = 60.0

_MAX_AGE = re.compile(r'(?:^|[\s,])max-age\s*=\s*"?(\d{1,10})', re.IGNORECASE)
_NOT_KEPT = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b", re.IGNORECASE)

#: The part of a timeout that connecting may take, and the TLS handshake after it: httpcore leaves a connection that
#: is cancelled in its handshake to the garbage collector, so that the end of all time should not come there.
_CONNECT = 0.45

#: RFC 9110 §8.8.3; what is not one, or is very long, is not sent back.
_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,256}"')

_FIELDS = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}


class Fetcher:
    """Fetches sets of keys on the same terms. `context`: what certificates are checked against, None for the usual."""

    def __init__(self, terms: Terms, context: ssl.SSLContext | None) -> None:
        import httpx  # noqa: F401  (here, or the first fetch would hold the loop up)

        self._terms = terms
        self._context = context

    async def fetch(self, remote: RemoteKeys, clock: Callable[[], float]) -> None:
        """Fetch an issuer's keys; what came of it stands in `remote`."""
        import httpx

        failing = remote.failures > 0
        try:
            async with asyncio.timeout(self._terms.timeout), await self._client(remote) as client:
                await self._renew(client, remote, clock)
        except TimeoutError:
            self._note(remote, f"it took longer than {self._terms.timeout:g} s", clock())
        except DocumentRefused as error:
            self._note(remote, str(error), clock())
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            self._note(remote, f"{type(error).__name__}: {error}", clock())
        except Exception as error:  # what a client makes of hostile bytes
            logger.debug("an unexpected failure", exc_info=True)
            self._note(remote, type(error).__name__, clock())
        else:
            if failing:
                logger.info("the keys of %s are fetched again", remote.issuer or remote.url)

    def _note(self, remote: RemoteKeys, reason: str, now: float) -> None:
        remote.failed(reason, now)
        if remote.failures == 1:
            doing = "those that are known serve on" if remote.serves(now) else "none are known"
            logger.warning(
                "the keys of %s were not to be had, %s: %s", remote.issuer or remote.url, doing, remote.reason
            )

    async def _client(self, remote: RemoteKeys) -> httpx.AsyncClient:
        """Return a client of one fetch; a proxy is used where the environment names one (`HTTPS_PROXY`)."""
        import httpx

        if self._context is None:  # reads the authorities' certificates, which takes its time
            self._context = await asyncio.to_thread(httpx.create_ssl_context)
        return httpx.AsyncClient(
            verify=self._context,
            timeout=httpx.Timeout(self._terms.timeout, connect=self._terms.timeout * _CONNECT),
            follow_redirects=False,
            trust_env=not is_loopback(remote.url or remote.issuer),
            headers=_FIELDS,
        )

    async def _renew(self, client: httpx.AsyncClient, remote: RemoteKeys, clock: Callable[[], float]) -> None:
        url = remote.url
        if url is None or (remote.discovers and remote.failures):  # they may have moved
            url = await self._discover(client, remote)
        fields = {"if-none-match": remote.etag} if remote.etag is not None and remote.held is not None else {}
        sent = clock()
        async with client.stream("GET", url, headers=fields, follow_redirects=False) as response:
            life = self._life(response)
            if response.status_code == 304 and fields:
                remote.unchanged(sent, life)
                return
            body = await self._read(response)
            keys = read_keys(body, self._terms.algorithms, self._terms.max_keys)
            etag = response.headers.get("etag", "")
            remote.arrived(keys, sha256(body).digest(), etag if _ETAG.fullmatch(etag) else None, sent, life)

    async def _discover(self, client: httpx.AsyncClient, remote: RemoteKeys) -> str:
        """Ask the issuer where its keys are (OpenID Connect Discovery 1.0 §4)."""
        described = f"{remote.issuer.rstrip('/')}/.well-known/openid-configuration"
        async with client.stream("GET", described, follow_redirects=False) as response:
            url = read_discovery(await self._read(response), remote.issuer)
        if url_faults("jwks_uri", url, self._terms.loopback_http):
            raise DocumentRefused("it names a place for the keys (jwks_uri) that is not allowed")
        remote.moved(url)
        return url

    async def _read(self, response: httpx.Response) -> bytes:
        """Read a body piece by piece; raises `DocumentRefused` as soon as it is none that may be taken."""
        if response.status_code != 200:
            raise DocumentRefused(f"the status is {response.status_code}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise DocumentRefused("it is compressed, which was not asked for")
        most, body = self._terms.max_size, bytearray()
        declared = response.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > most:
            raise DocumentRefused(f"it has {declared} bytes; {most} are the most that are taken")
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > most:
                raise DocumentRefused(f"it has more than {most} bytes")
        return bytes(body)

    def _life(self, response: httpx.Response) -> float:
        """Return how long what was answered holds (RFC 9111 §4.2): as its server says, within bounds."""
        control = response.headers.get("cache-control", "")
        told = _MAX_AGE.search(control)
        shortest = min(_SHORTEST, self._terms.lifetime)
        if _NOT_KEPT.search(control):
            return shortest
        if told is None:
            return self._terms.lifetime
        age = response.headers.get("age", "0")
        passed = int(age) if age.isdigit() and len(age) <= 10 else 0
        return max(shortest, min(float(int(told[1]) - passed), self._terms.longest))
