"""Keys: every one is in the table, below the prefix, and belongs to one input alone."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core import keys as module
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.redis.slots import slot_of

parts = st.lists(st.text(max_size=6) | st.binary(max_size=6), max_size=4)


def table(prefix: str = "guard:") -> list[re.Pattern[bytes]]:
    """Read the shapes of keys from the module's own description."""
    shapes = re.findall(r"^    (<p>\S+) ", module.__doc__ or "", re.MULTILINE)
    assert len(shapes) >= 4
    names = {"<p>": re.escape(prefix), "<digest>": "[A-Za-z0-9+/]{20}", "<limit>": ".+", "<guard>": ".+"}
    names |= {"<hour>": "[0-9]+", "<what>": "[a-z]+"}
    shapes = [shape.replace("*", r"\*") for shape in shapes]
    names |= {"<tag>": "[A-Za-z0-9_-]{8}", "<handle>": "[A-Za-z0-9_-]{20}"}
    names |= {"<place>": "[A-Za-z0-9_-]{6}", "<rest>": "[A-Za-z0-9_-]{14}", "<name>": "[A-Za-z0-9_-]{16}"}
    names |= {"<number>": "[0-9]+"}
    return [re.compile(re.sub("<[a-z]+>", lambda name: names[name[0]], shape).encode()) for shape in shapes]


def built(keys: Keys) -> dict[str, bytes]:
    """Use every builder once."""
    return {
        "token": keys.token("issuer", "jti"),
        "token by hash": keys.token("", b"\xff" * 32),
        "user": keys.user("issuer", "alice"),
        "limit": keys.limit(b"default.gcra.60", digest("address", "1.2.3.4")),
        "ban": keys.ban(b"api", digest("address", "1.2.3.4")),
        **{f"limit_statistics {key.decode()[-6:]}": key for key in keys.limit_statistics(b"api", 472_222)},
        "limit_changes": keys.limit_changes(b"api"),
        "concurrency": keys.concurrency(b"default", digest("address", "1.2.3.4")),
        "session": keys.session(b"abcd-_09", b"x" * 20),
        "replaced": keys.replaced(keys.session(b"abcd-_09", b"x" * 20)),
        "sessions": keys.sessions(b"abcd-_09", digest("alice")),
        "session_notes": keys.session_notes(b"abcd-_09", digest("alice")),
        **{f"session_counts {key.decode()[-5:]}": key for key in keys.session_counts},
        "sessions_channel": keys.sessions_channel,
        "events": keys.events(b"abcd-_09", digest("alice")),
        "devices": keys.devices(b"abcd-_09", digest("alice")),
        "device_notes": keys.device_notes(b"abcd-_09", digest("alice")),
        "token_of": keys.token_of(digest("jti")),
        "user_of": keys.user_of(digest("alice")),
        "revoked": keys.revoked,
        "revoked_in": keys.revoked_in(472_222),
        "revoked_mirrors": keys.revoked_mirrors,
        "revoked_stream": keys.revoked_stream,
        "revoked_users": keys.revoked_users,
        "family_mark": keys.family_mark("", "x" * 22),
        "generation_cutoff": keys.generation_cutoff("", "alice"),
        "everybody": keys.everybody(""),
        "family": keys.family(b"ab-_09", b"x" * 16),
        "families": keys.families(b"ab-_09", b"x" * 14),
        "generation": keys.generation(b"ab-_09", b"x" * 14),
        **{f"family_counts {key.decode()[-5:]}": key for key in keys.family_counts},
        "tokens_channel": keys.tokens_channel,
        "resource": keys.resource(digest("GET", "/")),
        "variant": keys.variant(digest("GET", "/"), digest("en")),
        "fill": keys.fill(digest("GET", "/"), digest("en")),
        "tag": keys.tag("user:7"),
        "tag_of": keys.tag_of(digest("user:7")),
        "every_tag": keys.every_tag,
        "cache_channel": keys.cache_channel,
        **{f"lock {place}": key for place, key in enumerate(keys.lock(digest("lock", "import")))},
        **{f"semaphore {place}": key for place, key in enumerate(keys.semaphore(digest("semaphore", "import")))},
        "incarnation": keys.incarnation(7),
        "locks_channel": keys.locks_channel,
        "idempotent": keys.idempotent(digest("alice", "8e03978e")),
        "idempotency_channel": keys.idempotency_channel,
    }


@pytest.mark.parametrize("prefix", ["guard:", "g", "app:prod:", "{tag}:", "ü:", "a.b*c["])
def test_every_key_is_in_the_table_and_below_the_prefix(prefix: str) -> None:
    keys = Keys(prefix)
    for name, key in built(keys).items():
        assert key.startswith(prefix.encode()), name
        fits = {shape.pattern for shape in table(prefix) if shape.fullmatch(key)}
        assert len(fits) == 1, name
    assert keys.prefix == prefix


def test_every_builder_is_looked_at_here() -> None:
    builders = {name for name in dir(Keys) if not name.startswith("_")} - {"prefix", *OF_TAGS}
    assert builders == {name.partition(" ")[0] for name in built(Keys())}


#: What tells of tags, and builds no key.
OF_TAGS = {"key_tag", "root", "salt", "tagged"}


def is_for_all(name: str) -> bool:
    """Channels, and what is known of servers, whoever's keys they have."""
    return name.endswith("channel") or name == "incarnation"


