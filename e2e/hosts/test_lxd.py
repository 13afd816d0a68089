"""Containers of an LXD: made by Terraform, configured over SSH, run by their own systemd."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from e2e.support import DEPLOYER, Environment, Site, fetch, post, replace, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.lxd, pytest.mark.terraform]

PORT = 8080
BOOT = 60.0  # seconds until a container that was started serves again


def lxc(*words: str) -> str:
    """Run a command of LXD's client, as somebody does by hand."""
    done = subprocess.run(
        ["lxc", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"lxc {' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Deployment:
    """An environment on containers."""

    environment: Environment

    def __call__(self, verb: str, *options: str, code: int = 0) -> Any:
        return self.environment(verb, *options, code=code)

    @property
    def name(self) -> str:
        return self.environment.name

    @property
    def site(self) -> Site:
        return self.environment.site

    def host(self, number: int = 1) -> str:
        return f"{self.name}-{number}"

    def containers(self) -> dict[str, str]:
        """The containers of this environment's name: each with what makes it this one."""
        found = json.loads(lxc("list", "--format", "json", f"^{self.name}-"))
        return {one["name"]: one["config"]["volatile.uuid"] for one in found}

    def count(self, number: int) -> None:
        """Say in the file how many containers there are to be."""
        file = self.environment.file
        file.write_text(re.sub(r"count = \d+", f"count = {number}", file.read_text()))

    def urls(self) -> list[str]:
        return list(self.environment.shown["urls"])

    def services(self) -> dict[str, tuple[int, bool]]:
        """Pid and health by host and service."""
        seen = self("status").data["seen"]
        return {
            f"{host} {name}": (service["pid"], service["healthy"])
            for host, facts in seen.items()
            for name, service in facts["services"].items()
        }

    def remove(self) -> None:
        self.site.run("destroy", self.name, "--yes", code=None)
        for name in self.containers():
            lxc("delete", "--force", name)


@contextmanager
def created(folder: Path, *options: str, app: bool = False) -> Iterator[Deployment]:
    """An environment with the provider lxd, and nothing left of it afterwards."""
    site = Site(folder)
    name = f"t{secrets.token_hex(3)}"
    chosen = ["--set", f"port={PORT}", "--set", "provider_options.count=1", *options]
    if app:
        chosen += ["--app", str(site.own_app())]
    site.run("create", name, "--provider", "lxd", *chosen)
    found = Deployment(Environment(site, name))
    try:
        yield found
    finally:
        found.remove()


@dataclass(frozen=True)
class First:
    """What the first deploy wrote."""

    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, First]]:
    """One deployment for most tests here, and what its first deploy said to a person."""
    with created(tmp_path_factory.mktemp("lxd"), app=True) as found:
        done = subprocess.run(
            [str(DEPLOYER), "-C", str(found.site.root), "deploy", found.name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        yield found, First(done.stdout, done.stderr)


@pytest.fixture
def running(first: tuple[Deployment, First]) -> Deployment:
    """The shared deployment on one container, with nothing left to do."""
    found, _ = first
    found.count(1)
    found("deploy")
    return found


def test_deploy_ends_at_a_page_on_a_container(first: tuple[Deployment, First]) -> None:
    found, said = first

    match = re.match(
        rf"{found.name} is running at (http://10\.140\.190\.\d+:{PORT}/)  \(", said.stdout
    )
    assert match, said.stdout
    assert "<h1>Guestbook</h1>" in fetch(match[1])
    assert f"✓ LXD container {found.host()} created" in said.stderr
    for title in ("[1/4] Provisioning", "[2/4] Configuring", "[3/4] Releasing", "[4/4] Starting"):
        assert title in said.stderr
    assert max(map(len, said.stderr.splitlines())) <= 80, said.stderr
    assert [*found.containers()] == [found.host()]


def test_what_is_there_already_is_left_alone(running: Deployment) -> None:
    before = running.containers(), running.services()

    assert running("deploy").verbs == []
    for verb in ("provision", "configure"):
        done = running(verb).data
        assert [one["changed"] for one in done["verbs"]] == [False]
        assert done["state"] == "running"

    assert (running.containers(), running.services()) == before


def test_a_plan_tells_of_machines_and_services_and_leaves_no_trace(running: Deployment) -> None:
    def traces() -> str:
        places = ("/run/deployer", "/srv/deployer", "/root")
        aside = ("!", "-path", "*/logs/*", "!", "-path", "*/shared/*")
        told = ("-printf", "%p %m %T@\n")
        return lxc("exec", running.host(), "--", "find", *places, *aside, *told)

    before = traces()

    moved = running("plan", "--set", "port=8081", "--detailed-exitcode", code=8).data
    grown = running("plan", "--set", "provider_options.count=2", "--detailed-exitcode", code=8).data

    assert traces() == before
    outcomes = {verb["verb"]: verb["outcome"] for verb in moved["verbs"]}
    assert (outcomes["provision"], outcomes["release"], outcomes["run"]) == (
        "skip",
        "change",
        "change",
    )
    assert [verb["outcome"] for verb in grown["verbs"]] == ["change", *["unknown"] * 3]
    made = [change for step in grown["verbs"][0]["steps"] for change in step["changes"]]
    assert [(one["action"], one["name"]) for one in made] == [
        ("create", f"LXD container {running.host(2)}")
    ]


def test_commands_and_logs_reach_the_container(running: Deployment) -> None:
    fetch(running.urls()[0])

    found = running.site.run("exec", running.name, "--", "id").data["hosts"]
    lines = running("logs").data["lines"]

    assert found[running.host()]["stdout"].startswith("uid=0(root)")
    assert any("GET /" in one["line"] for one in lines if one["service"] == "web")


def test_a_rebooted_container_serves_again_by_itself_and_keeps_its_data(
    running: Deployment,
) -> None:
    post(running.urls()[0], name="Ada", text="still here after the reboot")

    lxc("restart", "--force", running.host())

    until(
        "all is as recorded",
        lambda: running.site.run("check", running.name, code=None).code == 0,
        BOOT,
    )
    assert "still here after the reboot" in fetch(running.urls()[0])
    assert running("deploy").verbs == []


def _free_address() -> str:
    """One that no container has."""
    leases = json.loads(lxc("network", "list-leases", "lxdbr0", "--format", "json"))
    taken = {lease["address"] for lease in leases}
    return next(a for n in range(254, 2, -1) if (a := f"10.140.190.{n}") not in taken)


def test_deploy_follows_a_container_to_another_address(running: Deployment) -> None:
    before, (url,) = running.containers(), running.urls()
    pins = (running.environment.folder / "known_hosts").read_text()
    post(url, name="Ada", text="moved house")
    lxc("stop", "--force", running.host())
    lxc("config", "device", "override", running.host(), "eth0", f"ipv4.address={_free_address()}")
    lxc("start", running.host())
    until("it has an address", lambda: "10.140" in lxc("list", running.host(), "-c", "4"), BOOT)

    assert "address" in json.dumps(running("check", code=8).data)
    running("deploy")

    (moved,) = running.urls()
    assert moved != url
    assert "moved house" in fetch(moved)
    assert running.containers() == before
    assert (running.environment.folder / "known_hosts").read_text() == pins


def test_a_full_disk_fails_the_release_alone_and_deploy_continues(running: Deployment) -> None:
    releases = f"/srv/deployer/{running.name}/releases"
    (running.site.root / "app" / "large").write_bytes(os.urandom(200_000))
    lxc("exec", running.host(), "--", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", releases)
    try:
        error = running("deploy", code=30).error
    finally:
        lxc("exec", running.host(), "--", "umount", releases)

    assert error["host"] == running.host()
    assert "No space left on device" in error["message"]
    assert error["details"]["verb"] == "release"
    assert f"deploy {running.name}" in error["resume"]
    assert "<h1>Guestbook</h1>" in fetch(running.urls()[0])  # the one before serves on
    assert running("deploy").verbs == ["release", "run"]


def test_a_deleted_container_is_missed_and_made_anew(running: Deployment) -> None:
    before = running.containers()
    lxc("delete", "--force", running.host())

    (difference,) = running("check", code=8).data["differences"]
    assert running.host() in difference["message"]
    running("deploy")  # it has another host key, and that is right: it is another machine

    assert running.containers().keys() == before.keys()
    assert running.containers() != before
    assert "<h1>Guestbook</h1>" in fetch(running.urls()[0])
    running("check")


def test_containers_come_and_go_and_one_that_is_off_is_named(running: Deployment) -> None:
    running.count(2)
    running("deploy")
    assert [*running.containers()] == [running.host(1), running.host(2)]
    first = running.urls()[0]

    lxc("stop", "--force", running.host(2))
    error = running("deploy", code=10).error
    assert error["host"] == running.host(2)
    assert "the container is stopped" in error["message"]
    assert f"lxc start {running.host(2)}" in error["hint"]
    assert "<h1>Guestbook</h1>" in fetch(first)
    lxc("start", running.host(2))
    until("all serve again", lambda: running("status").data["healthy"], BOOT)
    assert running("deploy").verbs == []

    running.count(1)
    done = running("deploy", "--progress", "plain")
    steps = done.stderr
    assert steps.index(f"{running.host(2)}: services are down") < steps.index(
        f"LXD container {running.host(2)} deleted"
    )
    assert [*running.containers()] == [running.host(1)]
    assert running.urls() == [first]
    assert "<h1>Guestbook</h1>" in fetch(first)


# ---- deployments that don't come about


def test_what_lxd_does_not_have_is_named_and_deploy_continues(tmp_path: Path) -> None:
    with created(tmp_path, "--set", "provider_options.image=nosuch") as found:
        error = found("deploy", code=10).error
        assert "image nosuch" in error["message"]
        assert error["step"] == "apply"

        file = found.environment.file
        replace(file, 'image = "nosuch"', 'image = "debian/12"\nprofile = "nosuch"')
        error = found("deploy", code=10).error
        assert "profile nosuch" in error["message"]
        assert not found.containers()

        replace(file, 'profile = "nosuch"', 'profile = "default"')
        assert found("provision").data["state"] == "provisioned"
        found("destroy", "--yes")
        assert not found.containers()


def test_a_foreign_container_is_left_alone(tmp_path: Path) -> None:
    with created(tmp_path) as found:
        lxc("init", "debian/12", found.host())
        before = lxc("config", "show", found.host())

        error = found("deploy", code=10).error
        destroyed = found("destroy", "--yes", "--progress", "plain")

        assert found.host() in error["message"]
        assert "not this environment's" in error["message"]
        assert f"{found.host()} deleted" not in destroyed.stderr
        assert lxc("config", "show", found.host()) == before


def test_without_lxd_or_terraform_nothing_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with created(tmp_path) as found:
        (tmp_path / "empty").mkdir()
        for variable, value, remedy in (
            ("LXD_DIR", str(tmp_path / "empty"), "group lxd"),
            ("DEPLOYER_TERRAFORM", "/nonexistent", "Install Terraform"),
        ):
            with monkeypatch.context() as there:
                there.setenv(variable, value)
                listed = found.site.run("providers").stdout
                error = found("deploy", code=7).error
            assert remedy in listed
            assert remedy in error["message"]
            assert found("status").data["state"] == "created"


def _launching(found: Deployment) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A provision that has just begun to launch its container, and all its descendants."""
    child = subprocess.Popen(
        [str(DEPLOYER), "-C", str(found.site.root), "provision", found.name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )

    def family() -> list[psutil.Process]:
        assert child.poll() is None
        descendants = psutil.Process(child.pid).children(recursive=True)
        return descendants if any(map(_launches, descendants)) else []

    try:
        return child, until("it launches", family, pause=0.01)
    except BaseException:
        child.send_signal(signal.SIGINT)  # or it would go on behind the back of the next test
        child.wait(60)
        raise


def _launches(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.cmdline()[:2] == ["lxc", "launch"]
    return False


def test_an_interrupted_apply_keeps_its_state_and_is_finished(tmp_path: Path) -> None:
    with created(tmp_path) as found:
        child, _ = _launching(found)
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=60)

        assert child.returncode == 130, said
        assert "Traceback" not in said
        state = json.loads((found.environment.folder / "terraform/terraform.tfstate").read_text())
        assert [one["name"] for one in state["resources"]] == ["host"]

        assert found("provision").data["state"] == "provisioned"
        assert [*found.containers()] == [found.host()]
        found("destroy", "--yes")
        assert not found.containers()


def test_destroy_finds_what_a_killed_apply_was_making(tmp_path: Path) -> None:
    with created(tmp_path) as found:
        child, family = _launching(found)
        for process in (child, *family):
            process.kill()
        child.communicate(timeout=60)

        found("destroy", "--yes")

        assert not found.containers()
        assert not lxc("operation", "list", "--format", "csv").count(found.name)
