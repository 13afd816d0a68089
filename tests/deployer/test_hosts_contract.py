"""What users and modules may say of hosts."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.providers import hosts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("10.0.0.7", {"address": "10.0.0.7"}),
        ("web.example.org", {"address": "web.example.org"}),
        ("root@127.0.0.1:2222", {"user": "root", "address": "127.0.0.1", "port": 2222}),
        ("[::1]", {"address": "::1"}),
        ("me@[fe80::1]:22", {"user": "me", "address": "fe80::1", "port": 22}),
        (" admin@host ", {"user": "admin", "address": "host"}),
    ],
)
def test_a_host_in_short(text: str, parts: dict[str, Any]) -> None:
    assert hosts.short(text) == parts


@pytest.mark.parametrize(
    "text", ["", "a b", "@host", "host:", "host:ssh", "host:123456", "::1", "me@", "a@b@c"]
)
def test_what_is_no_host_in_short(text: str) -> None:
    with pytest.raises(ValueError, match="user@address:port"):
        hosts.short(text)


def test_unnamed_hosts_get_numbers_and_what_they_leave_open() -> None:
    found = hosts.parse(["one", {"name": "db", "address": "two", "port": 23}], {"user": "admin"})
    assert [(h.name, h.address, h.port, h.user) for h in found] == [
        ("host-1", "one", 22, "admin"),
        ("db", "two", 23, "admin"),
    ]
    assert [h.address for h in hosts.parse("one, root@two:23", {})] == ["one", "two"]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ({"address": "-oProxyCommand=touch /tmp/x"}, "hosts[0].address"),
        ({"address": "-v"}, "hosts[0].address"),
        ({"address": "a;reboot"}, "hosts[0].address"),
        ({"address": "a\n"}, "hosts[0].address"),
        ({"address": ""}, "hosts[0].address"),
        ({"address": "a", "user": "-oX"}, "hosts[0].user"),
        ({"address": "a", "user": "me you"}, "hosts[0].user"),
        ({"address": "a", "port": 0}, "hosts[0].port"),
        ({"address": "a", "port": 65536}, "hosts[0].port"),
        ({"address": "a", "jump": "-oX"}, "hosts[0].jump"),
        ({"address": "a", "jump": "b:99999"}, "hosts[0].jump"),
        ({"address": "a", "jump": "-x@b"}, "hosts[0].jump"),
        ({"address": "a", "name": "Web"}, "hosts[0].name"),
        ({"address": "a", "name": "../x"}, "hosts[0].name"),
        ({"address": "a", "groups": ["x y"]}, "hosts[0].groups.0"),
        ({"adress": "a"}, "'address'"),
        ({"name": "a"}, "hosts[0].address: is missing"),
        (7, "must be a table or user@address:port"),
        ("-oProxyCommand=x", "hosts[0].address"),
        ("-l@host", "hosts[0].user"),
    ],
)
def test_what_is_no_host_is_said_with_its_place(host: object, said: str) -> None:
    with pytest.raises(ValueError, match="hosts") as caught:
        hosts.parse([host], {})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "value", [[], "", {}, None, 5, {"a": "b"}], ids=["none", "empty", "table", "null", "5", "map"]
)
def test_hosts_are_a_list_with_something_in_it(value: object) -> None:
    with pytest.raises(ValueError, match="must"):
        hosts.parse(value, {})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="hosts") as caught:
        hosts.parse([{"address": "a", "port": 0}, "b c", {"name": "d", "address": "-d"}], {})
    assert all(f"hosts[{index}]" in str(caught.value) for index in range(3))


def test_a_name_is_there_once() -> None:
    with pytest.raises(ValueError, match="the name 'a' is there twice"):
        hosts.parse([{"name": "a", "address": "x"}, {"name": "a", "address": "y"}], {})
    with pytest.raises(ValueError, match="'host-2' is there twice"):
        hosts.parse([{"name": "host-2", "address": "x"}, "y"], {})


def test_a_module_names_its_hosts_itself() -> None:
    with pytest.raises(ValueError, match="name: is missing"):
        hosts.parse([{"address": "x"}], None)
    [found] = hosts.parse([{"name": "a", "address": "x", "groups": ["g"], "id": None}], None)
    assert (found.port, found.user, found.groups, found.id) == (22, "root", ["g"], None)