@pytest.mark.parametrize("prefix", ["guard:", "app:prod:", "{tag}:", "a{", "a}b{c:"])
@pytest.mark.parametrize("tag", ["acme", "a", "{}", "}{x}", "ü" * 300])
def test_all_keys_of_a_tag_lie_in_one_slot_and_the_channels_are_everybody_s(prefix: str, tag: str) -> None:
    keys, tagged = built(Keys(prefix)), built(Keys(prefix).tagged(tag))
    for name, key in tagged.items():
        if is_for_all(name):
            assert key == keys[name]
        else:
            assert key.startswith(prefix.encode() + b"{")
    assert len({slot_of(key) for name, key in tagged.items() if not is_for_all(name)}) == 1


def test_no_two_tags_share_a_key_and_none_is_one_without_a_tag() -> None:
    keys = Keys()
    every = [built(one) for one in (keys, keys.tagged("acme"), keys.tagged("globex"))]
    keys_of = [{key for name, key in one.items() if not is_for_all(name)} for one in every]
    assert len(set.union(*keys_of)) == sum(map(len, keys_of))


def test_what_stands_for_a_thing_in_memory_is_another_one_for_each_tag() -> None:
    """Or word of a revocation in one tenant would end what is open in another."""
    one, other = Keys().tagged("acme"), Keys().tagged("globex")
    for name in ("token", "user", "family_mark", "generation_cutoff"):
        assert len({getattr(keys, name)("", "x")[-20:] for keys in (Keys(), one, other)}) == 3, name
    assert one.tag("x")[-20:] != other.tag("x")[-20:]
    assert one.everybody("")[-20:] != other.everybody("")[-20:]


def test_keys_of_a_tag_are_remembered_and_of_many_the_oldest_go() -> None:
    keys = Keys()
    first = keys.tagged("0")
    assert keys.tagged("0") is first
    assert first.tagged("1") is keys.tagged("1"), "those of a tag have no tags of their own"
    assert first.root is keys
    for number in range(5000):
        keys.tagged(str(number))
    assert keys.tagged("0") is not first
    assert keys.tagged("0").token("", "x") == first.token("", "x")


def test_prefixes_keep_deployments_apart() -> None:
    assert not {*built(Keys("a:")).values()} & {*built(Keys("b:")).values()}


def test_a_limit_has_a_hash_tag_of_its_own() -> None:
    key = Keys().limit(b"x", digest("a"))
    assert key.endswith(b"{" + digest("a") + b"}")


def test_a_resource_its_variants_and_their_fills_share_a_hash_tag() -> None:
    resource, variant = digest("GET", "/"), digest("en")
    for key in (Keys().resource(resource), Keys().variant(resource, variant), Keys().fill(resource, variant)):
        assert key.partition(b"{")[2].partition(b"}")[0] == resource


def test_a_lock_and_its_fence_share_a_hash_tag() -> None:
    name = digest("lock", "import")
    for key in (*Keys().lock(name), *Keys().semaphore(name)):
        assert key.partition(b"{")[2].partition(b"}")[0] == name


def test_the_families_of_a_user_and_the_user_s_generation_share_a_hash_tag() -> None:
    keys = Keys()
    for key in (keys.family(b"ab-_09", b"x" * 16), keys.families(b"ab-_09", b""), keys.generation(b"ab-_09", b"")):
        assert key.partition(b"{")[2].partition(b"}")[0] == b"ab-_09"


def test_the_key_of_a_tag_ends_with_its_digest() -> None:
    assert Keys().tag("user:7") == Keys().tag_of(digest("user:7"))
    assert Keys().tag("*") != Keys().every_tag


def test_keys_stay_what_they_were_in_the_last_release() -> None:
    """Whoever changes one forgets all revocations and counts at the next deployment."""
    assert digest() == b"t9uHGWxINAXkD4QB+h/J"
    assert digest("issuer", "jti") == b"//OcyCwEjEKsd8sGHqQL"
    assert Keys().token("", "t-1") == b"guard:t:H1548PiDzRoS+hNuCOXI"
    assert Keys().user("", "alice") == b"guard:u:eXsWXnliurds+2dqvw4n"


def test_neither_secrets_nor_names_stand_in_a_key() -> None:
    keys = Keys()
    for key in (keys.token("issuer", "secret-jti"), keys.user("issuer", "alice")):
        assert b"secret" not in key
        assert b"alice" not in key
        assert b"issuer" not in key


def as_bytes(given_parts: list[Any]) -> list[bytes]:
    return [part if isinstance(part, bytes) else part.encode() for part in given_parts]


@settings(deadline=None)
@given(parts, parts)
def test_different_parts_never_share_a_digest(one: list[Any], other: list[Any]) -> None:
    assert (digest(*one) == digest(*other)) is (as_bytes(one) == as_bytes(other))


@settings(deadline=None)
@given(st.binary(max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_where_parts_are_divided_makes_a_difference(data: bytes, one: int, other: int) -> None:
    same = min(one, len(data)) == min(other, len(data))
    assert (digest(data[:one], data[one:]) == digest(data[:other], data[other:])) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a/b", "c"), ("a", "b/c")),
        (("1:a",), ("a",)),
        (("a", ""), ("a",)),
        (("", "a"), ("a", "")),
        (("1", ":a"), ("1:", "a")),
        (("a1:b",), ("a", "b")),
        (("\ud800",), ("?",)),
    ],
)
def test_parts_that_others_have_confused_are_kept_apart(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert digest(*one) != digest(*other)


@settings(deadline=None)
@given(st.text(max_size=5), st.text(max_size=5) | st.binary(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_a_token_a_user_and_a_hash_never_share_a_key(issuer: str, jti: Any, other: str, sub: str) -> None:
    keys = Keys()
    assert keys.token(issuer, jti) != keys.user(other, sub)
    if isinstance(jti, bytes):
        assert keys.token(issuer, jti) != keys.token(issuer, jti.decode("latin-1"))
    assert (keys.user(issuer, sub) == keys.user(other, sub)) is (issuer == other)
