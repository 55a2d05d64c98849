"""Path patterns: whole segments of a decoded path, and nothing that an app might read otherwise."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.paths import PathPatterns
from asgi_redis_guard.errors import ConfigurationError

segments = st.sampled_from(
    ["a", "b", "ab", "", ".", "..", "...", "*", "a*", "\\", "a\\b", "%2e", "A", "é", " ", "\x00"]
)
paths = st.lists(segments, max_size=6).map(lambda parts: "/" + "/".join(parts)) | st.text(max_size=15)
patterns = st.lists(st.sampled_from(["a", "b", "ab", "*", "A", "é"]), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


def test_a_literal_pattern_matches_itself_alone() -> None:
    match = PathPatterns(["/health", "/a/b"]).match
    assert (match("/health"), match("/a/b")) == ("/health", "/a/b")
    for path in ("/healthz", "/health/", "/a", "/a/b/c", "/HEALTH", "/health ", "", "/"):
        assert match(path) is None


def test_a_star_is_one_segment_and_at_the_end_one_or_more() -> None:
    match = PathPatterns(["/static/*", "/users/*/avatar", "/*/*/x"]).match
    assert match("/static/a") == match("/static/a/b/c.css") == "/static/*"
    assert match("/users/7/avatar") == "/users/*/avatar"
    assert match("/p/q/x") == "/*/*/x"
    for path in ("/static", "/static/", "/users/7/8/avatar", "/users/avatar", "/p/q/x/y", "/p/x"):
        assert match(path) is None


def test_a_star_alone_matches_every_clear_path_but_the_root() -> None:
    match = PathPatterns("/*").match
    assert match("/a") == match("/a/b") == "/*"
    assert match("/") is match("") is match("a") is match("//") is match("/a/") is None


@pytest.mark.parametrize(
    "path", ["/s/../x", "/s/./x", "/s//x", "/s/x/", "/s/..", "/s/.", "/s\\x/y", "/s/\\..\\x", "//s/x", "/s/"]
)
def test_a_path_that_an_app_may_read_otherwise_matches_no_star(path: str) -> None:
    assert PathPatterns(["/s/*", "/*", "/*/*"]).match(path) is None


def test_a_literal_pattern_may_hold_what_a_star_never_matches() -> None:
    assert PathPatterns(["/a//b", "/a/"]).match("/a//b") == "/a//b"
    assert PathPatterns(["/a/", "/*"]).match("/a/") == "/a/"


def test_the_first_pattern_that_was_given_wins_and_literals_go_first() -> None:
    patterns = PathPatterns(["/a/*", "/*/b", "/a/b"])
    assert patterns.match("/a/b") == "/a/b"
    assert patterns.match("/a/c") == "/a/*"
    assert patterns.match("/c/b") == "/*/b"
    assert PathPatterns(["/*/b", "/a/*"]).match("/a/b") == "/*/b"


def test_one_pattern_may_be_given_as_text() -> None:
    assert PathPatterns("/health").patterns == ("/health",)
    assert bool(PathPatterns("/health"))
    assert not PathPatterns()
    assert PathPatterns().match("/") is None


@pytest.mark.parametrize("pattern", ["", "health", "*", "/a*", "/*a", "/a/b*/c", "/**", "/a/**", "a/*"])
def test_a_pattern_that_could_be_misread_is_refused_with_all_others(pattern: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PathPatterns([pattern, "/fine", "also wrong"], option="paths")
    assert len(caught.value.faults) == 2
    assert caught.value.faults[0].startswith(f"paths: {pattern!r} given")


def reference(patterns: list[str], path: str) -> str | None:
    """The same rules, told another way."""
    if path in [pattern for pattern in patterns if "*" not in pattern]:
        return path
    if not re.fullmatch(r"(/[^/\\]+)+", path, re.DOTALL) or re.search(r"/\.{1,2}(/|\Z)", path):
        return None
    for pattern in patterns:
        source = re.sub(r"/\\\*\Z", r"(/[^/]+)+", re.escape(pattern)).replace(r"\*", "[^/]+")
        if "*" in pattern and re.fullmatch(source, path, re.DOTALL):
            return pattern
    return None


@settings(deadline=None)
@given(st.lists(patterns, max_size=4), paths)
@example(["/*"], "/\n")
@example(["/a/*"], "/a/..")
def test_patterns_match_as_their_description_says(given_patterns: list[str], path: str) -> None:
    assert PathPatterns(given_patterns).match(path) == reference(given_patterns, path)


@settings(deadline=None)
@given(patterns, st.lists(segments, max_size=5))
def test_nothing_below_a_pattern_reaches_above_it(pattern: str, tail: list[str]) -> None:
    """Whatever is behind a prefix, a match stays within it also when the path is normalized."""
    import posixpath

    path = "/a/" + "/".join(tail)
    if PathPatterns(["/a/*"]).match(path):
        assert posixpath.normpath(path.replace("\\", "/")).startswith("/a/")
