"""What is written for systemd, seen without a host that runs it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from deployer.lifecycle import hosts

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

UUID = "3670fc7e-60f9-4b75-ae04-667ff581db82"


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The runtime, its folders of units below a temporary one, on a host that has not booted it."""
    hosts.host_code()
    found = sys.modules["deployer_host.systemd"]
    units = tmp_path / "units"
    (units / "multi-user.target.wants").mkdir(parents=True)
    system = found.manager.SYSTEM._replace(folder=str(units))
    monkeypatch.setattr(found.manager, "SYSTEM", system)
    monkeypatch.setattr(found.rotation, "FOLDER", str(tmp_path / "rotation"))
    monkeypatch.setattr(found.manager, "BOOTED", str(tmp_path / "not-booted"))
    return found


def spec(**more: Any) -> dict[str, Any]:
    return {
        "environment": "shop",
        "uuid": UUID,
        "host": "shop-1",
        "runtime": "systemd",
        "user": "deployer-3670fc7e",
        "root": "/srv/deployer/shop",
        "sockets": "/run/deployer/shop-3670fc7e",
        "python": "/usr/bin/python3",
        "variables": {"PATH": "/usr/bin", "http_proxy": "http://user:100%25$x@proxy/"},
        **more,
    }


def place_unit(systemd: ModuleType, name: str, uuid: str, *, enabled: bool = False) -> Path:
    from pathlib import Path

    folder = Path(systemd.manager.SYSTEM.folder)
    path = folder / name
    path.write_text(f"# deployer environment {uuid}\n[Service]\n", encoding="utf-8")
    if enabled:
        (folder / "multi-user.target.wants" / name).symlink_to(path)
    return path


def test_a_unit_holds_names_paths_and_numbers_and_nothing_to_expand(systemd: ModuleType) -> None:
    text = systemd.units.text(spec(), "web", 7)

    said = "".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not set(said) & set("%$'\\;")
    assert "proxy" not in text
    assert "WorkingDirectory=/srv/deployer/shop\n" in text
    assert (
        "ExecStart=/usr/bin/env runtime/python -I runtime/launch.py web 7 variables.json\n" in text
    )
    assert "User=deployer-3670fc7e\n" in text
    assert text.startswith(f"# deployer environment {UUID}\n")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("root", "srv/shop"),
        ("root", "/srv/shop\nUser=root"),
        ("environment", "shop%n"),
        ("user", 'x"'),
    ],
)
def test_what_cannot_be_said_to_systemd_is_refused(
    systemd: ModuleType, key: str, value: str
) -> None:
    with pytest.raises(Exception, match="can't stand in a unit"):
        systemd.units.text(spec(**{key: value}), "web", 1)


def test_a_path_of_a_users_is_taken_as_it_is(systemd: ModuleType) -> None:
    text = systemd.units.text(spec(user=None, root="/home/me/100% of $HOME"), "web", 1)

    assert "\nWorkingDirectory=/home/me/100%% of $HOME\n" in text
    assert "append:/home/me/100%% of $HOME/logs/web.log\n" in text


def test_a_users_own_manager_is_asked_for_nothing_that_only_root_can_do(
    systemd: ModuleType,
) -> None:
    text = systemd.units.text(spec(user=None), "web", 1)

    # with any of these it starts nothing, or they do nothing (systemd.exec(5), "Sandboxing")
    assert not re.search("^(User|Group|.*Capabilit.*|Private.*|Protect.*|ReadWrite.*)=", text, re.M)
    assert "\nNoNewPrivileges=yes\n" in text and "\nWantedBy=default.target\n" in text


def test_units_are_known_by_their_mark_and_not_by_their_name(systemd: ModuleType) -> None:
    ours = place_unit(systemd, "deployer-shop-web.service", UUID, enabled=True)
    theirs = place_unit(systemd, "deployer-shop-web-x.service", "theirs", enabled=True)
    by_hand = place_unit(systemd, "deployer-shop-cron.service", "")
    assert systemd.traces(spec())

    assert systemd.stop(spec())
    assert systemd.remove(spec())

    assert not ours.exists()
    assert theirs.exists() and by_hand.exists()
    assert [path.name for path in theirs.parent.glob("*.wants/*")] == [theirs.name]
    assert not systemd.traces(spec()) and not systemd.remove(spec())


def test_a_unit_of_the_same_name_that_is_not_ours_is_refused(systemd: ModuleType) -> None:
    theirs = place_unit(systemd, "deployer-shop-web.service", "theirs")

    with pytest.raises(Exception, match="is not this environment's"):
        systemd.units.refuse_foreign(spec(), [theirs.name])


def test_a_host_without_systemd_is_told_what_to_choose(systemd: ModuleType) -> None:
    with pytest.raises(Exception, match="systemd doesn't run on shop-1") as problem:
        systemd.install(spec())

    assert problem.value.code == "TOOL_MISSING"  # type: ignore[attr-defined]
    assert "supervisor" in problem.value.hint  # type: ignore[attr-defined]
    assert not systemd.installed(spec())


def test_a_host_without_supervisor_says_so() -> None:
    hosts.host_code()
    supervisor = sys.modules["deployer_host.supervisor"]

    for missing in ({}, {"supervisord": ["/no/such/supervisord"]}):
        with pytest.raises(Exception, match="supervisor is not installed") as problem:
            supervisor.install(spec(**missing))
        assert problem.value.code == "TOOL_MISSING" and problem.value.hint  # type: ignore[attr-defined]


def test_a_users_name_of_another_form_is_never_made_nor_removed() -> None:
    hosts.host_code()
    users = sys.modules["deployer_host.users"]

    for name in ("root", "deployer", "deployer-3670fc7e2", "deployer-xyz"):
        for act in (users.exists, users.ensure, users.remove):
            with pytest.raises(Exception, match="no user of an environment's"):
                act(spec(user=name))


def test_a_systemd_time_is_read_as_unix_time(systemd: ModuleType) -> None:
    assert systemd._unix("Thu 2025-11-20 12:00:00 UTC") == 1763640000
    assert systemd._unix("") is None
