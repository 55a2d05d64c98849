"""Refusals as problem documents (RFC 9457)."""

import json

import pytest

from asgi_redis_guard.core.problem import problem, unavailable
from asgi_redis_guard.core.steps import Answer


def parts(answer: Answer) -> tuple[dict[bytes, bytes], dict[str, object]]:
    assert len(dict(answer.headers)) == len(answer.headers)
    return dict(answer.headers), json.loads(answer.body)


def test_a_problem_has_the_five_members_and_says_how_long_it_is() -> None:
    answer = problem(429, "rate_limited", "Too fast — é.", type="https://example.org/fast")
    headers, document = parts(answer)
    assert (answer.status, answer.reason, answer.background) == (429, "rate_limited", None)
    assert headers == {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(answer.body)).encode(),
        b"cache-control": b"no-store",
    }
    assert document == {
        "type": "https://example.org/fast",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "Too fast — é.",
    }


@pytest.mark.parametrize(
    ("status", "title"),
    [(400, "Bad Request"), (401, "Unauthorized"), (403, "Forbidden"), (503, "Service Unavailable"), (418, "Error")],
)
def test_without_a_type_the_title_is_that_of_the_status(status: int, title: str) -> None:
    _, document = parts(problem(status, "x", "y"))
    assert (document["type"], document["title"]) == ("about:blank", title)


def test_title_headers_and_members_may_be_given() -> None:
    answer = problem(409, "x", "y", title="Busy", headers=[(b"retry-after", b"3")], members={"lock": "a", "n": [1]})
    headers, document = parts(answer)
    assert headers[b"retry-after"] == b"3"
    assert (document["title"], document["lock"], document["n"]) == ("Busy", "a", [1])


@pytest.mark.parametrize(
    ("given", "seconds"), [(1.0, b"1"), (0.0, b"1"), (0.2, b"1"), (-5.0, b"1"), (1.01, b"2"), (60, b"60")]
)
def test_nobody_is_told_to_come_back_at_once_or_too_early(given: float, seconds: bytes) -> None:
    answer = unavailable("away", retry_after=given)
    headers, document = parts(answer)
    assert (answer.status, answer.reason, document["status"]) == (503, "unavailable", 503)
    assert headers[b"retry-after"] == seconds
