"""The URL of a primary behind sentinels: what is read, what is refused, what is shown."""

import pytest

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.redis.address import Address, mask
from asgi_redis_guard.redis.slots import Place


def test_a_url_of_sentinels_is_read_whole() -> None:
    address = Address.parse(
        "redis+sentinel://ann:p%40ss@s1:26380,[::1],s3/main-db/2?sentinel_username=watch&sentinel_password=s%26cret"
    )
    assert address.sentinels is not None
    assert address.sentinels.hosts == (Place("s1", 26380), Place("::1", 26379), Place("s3", 26379))
    assert (address.sentinels.service, address.db, address.credentials) == ("main-db", 2, ("ann", "p@ss"))
    assert (address.tls, address.local) == (False, False)
    assert str(address) == "redis+sentinel://s1:26380,[::1]:26379,s3:26379/main-db/2"
    assert "p@ss" not in repr(address)
    assert "s&cret" not in repr(address)


def test_the_servers_and_the_sentinels_are_greeted_with_their_own_logins() -> None:
    address = Address.parse("redis+sentinel://ann:one@s1,s2/db?sentinel_username=watch&sentinel_password=two")
    node = address.at(Place("10.0.0.7", 6380))
    assert (str(node), node.credentials) == ("redis://10.0.0.7:6380/0", ("ann", "one"))
    sentinels = address.of_sentinels()
    assert [str(sentinel) for sentinel in sentinels] == ["redis://s1:26379/0", "redis://s2:26379/0"]
    assert {sentinel.credentials for sentinel in sentinels} == {("watch", "two")}


def test_sentinels_without_a_login_of_their_own_are_given_none() -> None:
    assert Address.parse("redis+sentinel://:pw@s1/db").of_sentinels()[0].credentials is None


def test_tls_is_of_servers_and_sentinels_alike_unless_the_url_says_so() -> None:
    both = Address.parse("rediss+sentinel://s1/db?ssl_check_hostname=false")
    assert (both.tls, both.of_sentinels()[0].tls, both.at(Place("h", 1)).tls) == (True, True, True)
    assert both.of_sentinels()[0].options["ssl_check_hostname"] is False
    servers = Address.parse("rediss+sentinel://s1/db?sentinel_ssl=no")
    assert (servers.tls, servers.of_sentinels()[0].tls) == (True, False)
    sentinels = Address.parse("redis+sentinel://s1/db?sentinel_ssl=yes")
    assert (sentinels.tls, sentinels.of_sentinels()[0].tls) == (False, True)


def test_all_sentinels_on_this_machine_are_local() -> None:
    assert Address.parse("redis+sentinel://localhost,127.0.0.1:1/db").local
    assert not Address.parse("redis+sentinel://localhost,elsewhere/db").local


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://s1",
        "redis+sentinel://s1/",
        "redis+sentinel:///db",
        "redis+sentinel://s1,/db",
        "redis+sentinel://s1:0/db",
        "redis+sentinel://s1:99999/db",
        "redis+sentinel://s1:port/db",
        "redis+sentinel://s1/db/many",
        "redis+sentinel://s1/db?sentinel_ssl=perhaps",
        "redis+sentinel://s1/db?sentinel_username=me",
        "redis+sentinel://s1/db?host=elsewhere&nonsense",
    ],
)
def test_what_cannot_be_read_is_refused_with_the_form_that_can(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"host\[:port\],host\[:port\]/service\[/db\]"):
        Address.parse(url)


def test_an_option_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown option 'no_such_option'; allowed are .*sentinel_ssl"):
        Address.parse("redis+sentinel://s1/db?no_such_option=1")


def test_a_url_of_sentinels_is_masked_but_its_places_stay() -> None:
    url = "redis+sentinel://ann:secret@s1:26379,[::1]/main-db/1?sentinel_password=x"
    assert mask(url) == "redis+sentinel://***@s1:26379,[::1]/main-db/1"
    assert mask("rediss+sentinel://s1/db") == "rediss+sentinel://s1/db"
