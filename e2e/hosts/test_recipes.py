"""The apps that come with deployer, each through its whole life on a host with systemd."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.error import URLError

import pytest

from deployer.paths import TEMPLATES
from e2e.hosts.swarm import Swarm
from e2e.hosts.test_lxd import BOOT, created, lxc
from e2e.support import fetch, post, replace, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.hosts.test_lxd import Deployment
    from e2e.support import Outcome

pytestmark = [pytest.mark.lxd, pytest.mark.terraform]


@dataclass(frozen=True)
class Copy:
    """A recipe that somebody has copied, deployed on a container."""

    deployment: Deployment
    app: Path

    @property
    def url(self) -> str:
        (found,) = self.deployment.urls()
        return found

    def upgrade(self, file: str, old: str, new: str, code: int = 0) -> Outcome:
        """Change the app, and bring it live."""
        replace(self.app / file, old, new)
        return self.deployment.environment("upgrade", code=code)

    def on_host(self, *words: str) -> str:
        """What a command says on the container."""
        found = self.deployment.site.run("exec", self.deployment.name, "--", *words, code=None)
        return str(found.data["hosts"][self.deployment.host()]["stdout"])

    def package_service(self, unit: str) -> tuple[str, ...]:
        """Whether a package's own service is started at boot, and whether it is up."""
        return tuple(
            self.on_host("systemctl", ask, unit).strip() for ask in ("is-enabled", "is-active")
        )


@contextmanager
def copied(recipe: str, folder: Path, *options: str) -> Iterator[Copy]:
    app = shutil.copytree(TEMPLATES / "apps" / recipe, folder / recipe)
    with created(folder, "--app", str(app), *options) as found:
        found("deploy")
        yield Copy(found, app)


def break_and_return(copy: Copy, shown: Callable[[], str], file: str, old: str, new: str) -> None:
    """Fail an upgrade, go back to the first release, start from nothing, and take all down.

    `shown` is what somebody sees of the app. The second release is up.
    """
    found, second = copy.deployment, shown()

    failed = copy.upgrade(file, old, new, code=40)
    assert failed.error["details"]["returned_to"] == 2
    record = found.environment.record
    assert (record.state, record.serving) == ("running", [2])
    assert shown() == second

    found("rollback")
    first = shown()
    assert first != second

    found("reset")
    assert found.environment.record.state == "configured"
    with pytest.raises(URLError):
        shown()

    replace(copy.app / file, new, old)
    found("deploy")
    assert shown() == second

    found("destroy", "--yes")
    assert not found.containers()
    told = [(one["verb"], one["outcome"]) for one in found.environment.operations]
    ended = "succeeded"
    assert told == [
        *[(verb, ended) for verb in ("create", "deploy", "upgrade")],
        ("upgrade", "failed"),
        *[(verb, ended) for verb in ("rollback", "reset", "deploy", "destroy")],
    ]


def test_guestbook(tmp_path: Path) -> None:
    # under supervisor it lives its life on this machine, in e2e/local
    with copied("guestbook", tmp_path, "--runtime", "systemd") as copy:
        post(copy.url, name="Ada", text="here from the first release on")

        copy.upgrade("web.py", "Newest first.", "Version two.")

        assert "here from the first release on" in fetch(copy.url)
        url = copy.url
        crash = '"""The page: entries', 'raise SystemExit("no ink")\n"""The page: entries'
        break_and_return(copy, lambda: fetch(url), "web.py", *crash)


def test_static_site(tmp_path: Path) -> None:
    with copied("static-site", tmp_path) as copy:
        url = copy.url
        assert "<h1>It is served</h1>" in fetch(url)
        assert copy.package_service("caddy") == ("disabled", "inactive")

        copy.upgrade("public/index.html", "<h1>It is served", "<h1>Version two")

        assert "<h1>Version two</h1>" in fetch(url)
        break_and_return(copy, lambda: fetch(url), "Caddyfile.j2", "\tadmin off", "\tadmin on off")


def test_opentracker(tmp_path: Path) -> None:
    by_http, by_udp = Swarm(tmp_path, "http"), Swarm(tmp_path, "udp")
    hashes = f"{by_http.info_hash}\n{by_udp.info_hash}\n#"
    with copied("opentracker", tmp_path) as copy:
        udp, http = copy.url, copy.url.replace("udp", "http")
        assert any("not authorized" in told for told in by_http.transfer(http))

        copy.upgrade("whitelist.txt", "#", hashes)

        assert by_http.transfer(http) == []
        assert by_udp.transfer(udp) == []
        lxc("restart", "--force", copy.deployment.host())
        status = copy.deployment.environment
        until("it serves again", lambda: status("status").data["healthy"], BOOT)
        assert copy.package_service("opentracker") == ("disabled", "inactive")

        def announced() -> str:
            way = "".join(f"%{byte:02x}" for byte in bytes.fromhex(by_http.info_hash))
            said = fetch(f"{http}?info_hash={way}&peer_id=-DP0100-000000000001&port=1&numwant=0")
            return "refused" if "failure reason" in said else "served"

        broken = "listen.tcp_udp {{", "listen.nothing {{"
        break_and_return(copy, announced, "opentracker.conf.j2", *broken)
