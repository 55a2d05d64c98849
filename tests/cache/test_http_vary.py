"""Variants side by side: Vary (RFC 9111 §4.1, RFC 9110 §12.5.5)."""

from tests.cache.cases import Case, Reply, Step, case, play, reuse, table

FOO = "cache-control: max-age=3600 | vary: Foo"


def by(vary: str) -> str:
    """A fresh response with these fields of Vary."""
    return "cache-control: max-age=3600 | " + " | ".join(f"vary:{line}" for line in vary.split("\n"))


@table(
    reuse("the same value", FOO, "hit", first="foo: 1", second="foo: 1"),
    reuse("another value", FOO, "miss", first="foo: 1", second="foo: 2", told="fwd=vary-miss"),
    reuse("absent, then there", FOO, "miss", second="foo: 1", told="fwd=vary-miss"),
    reuse("there, then absent", FOO, "miss", first="foo: 1"),
    reuse("absent both times", FOO, "hit"),
    reuse("empty is not absent", FOO, "miss", first="foo:"),
    reuse("absent is not empty", FOO, "miss", second="foo:"),
    reuse("empty both times", FOO, "hit", first="foo:", second="foo:"),
    reuse("another field does not count", FOO, "hit", first="foo: 1 | bar: 1", second="foo: 1 | bar: 2"),
    reuse("the case of values counts", FOO, "miss", first="foo: a", second="foo: A"),
    reuse("values that begin alike", FOO, "miss", first="foo: 1", second="foo: 11"),
    reuse("two fields, the same", by("Foo, Bar"), "hit", first="foo: 1 | bar: 2", second="bar: 2 | foo: 1"),
    reuse("two fields, one of them another", by("Foo, Bar"), "miss", first="foo: 1 | bar: 2", second="foo: 1 | bar: 3"),
    reuse("two fields, one of them absent", by("Foo, Bar"), "miss", first="foo: 1 | bar: 2", second="foo: 1"),
    reuse("values of two fields exchanged", by("Foo, Bar"), "miss", first="foo: 1 | bar: 2", second="foo: 2 | bar: 1"),
    reuse("a value that moves to the next", by("Foo, Bar"), "miss", first="foo: 12 | bar:", second="foo: 1 | bar: 2"),
    reuse("three fields", by("Foo, Bar, Baz"), "hit", first="foo: 1 | bar: 2", second="foo: 1 | bar: 2"),
    reuse("three fields, the last is another", by("Foo, Bar, Baz"), "miss", first="foo: 1", second="foo: 1 | baz: 3"),
    reuse("names on two lines", by("Foo\nBar"), "miss", first="foo: 1 | bar: 2", second="foo: 1 | bar: 3"),
    reuse("the case of names does not count", by("FOO"), "hit", first="foo: 1", second="foo: 1"),
    reuse("the case of names does not hide them", by("FOO"), "miss", first="foo: 1", second="foo: 2"),
    reuse("spaces and tabs around names", by(" \t Foo\t , Bar "), "miss", first="bar: 2", second="bar: 3"),
    reuse("empty members", by(",, Foo,,"), "miss", first="foo: 2", second="foo: 3"),
    reuse("an empty Vary", by(""), "hit", first="foo: 2", second="foo: 3"),
    reuse("nothing but commas", by(",,"), "hit", first="foo: 2", second="foo: 3"),
    reuse("lines of a field are a list", FOO, "hit", first="foo: 1 | foo: 2", second="foo: 1, 2"),
    reuse("spaces around members do not count", FOO, "hit", first="foo: 1,2", second="foo: 1 \t, 2"),
    reuse("the order of members counts", FOO, "miss", first="foo: 1, 2", second="foo: 2, 1"),
    reuse("spaces at the end do not count", FOO, "hit", first="foo: 1", second="foo: 1  "),
    reuse(
        "languages in any case",
        by("Accept-Language"),
        "hit",
        first="accept-language: en, de",
        second="accept-language: EN,De",
    ),
    reuse(
        "languages in any order",
        by("Accept-Language"),
        "hit",
        first="accept-language: en, de",
        second="accept-language: de, en",
    ),
    reuse(
        "languages by weight",
        by("Accept-Language"),
        "miss",
        first="accept-language: en, de;q=0.5",
        second="accept-language: en;q=0.5, de",
    ),
    reuse("encodings", by("Accept-Encoding"), "miss", first="accept-encoding: gzip", second="accept-encoding: br"),
    reuse("Host is in the key", by("Host"), "hit", first="host: a.example", second="host: a.example"),
)
async def test_a_variant_is_for_requests_that_agree(given: Case) -> None:
    await play(given)


