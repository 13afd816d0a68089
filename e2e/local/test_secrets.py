"""Secrets reach the services that want them, and nothing else."""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING

import pexpect
import pytest

from e2e.leaks import Keeper, Watch, keeper, seen
from e2e.support import DEPLOYER, Environment, Site, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKING = """\
name = "asking"

[settings]
token = { type = "secret" }

[[services]]
name = "idle"
command = ["sleep", "100000"]
environment = { TOKEN = "{{ settings.token }}" }
"""


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[Keeper, Environment, Watch, str]]:
    """The application, what was seen of processes while it was deployed, and what was said."""
    with pytest.MonkeyPatch.context() as patch, keeper(patch) as found:
        environment = found.create("--runtime", "supervisor")
        with Watch(found) as watch:
            command = [DEPLOYER, "-C", found.site.root, "deploy", environment.name]
            done = subprocess.run(
                [*command, "--verbose", "--progress", "plain"],
                capture_output=True,
                text=True,
                timeout=60,
            )
        assert done.returncode == 0, done.stderr
        yield found, environment, watch, done.stdout + done.stderr


def test_services_get_secrets_as_they_are_and_nobody_else_does(
    deployed: tuple[Keeper, Environment, Watch, str],
) -> None:
    kept, environment, watch, said = deployed
    file = environment.host / "shared" / ".secrets" / "web.env"

    assert seen(fetch(environment.url)) == kept.wanted("127.0.0.1")
    assert kept.left_here() == [file]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert watch.looks > 10
    assert not watch.found
    assert not kept.said(said)


def test_a_changed_secret_is_a_new_release_and_the_same_one_is_none(
    deployed: tuple[Keeper, Environment, Watch, str],
) -> None:
    kept, environment, _, _ = deployed
    before = environment.record.inputs["release"]["number"]

    assert environment("deploy").verbs == []
    kept.change()
    planned = environment("plan")
    changed = environment("deploy", "--verbose", "--progress", "json")
    service = seen(fetch(environment.url))
    back = environment("rollback")

    found = [c for v in planned.data["verbs"] for s in v["steps"] for c in s["changes"]]
    assert [c["name"] for c in found if c["kind"] == "secret"] == ["from_env"]
    assert not kept.said(planned.stdout + planned.stderr)
    assert changed.verbs == ["release", "run"]
    assert service == kept.wanted("127.0.0.1")
    assert back.data["release"] == before
    # asked for anew: the older release has the secret of today
    assert seen(fetch(environment.url)) == kept.wanted("127.0.0.1")
    assert not kept.said(changed.stdout + changed.stderr + back.stdout + back.stderr)


def test_what_a_failing_service_prints_is_told_without_its_secrets(
    deployed: tuple[Keeper, Environment, Watch, str],
) -> None:
    kept, environment, _, _ = deployed
    log = environment.host / "logs" / "web.log"
    own = environment.host / "shared" / ".secrets" / "web.env"

    failed = environment("upgrade", "--set", "broken=true", "--progress", "json", code=40)

    assert any("I know ***" in line for line in failed.error["details"]["output"])
    assert any("redis://:***@" in line for line in failed.error["details"]["output"])
    assert not kept.said(failed.stdout + failed.stderr)
    assert set(kept.left_here()) == {log, own}, "only the service's own log has what it printed"


def test_secrets_that_are_gone_are_all_named_before_anything_is_touched(
    deployed: tuple[Keeper, Environment, Watch, str],
) -> None:
    kept, environment, _, _ = deployed
    environment("deploy")
    before = environment.record
    word = kept.vault / "word"
    word.rename(kept.vault / "away")
    kept.patch.delenv("TEST_SECRET_OF_AN_APP")
    try:
        for verb in ("deploy", "upgrade", "restart"):
            refused = environment(verb, code=7)
            assert refused.error["code"] == "SECRET_MISSING"
            told = [f["message"] for f in refused.error["details"]["findings"]]
            assert [text.partition(" can't")[0] for text in told] == [
                "settings.from_env",
                "settings.from_command",
            ]
    finally:
        word.with_name("away").rename(word)
        kept.change()

    assert environment.record == before


def test_a_person_is_asked_once_by_the_plan_and_the_deploy_together(site: Site) -> None:
    (site.root / "app").mkdir()
    (site.root / "app" / "app.toml").write_text(ASKING)
    site.run("create", "shop", "--app", "./app", "--set", "token.prompt=true")
    shop = Environment(site, "shop")

    _deploy_on_terminal(shop, ("settings.token", "the first"))
    _deploy_on_terminal(shop, ("settings.token", "the second"), (r"Deploy that\?", "y"))

    file = shop.host / "shared" / ".secrets" / "idle.env"
    assert "the second" in file.read_text()
    assert shop.shown["release"] == 2


def _deploy_on_terminal(environment: Environment, *talk: tuple[str, str]) -> None:
    """Deploy, with an answer to each question in turn; there must not be another one."""
    words = ["-C", str(environment.site.root), "deploy", environment.name]
    terminal = pexpect.spawn(str(DEPLOYER), words, encoding="utf-8", timeout=60)
    for question, answer in talk:
        terminal.expect(question)
        terminal.sendline(answer)
    said = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0, said
