"""The apps of Debian packages on this machine, where the packages are installed already."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from e2e.support import Environment, fetch, free_port

if TYPE_CHECKING:
    from e2e.support import Site


def deployed(site: Site, recipe: str, package: str) -> Environment:
    if shutil.which(package) is None:
        pytest.skip(f"no {package}; as root: apt-get install --no-install-recommends {package}")
    site.run("create", "demo", "--app", recipe, "--set", f"port={free_port()}")
    found = Environment(site, "demo")
    found("deploy")
    return found


def test_a_static_site_is_served_and_keeps_its_state_in_shared(site: Site) -> None:
    found = deployed(site, "static-site", "caddy")

    assert "<h1>It is served</h1>" in fetch(found.url)
    assert [one.name for one in (found.host / "shared").iterdir()] == ["config"]
    assert found("deploy").verbs == []


def test_a_tracker_answers_by_http_and_udp(site: Site) -> None:
    found = deployed(site, "opentracker", "opentracker")

    (way,) = found.shown["urls"]
    assert way.startswith("udp://127.0.0.1:")
    assert "8:intervali" in fetch(f"{found.url}announce?info_hash={'x' * 20}&port=1&event=stopped")
