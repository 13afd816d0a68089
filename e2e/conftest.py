"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.hosts import fleet
from e2e.support import Environment, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.hookimpl(tryfirst=True)  # before the fixtures, which may need the hosts too
def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark, lacking in (("lxd", fleet.lxd_available), ("docker", fleet.docker_available)):
        if item.get_closest_marker(mark) and (reason := lacking()):
            pytest.skip(reason)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty workspace, taken down afterwards."""
    found = Site(tmp_path)
    yield found
    found.tear_down()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """One deployment of an application that may be changed, for all tests of a module."""
    site = Site(tmp_path_factory.mktemp("shared"))
    try:
        environment = site.environment(app=site.own_app())
        environment("deploy")
        yield environment
    finally:
        site.tear_down()


@pytest.fixture
def running(shared: Environment) -> Environment:
    """The shared deployment, running and with nothing left to do."""
    shared("deploy")
    return shared