@table(
    *[
        reuse(name, by(vary), "unstored", first="foo: 1", second="foo: 1")
        for name, vary in {
            "*": "*",
            "* among spaces": "  *  ",
            "* with a name": "Foo, *",
            "* in front of a name": "*, Foo",
            "* behind empty members": ", , *",
            "* on a second line": "Foo\n*",
            "* on a first line": "*\nFoo",
            "two of them": "*, *",
            "* and tabs": "\t*\t",
            "no field name": "Foo Bar",
            "quoted": '"Foo"',
            "more names than one can vary by": ", ".join(f"x-{n}" for n in range(20)),
        }.items()
    ]
)
async def test_what_varies_by_what_nobody_knows_is_not_stored(given: Case) -> None:
    await play(given)


ONE, TWO, THREE = "foo: 1", "foo: 2", "foo: 3"


@table(
    case(
        "stand side by side",
        Step("miss", ONE, says=FOO, body=1),
        Step("miss", TWO, body=2),
        Step("miss", THREE, body=3),
        Step("hit", ONE, body=1),
        Step("hit", TWO, body=2),
        Step("hit", THREE, body=3),
        Step("hit", ONE, body=1),
    ),
    case(
        "end each by itself",
        Step("miss", ONE, says="cache-control: max-age=10 | vary: foo"),
        Step("miss", TWO, says="cache-control: max-age=100 | vary: foo"),
        Step("hit", TWO, after=20, body=2),
        Step("miss", ONE, body=3),
    ),
    case(
        "by more than the first",
        Step("miss", "foo: 1 | bar: 1", says=FOO),
        Step("miss", "foo: 2 | bar: 1", says="cache-control: max-age=3600 | vary: foo, bar"),
        Step("hit", "foo: 2 | bar: 1", body=2),
        Step("miss", "foo: 2 | bar: 2", body=3),
        Step("hit", "foo: 2 | bar: 1", body=2),
    ),
    case(
        "one with Vary behind one without",
        Step("miss", ONE, says="cache-control: max-age=10"),
        Step("hit", TWO, body=1),
        Step("miss", TWO, after=20, says=FOO),
        Step("hit", TWO, body=2),
        Step("miss", ONE, body=3),
    ),
    case(
        "one without Vary is for those that asked the same",
        Step("miss", ONE, says=FOO),
        Step("miss", TWO, says="cache-control: max-age=3600"),
        Step("hit", TWO, body=2),
        Step("hit", ONE, body=1),
    ),
    case(
        "are validated with their own validators and the fields they vary by",
        Step("miss", ONE, says='cache-control: max-age=5 | vary: foo | etag: "one"'),
        Step("miss", TWO, says='cache-control: max-age=5 | vary: foo | etag: "two"'),
        Step(
            "valid",
            ONE,
            after=10,
            says=Reply('vary: foo | etag: "one"', 304),
            app='foo: 1 | if-none-match: "one"',
            body=1,
        ),
        Step("valid", TWO, says=Reply('vary: foo | etag: "two"', 304), app='foo: 2 | if-none-match: "two"', body=2),
        Step("hit", ONE, body=1),
        Step("hit", TWO, body=2),
    ),
    case(
        "a 304 about another variant freshens nothing",
        Step("miss", ONE, says='cache-control: max-age=5 | vary: foo | etag: "one"'),
        Step(
            "valid",
            ONE,
            after=10,
            says=Reply('vary: foo | etag: "two" | cache-control: max-age=60', 304),
            status=200,
            told="fwd=stale ttl=-5",
        ),
        Step("miss", ONE, says=FOO, body=3),
    ),
    case(
        "all go with a write",
        Step("miss", ONE, says=FOO),
        Step("miss", TWO),
        Step("unstored", method="POST", says=""),
        Step("miss", ONE, says=FOO),
        Step("miss", TWO),
    ),
    case(
        "a POST that is not safe is told to nobody else",
        Step("miss", ONE, says=FOO),
        Step("unstored", method="POST", path="/other", says=""),
        Step("hit", ONE, body=1),
    ),
)
async def test_variants(given: Case) -> None:
    await play(given)
