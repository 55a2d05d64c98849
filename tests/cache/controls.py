"""Cache-Control fields for properties: any that may come, and those that say a given thing."""

from dataclasses import fields
from math import inf

from hypothesis import strategies as st

from asgi_redis_guard.cache.directives import LONGEST, CacheControl

_names = st.sampled_from(["max-age", "s-maxage", "no-cache", "private", "no-store", "public", "max-stale", "x"])
_values = st.sampled_from(["", "=", "=1", "=-1", '="1"', '="a, b"', '="', "= 1", "='1'", ";", '="\\"', " "])
_members = st.builds(str.__add__, _names, _values)
#: Values of Cache-Control, well-formed or not.
STRINGS = st.lists(_members, max_size=6).map(", ".join) | st.text('noprivate-stge=,"\\ ;\t1', max_size=40)

_times = st.none() | st.integers(0, LONGEST)
_listed = st.frozensets(st.sampled_from([b"a", b"set-cookie", b"x-y"]))
#: What can be said.
CONTROLS = st.builds(
    CacheControl,
    **dict.fromkeys(("max_age", "s_maxage", "min_fresh", "stale_while_revalidate", "stale_if_error"), _times),
    max_stale=_times | st.just(inf),
    **{field.name: st.booleans() for field in fields(CacheControl) if field.type == "bool"},
    no_cache_fields=_listed,
    private_fields=_listed,
)


def written(control: CacheControl) -> list[str]:
    """The members of a Cache-Control field that says `control`."""
    members = []
    for field in fields(control):
        value, name = getattr(control, field.name), field.name.removesuffix("_fields").replace("_", "-")
        if isinstance(value, frozenset) and value:
            members.append(f'{name}="{", ".join(one.decode() for one in value)}"')
        elif value is True or value == inf:
            members.append(name)
        elif type(value) is int:
            members.append(f"{name}={value}")
    return members
