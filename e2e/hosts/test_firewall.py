"""The firewall: SSH and the app's ports stay open, all others close, and nobody is locked out."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from deployer.lifecycle import hosts, remote
from deployer.paths import Workspace
from e2e.hosts.fleet import SshHost, lxd_host
from e2e.support import Environment, Site, until
from state.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lxd

OTHER = 9999  # a port of somebody else's on the host
PORT = 8080


def is_open(host: SshHost, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host.address, port)) == 0


@pytest.fixture(scope="module")
def host() -> Iterator[SshHost]:
    with lxd_host() as found:
        listener = f"python3 -m http.server {OTHER}"
        found.exec("systemd-run", "--quiet", *listener.split())
        until("something else listens there", lambda: is_open(found, OTHER))
        yield found


@pytest.fixture(scope="module")
def shop(host: SshHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    site = Site(tmp_path_factory.mktemp("firewall"))
    options = {
        "provider_options.hosts": f"{host.user}@{host.address}:{host.port}",
        "provider_options.key": str(host.key),
        "firewall": "true",
    }
    words = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    site.run("create", "shop", "--provider", "ssh", *words)
    shop = Environment(site, "shop")
    try:
        shop("deploy")
        yield shop
    finally:
        site.tear_down()


def test_only_ssh_and_the_apps_port_are_open_and_a_second_time_changes_nothing(
    shop: Environment, host: SshHost
) -> None:
    assert (is_open(host, PORT), is_open(host, OTHER)) == (True, False)
    assert shop("exec", "--", "true").data["hosts"]

    again = shop("configure")

    assert not again.data["verbs"][0]["changed"]
    assert shop.shown["state"] == "running"


def test_a_release_that_needs_another_port_or_runtime_waits_for_configure(
    shop: Environment, host: SshHost
) -> None:
    wish = ["--set", "firewall=true", "--set", "port=8090", "--set", "runtime=supervisor"]

    refused = shop("upgrade", *wish, code=7)

    assert "the runtime supervisor (it was systemd)" in refused.error["message"]
    assert "other open ports" in refused.error["message"]
    assert shop.shown["state"] == "running"
    assert is_open(host, PORT)


def test_rules_that_no_new_connection_confirms_are_taken_back(
    shop: Environment, host: SshHost
) -> None:
    workspace = Workspace.find(shop.site.root)
    store = Store.read(workspace.store)
    assert store
    record = store.environment("shop")
    store.close()
    assert record
    one = record.hosts[0]
    # other ports than before, and then nobody comes to confirm them
    spec = hosts.spec(workspace, record, one, 2**40, open=[OTHER], ssh_port=22)
    request = {"action": "firewall", "spec": spec}
    call = remote.Call(hosts.login(workspace, record, one), spec["python"], request)

    assert remote.call({one.name: call}, uuid=record.uuid)[one.name]["changed"]

    assert (is_open(host, PORT), is_open(host, OTHER)) == (False, True)
    until("the rules of before are back", lambda: is_open(host, PORT), deadline=60)
    assert not is_open(host, OTHER)
    host.exec("rm", "-r", "/run/deployer")  # with the token that this test has raised


def test_without_it_everything_is_open_and_nothing_of_it_is_left(
    shop: Environment, host: SshHost
) -> None:
    shop.edit("firewall = true", "firewall = false")

    shop("deploy")

    assert (is_open(host, PORT), is_open(host, OTHER)) == (True, True)
    assert "deployer" not in host.exec("nft", "list", "ruleset").stdout
    assert host.exec("sh", "-c", "ls -d /etc/deployer/* || true").stdout.strip() == ""
