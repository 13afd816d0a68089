"""The driver of Terraform or OpenTofu, on the real program."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from deployer.errors import Code, InterruptedOperation, StepError
from deployer.tools import terraform, terraform_process
from deployer.tools.interrupt import Interrupt
from deployer.tools.process import child_environment, workers
from deployer.tools.terraform import Change, Plan, ResourceReport, Terraform, command
from deployer.tools.terraform_json import printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psutil

PROGRAM = terraform.find() or ""
real = pytest.mark.terraform
DEADLINE = 20.0

HOSTS = """
variable "name" { default = "shop" }
variable "token" {
  default   = "unused"
  sensitive = true
}
resource "terraform_data" "first" {
  input = var.name
  provisioner "local-exec" { command = "echo hello from ${self.input}" }
}
resource "terraform_data" "second" { triggers_replace = [var.name] }
output "hosts" { value = [{ name = var.name, address = terraform_data.first.id }] }
output "name" { value = var.name }
output "second" { value = terraform_data.second.id }
output "token" {
  value     = var.token
  sensitive = true
}
"""
SLOW = """
resource "terraform_data" "first" {}
resource "terraform_data" "second" {
  depends_on = [terraform_data.first]
  provisioner "local-exec" {
    command = "if [ -e go ]; then exit 0; fi; echo working; sleep 3600; echo never"
  }
}
"""


class Project:
    """A module and what the driver keeps of it; every report it made is in `reports`."""

    def __init__(self, folder: Path, code: str) -> None:
        self.folder = folder / "module"
        self.data = folder / "environment" / "terraform"
        self.uuid = str(uuid4())
        self.environment = child_environment(self.uuid, "1")
        self.reports: list[ResourceReport] = []
        self.interrupt = Interrupt()
        self.timeout = 60.0
        self.program = PROGRAM
        self.on_report: Callable[[ResourceReport], None] = lambda _: None
        self.folder.mkdir()
        self.write(code)

    def write(self, code: str, name: str = "main.tf") -> None:
        (self.folder / name).write_text(code)

    def driver(self, **variables: Any) -> Terraform:
        return Terraform(
            self.program,
            folder=self.folder,
            data=self.data,
            variables=variables,
            environment=self.environment,
            report=self._take,
            interrupt=self.interrupt,
            timeout=self.timeout,
        )

    def _take(self, report: ResourceReport) -> None:
        self.reports.append(report)
        self.on_report(report)

    def applied(self, **variables: Any) -> Terraform:
        driver = self.driver(**variables)
        driver.init()
        driver.plan()
        driver.apply()
        return driver

    def at_work(self, do: Callable[[], None]) -> None:
        """Do something once the slow resource is at work."""

        def on_report(report: ResourceReport) -> None:
            if report.title.endswith(": working"):
                do()

        self.on_report = on_report

    def done(self, *outcomes: str) -> list[tuple[str | None, str | None]]:
        """Resource and action of the reports with these outcomes."""
        return [(r.resource, r.action) for r in self.reports if r.outcome in outcomes]

    def known(self) -> list[str]:
        """The resources in the state, and whether it has them as broken."""
        state = json.loads((self.data / "terraform.tfstate").read_text())
        return sorted(
            f"{resource['name']} {instance.get('status', 'whole')}"
            for resource in state["resources"]
            for instance in resource["instances"]
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, HOSTS)


@pytest.fixture
def slow(tmp_path: Path) -> Project:
    return Project(tmp_path, SLOW)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def sleepers(project: Project) -> list[psutil.Process]:
    return [process for process in workers(project.uuid) if process.name() == "sleep"]


def raised(do: Callable[[], object]) -> StepError:
    with pytest.raises(StepError) as caught:
        do()
    return caught.value


# ---- what needs no Terraform


def test_the_argument_vector_has_flags_values_and_repeated_options() -> None:
    built = command(
        "/opt/my tools/terraform",
        "plan",
        json=True,
        input=False,
        detailed_exitcode=True,
        lock=None,
        state="/data/terraform.tfstate",
        replace=['host["shop-1"]', "net"],
    )

    assert built == [
        "/opt/my tools/terraform",
        "plan",
        "-json",
        "-input=false",
        "-detailed-exitcode",
        "-state=/data/terraform.tfstate",
        '-replace=host["shop-1"]',
        "-replace=net",
    ]


def test_building_an_argument_vector_reads_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "terraform.tfstate").write_text("no state at all")
    monkeypatch.chdir(tmp_path)

    built = command("tofu", "apply", "/data/plan", json=True, input=False)

    assert built == ["tofu", "apply", "-json", "-input=false", "/data/plan"]


def program(folder: Path, name: str, code: str = "exit 0") -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{code}\n")
    file.chmod(0o755)
    return file


def test_terraform_is_preferred_to_tofu_and_a_named_program_to_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEPLOYER_TERRAFORM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert terraform.find() is None
    assert "opentofu.org/docs/intro/install" in terraform.missing()
    assert "developer.hashicorp.com/terraform/install" in terraform.missing()

    tofu = program(tmp_path, "tofu")
    assert terraform.find() == str(tofu)

    found = program(tmp_path, "terraform")
    assert terraform.find() == str(found)

    monkeypatch.setenv("DEPLOYER_TERRAFORM", "tofu")
    assert terraform.find() == str(tofu)

    monkeypatch.setenv("DEPLOYER_TERRAFORM", "gone")
    assert terraform.find() is None
    assert "'gone'" in terraform.missing()


def test_a_named_program_is_found_from_the_modules_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEPLOYER_TERRAFORM", "./mine")

    found = terraform.find()

    assert found is not None
    assert Path(found).is_absolute()
    assert Path(found).samefile(tmp_path / "mine")


def test_a_program_that_does_not_start_is_told_with_the_remedy(project: Project) -> None:
    project.program = "/nowhere/terraform"

    error = raised(project.driver().validate)

    assert error.code is Code.TOOL_MISSING
    assert "/nowhere/terraform" in error.message
    assert "opentofu.org" in error.hint


def test_what_init_prints_becomes_errors_with_their_places() -> None:
    text = """
There are some problems with the CLI configuration:

Initializing the backend...

Error: Terraform encountered problems during initialisation, including problems
with the configuration, described below.

Error: Unclosed configuration block

  on net/main.tf line 12, in resource "x":
  12: resource "x" {

There is no closing brace for this block
before the end.

See the manual.
"""

    [error] = printed(text.splitlines())

    assert error["summary"] == "Unclosed configuration block"
    assert error["range"] == {"filename": "net/main.tf", "start": {"line": 12}}
    assert error["detail"] == "There is no closing brace for this block before the end.\n" + (
        "See the manual."
    )


def test_an_error_of_init_is_understood_through_what_else_it_prints(project: Project) -> None:
    lines = ["Error: No such thing", "", "  on main.tf line 7:", "   7: thing", "", "It is gone."]
    project.program = str(
        program(
            project.folder.parent,
            "terraform",
            # between two lines both pipes are read
            "\n".join(f"echo {shlex.quote(line)} >&2; sleep 0.1; echo Working" for line in lines)
            + "\nexit 1",
        )
    )

    error = raised(project.driver().init)

    assert error.message == "main.tf:7: No such thing: It is gone."
    assert "Working" in error.output


# ---- plan, apply, outputs, destroy


def acts(plan: Plan) -> list[tuple[str, str]]:
    """What a plan would do to which resource."""
    return sorted((change.address, change.action) for change in plan.changes)


@real
def test_a_module_is_planned_applied_changed_and_destroyed(project: Project) -> None:
    driver = project.driver(name="shop")
    driver.init()
    driver.validate()

    plan = driver.plan()
    assert plan.changed
    assert acts(plan) == [
        ("terraform_data.first", "create"),
        ("terraform_data.second", "create"),
    ]
    assert plan.outputs["hosts"] == [{"name": "shop"}]
    assert plan.outputs["name"] == "shop"
    assert "second" not in plan.outputs
    assert plan.unknown == {"hosts", "second"}
    assert project.done("changed") == []

    driver.apply()
    created = {r.resource: r for r in project.reports if r.outcome == "changed"}
    assert {(r.resource, r.action, r.kind) for r in created.values()} == {
        ("terraform_data.first", "create", "terraform_data"),
        ("terraform_data.second", "create", "terraform_data"),
    }
    assert "terraform_data.first created" in [r.title for r in project.reports]
    assert "terraform_data.first: hello from shop" in [r.title for r in project.reports]
    ids = {address: r.id for address, r in created.items()}
    assert driver.outputs()["hosts"] == [{"name": "shop", "address": ids["terraform_data.first"]}]

    again = driver.plan()
    assert (again.changed, again.changes, again.unknown) == (False, [], frozenset())
    assert again.outputs == driver.outputs()

    project.reports.clear()
    other = project.driver(name="store")
    assert acts(other.plan()) == [
        ("terraform_data.first", "update"),
        ("terraform_data.second", "replace"),
    ]
    other.apply()
    assert set(project.done("changed")) == {
        ("terraform_data.first", "update"),
        ("terraform_data.second", "delete"),
        ("terraform_data.second", "create"),
    }
    gone = next(r for r in project.reports if r.outcome == "changed" and r.action == "delete")
    assert gone.id == ids["terraform_data.second"]

    project.reports.clear()
    other.destroy()
    assert {action for _, action in project.done("changed")} == {"delete"}
    assert project.known() == []
    assert other.outputs() == {}


@real
def test_resources_are_replaced_where_asked_though_nothing_changed(project: Project) -> None:
    driver = project.applied()

    plan = driver.plan(replace=["terraform_data.first", "terraform_data.second"])

    assert acts(plan) == [
        ("terraform_data.first", "replace"),
        ("terraform_data.second", "replace"),
    ]


@real
def test_a_changed_output_alone_is_a_change(project: Project) -> None:
    driver = project.applied()
    project.write(HOSTS + 'output "more" { value = 1 }')

    plan = driver.plan()

    assert plan.changed
    assert plan.changes == []
    assert plan.outputs["more"] == 1


@real
def test_an_output_that_goes_is_not_among_the_planned_ones(project: Project) -> None:
    driver = project.applied()
    project.write(HOSTS.replace('output "name" { value = var.name }', ""))

    plan = driver.plan()

    assert plan.changed
    assert "name" not in plan.outputs


@real
def test_reports_come_while_it_happens_not_afterwards(slow: Project) -> None:
    """The slow resource ends only because the report of its first words makes it."""

    def end_it() -> None:
        until(lambda: bool(sleepers(slow)))
        sleepers(slow)[0].terminate()

    slow.at_work(end_it)

    slow.applied()

    assert ("terraform_data.second", "create") in slow.done("changed")


@real
def test_a_plan_is_applied_once(project: Project) -> None:
    driver = project.applied()

    assert not (project.data / "plan").exists()
    assert "no saved plan" in raised(driver.apply).message


@real
def test_a_plan_that_is_not_applied_can_be_discarded(project: Project) -> None:
    driver = project.driver()
    driver.init()
    driver.plan()

    driver.discard()

    assert not (project.data / "plan").exists()


@real
def test_a_stale_plan_is_refused_and_a_new_one_applies(project: Project) -> None:
    driver = project.driver()
    driver.init()
    driver.plan()
    kept = (project.data / "plan").read_bytes()
    driver.apply()
    (project.data / "plan").write_bytes(kept)

    error = raised(driver.apply)

    assert "stale" in error.message
    assert not driver.plan().changed


@real
def test_without_its_state_file_everything_is_planned_anew(project: Project) -> None:
    driver = project.applied()
    (project.data / "terraform.tfstate").unlink()

    plan = driver.plan()

    assert {change.action for change in plan.changes} == {"create"}
    assert plan.unknown == {"hosts", "second"}


@real
def test_a_damaged_state_file_is_told(project: Project) -> None:
    driver = project.applied()
    (project.data / "terraform.tfstate").write_text("{ no state")

    for do in (driver.plan, driver.outputs, driver.destroy):
        assert "state" in raised(do).message


# ---- what it leaves, what it sees


@real
def test_the_users_folder_gets_nothing(project: Project) -> None:
    before = sorted(path.name for path in project.folder.iterdir())

    project.applied().destroy()

    assert sorted(path.name for path in project.folder.iterdir()) == before
    assert project.data.stat().st_mode & 0o777 == 0o700
    assert not list(project.data.glob("*.tfvars.json"))


@real
def test_a_secret_variable_is_in_no_argument_report_or_file_that_others_can_read(
    project: Project, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    files = f"{project.data}/*.tfvars.json"
    project.program = str(
        program(
            tmp_path,
            "terraform",
            f'echo "$@" >> {log}\nstat -c "mode %a" {files} >> {log} 2>&1\n'
            f'exec {shlex.quote(PROGRAM)} "$@"',
        )
    )

    driver = project.applied(token="s3cret-word")
    values = driver.outputs()
    driver.plan()
    driver.destroy()

    seen = log.read_text()
    assert values["token"] == "s3cret-word"
    assert seen.count("mode 600") == 3  # two plans, one destroy
    assert "s3cret-word" not in seen
    assert "s3cret-word" not in repr(project.reports)
    assert not list(project.data.glob("*.tfvars.json"))


@real
def test_variables_left_by_a_killed_run_are_replaced(project: Project) -> None:
    driver = project.driver(name="shop")
    driver.init()
    (project.data / "terraform.tfvars.json").write_text('{"name": "old"}')

    assert driver.plan().outputs["name"] == "shop"


@real
def test_the_program_gets_the_environment_given_and_its_own_settings(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    project.program = str(
        program(tmp_path, "terraform", f'env > {log}\nexec {shlex.quote(PROGRAM)} "$@"')
    )
    monkeypatch.setenv("TF_VAR_name", "sneaked in")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "there-is-none"))
    monkeypatch.delenv("TF_PLUGIN_CACHE_DIR", raising=False)

    driver = project.driver()
    driver.init()
    plan = driver.plan()

    got = dict(line.split("=", 1) for line in log.read_text().splitlines())
    for own in ("PWD", "OLDPWD", "SHLVL", "_"):  # the shell's
        got.pop(own, None)
    assert got == {
        **project.environment,
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "TF_DATA_DIR": str(project.data / "data"),
        "CHECKPOINT_DISABLE": "1",
        "TF_CLI_CONFIG_FILE": str(tmp_path / "there-is-none"),
    }
    # Terraform complains of the missing file before everything, which is no result
    assert plan.outputs["name"] == "shop"


@real
def test_a_value_for_an_undeclared_variable_is_warned_of_once(project: Project) -> None:
    project.applied(size="large").plan()

    [warning] = [r for r in project.reports if r.outcome == "warning"]
    assert '"size"' in warning.title


@real
def test_where_the_state_is_kept_is_no_news(project: Project) -> None:
    project.applied().destroy()

    assert not [r for r in project.reports if r.outcome == "warning"]


# ---- init


@real
def test_init_runs_only_when_something_changed(project: Project) -> None:
    driver = project.driver()
    assert driver.init()
    assert not driver.init()
    assert not project.driver(name="other").init()

    project.write("", "more.tf")
    assert driver.init()
    assert not driver.init()

    (project.data / "data").mkdir(exist_ok=True)
    project.program = str(program(project.folder.parent, "other", f'exec {PROGRAM} "$@"'))
    assert project.driver().init()


@real
def test_init_runs_again_when_a_module_inside_changed(project: Project) -> None:
    inner = project.folder / "parts" / "inner"
    inner.mkdir(parents=True)
    (inner / "main.tf").write_text('resource "terraform_data" "inner" {}\n')
    project.write('module "inner" { source = "./parts/inner" }\n', "more.tf")
    driver = project.driver()
    assert driver.init()
    assert not driver.init()

    (inner / "main.tf").write_text('module "deep" { source = "../deep" }\n')
    (inner.parent / "deep").mkdir()
    (inner.parent / "deep" / "main.tf").write_text('resource "terraform_data" "deep" {}\n')

    assert driver.init()
    assert Change("module.inner.module.deep.terraform_data.deep", "create") in driver.plan().changes


@real
def test_a_plugin_that_can_not_be_had_is_told_with_where_to_look(project: Project) -> None:
    project.write(
        "terraform {\n  required_providers {\n"
        '    cloud = { source = "registry.invalid/nobody/cloud" }\n  }\n}\n',
        "versions.tf",
    )

    driver = project.driver()
    error = raised(driver.init)

    assert "registry.invalid/nobody/cloud" in error.message
    assert "TF_CLI_CONFIG_FILE" in error.hint
    assert any("registry.invalid" in line for line in error.output)

    (project.folder / "versions.tf").unlink()
    assert driver.init()


@real
def test_code_that_does_not_parse_is_told_with_file_and_line(project: Project) -> None:
    driver = project.driver()
    driver.init()
    project.write('\n\nresource "terraform_data" {\n}\n', "broken.tf")

    for do in (driver.init, driver.validate, driver.plan):
        error = raised(do)
        assert error.message.startswith("broken.tf:3: Missing name for resource")
        assert [(f.file, f.line) for f in error.findings] == [("broken.tf", 3)]


@real
def test_validate_lists_everything_that_is_wrong(project: Project) -> None:
    project.write("output one { value = nothing.here }\noutput two { value = nor.there }\n", "x.tf")
    driver = project.driver()
    driver.init()

    error = raised(driver.validate)

    assert sorted((f.file, f.line) for f in error.findings) == [("x.tf", 1), ("x.tf", 2)]
    assert error.message.endswith("(and 1 more)")


# ---- failures


@real
def test_a_failing_provisioner_says_why_in_its_own_words(project: Project) -> None:
    code = 'echo "no such image: debian/99" >&2; exit 3'
    project.write(
        'resource "terraform_data" "bad" {\n'
        '  for_each = toset(["shop-1"])\n'
        f'  provisioner "local-exec" {{ command = {json.dumps(code)} }}\n}}\n'
    )
    driver = project.driver()
    driver.init()
    driver.plan()

    error = raised(driver.apply)

    address = 'terraform_data.bad["shop-1"]'
    assert error.code is Code.TOOL_FAILED
    assert error.message == f"main.tf:3: {address}: no such image: debian/99"
    assert f"{address}: (local-exec): no such image: debian/99" in error.output
    assert len(error.output) <= 20
    assert f"{address}: no such image: debian/99" in [r.title for r in project.reports]
    assert project.done("failed") == [(address, None)]
    assert project.known() == ["bad tainted"]


@real
def test_a_missing_variable_is_an_error_not_a_question(project: Project) -> None:
    project.write('variable "region" {}\n', "region.tf")
    driver = project.driver()
    driver.init()

    error = raised(driver.plan)

    assert "region" in error.message or any("region" in line for line in error.output)
    assert error.findings[0].file == "region.tf"


# ---- locks


def other_apply(project: Project) -> subprocess.Popen[bytes]:
    """Somebody else's apply of the slow module, at work."""
    process = subprocess.Popen(
        command(
            PROGRAM,
            "apply",
            auto_approve=True,
            input=False,
            state=str(project.data / "terraform.tfstate"),
        ),
        cwd=project.folder,
        env={**project.environment, "TF_DATA_DIR": str(project.data / "data")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: bool(sleepers(project)))
    return process


def end(project: Project) -> None:
    for process in workers(project.uuid):
        process.kill()


@real
def test_a_locked_state_is_told_with_its_holder(slow: Project) -> None:
    driver = slow.driver()
    driver.init()
    other = other_apply(slow)
    try:
        info = json.loads((slow.data / ".terraform.tfstate.lock.info").read_text())

        error = raised(driver.plan)
        unlocked = driver.plan(lock=False)

        assert info["ID"] in error.message
        assert info["Who"] in error.message
        assert info["Created"][:10] in error.message
        assert "force-unlock" not in error.hint  # nothing can break the kernel's lock
        assert error.more["lock"]["operation"] == "OperationTypeApply"
        assert unlocked.changed
    finally:
        end(slow)
        other.wait()


@real
def test_a_killed_terraform_leaves_no_lock(slow: Project) -> None:
    driver = slow.driver()
    driver.init()
    other = other_apply(slow)

    other.kill()
    other.wait()

    try:
        # the provisioner's process lives on, and holds nothing
        assert workers(slow.uuid)
        plan = driver.plan()
        assert plan.changes == [Change("terraform_data.second", "create")]
    finally:
        end(slow)
    (slow.folder / "go").touch()
    driver.apply()
    assert slow.known() == ["first whole", "second whole"]


class Remote(BaseHTTPRequestHandler):
    """A backend for states: one state and one lock, in memory."""

    state: bytes | None = None
    lock: bytes | None = None

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self) -> None:
        cls = type(self)
        self.answer(200, cls.state) if cls.state else self.answer(404)

    def do_POST(self) -> None:
        type(self).state = self.body()
        self.answer(200)

    def do_LOCK(self) -> None:
        cls, body = type(self), self.body()
        if cls.lock:
            self.answer(423, cls.lock)
        else:
            cls.lock = body
            self.answer(200)

    def do_UNLOCK(self) -> None:
        self.body()
        type(self).lock = None
        self.answer(200)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def remote() -> Iterator[tuple[type[Remote], str]]:
    handler = type("One", (Remote,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/state"
    server.shutdown()
    thread.join()
    server.server_close()


@real
def test_a_module_keeps_its_own_backend_and_its_lock_can_be_broken(
    project: Project, remote: tuple[type[Remote], str]
) -> None:
    backend, url = remote
    project.write(
        f'terraform {{\n  backend "http" {{\n    address = "{url}"\n'
        f'    lock_address = "{url}"\n    unlock_address = "{url}"\n  }}\n}}\n',
        "backend.tf",
    )
    driver = project.applied(name="shop")
    assert backend.state is not None
    assert not (project.data / "terraform.tfstate").exists()
    assert driver.outputs()["name"] == "shop"
    assert driver.plan().outputs == driver.outputs()

    info = {
        "ID": "0815",
        "Operation": "OperationTypePlan",
        "Who": "ann@desk",
        "Version": "1",
        "Created": "2026-01-02T03:04:05Z",
        "Path": "",
        "Info": "",
    }
    backend.lock = json.dumps(info).encode()
    error = raised(driver.plan)
    # Terraform describes its own attempt here, and of the lock in its way says the id alone
    assert error.message == "The Terraform state is locked (lock 0815)"

    _, _, unlock = error.hint.partition(": ")
    done = subprocess.run(
        unlock.replace("force-unlock", "force-unlock -force"),
        shell=True,
        env=project.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not driver.plan().changed


@real
def test_a_local_backend_of_the_modules_own_decides_where_the_state_is(project: Project) -> None:
    project.write('terraform {\n  backend "local" { path = "../own.tfstate" }\n}\n', "backend.tf")

    driver = project.applied()

    assert (project.folder.parent / "own.tfstate").exists()
    assert not (project.data / "terraform.tfstate").exists()
    assert not driver.plan().changed


# ---- interrupts


@real
def test_an_interrupted_apply_knows_what_it_made_and_is_completed(slow: Project) -> None:
    def interrupt() -> None:
        slow.interrupt.number = signal.SIGINT

    slow.at_work(interrupt)
    with pytest.raises(InterruptedOperation):
        slow.applied()

    assert workers(slow.uuid) == []
    assert slow.known() == ["first whole", "second tainted"]
    assert not (slow.data / "plan").exists()

    slow.interrupt.number = None
    (slow.folder / "go").touch()
    driver = slow.driver()
    assert not driver.init()
    assert acts(driver.plan()) == [("terraform_data.second", "replace")]
    driver.apply()
    assert slow.known() == ["first whole", "second whole"]
    assert not driver.plan().changed


@real
def test_sigterm_ends_an_apply_in_the_same_way(slow: Project) -> None:
    with slow.interrupt:
        slow.at_work(lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(InterruptedOperation) as caught:
            slow.applied()

    assert caught.value.code is Code.TERMINATED
    assert slow.known() == ["first whole", "second tainted"]


@real
def test_an_apply_that_outlives_its_timeout_saves_its_state(slow: Project) -> None:
    driver = slow.driver()
    driver.init()
    driver.plan()
    slow.timeout = 1.0

    error = raised(slow.driver().apply)

    assert error.code is Code.TIMEOUT
    assert any("working" in line for line in error.output)
    assert workers(slow.uuid) == []
    assert slow.known() == ["first whole", "second tainted"]


def test_nothing_is_started_after_a_signal(project: Project) -> None:
    project.interrupt.number = signal.SIGINT
    started = project.folder.parent / "started"
    project.program = str(program(project.folder.parent, "terraform", f"touch {started}"))

    with pytest.raises(InterruptedOperation):
        project.driver().init()

    assert not started.exists()


@real
def test_an_apply_whose_reports_nobody_takes_saves_its_state(slow: Project) -> None:
    def refuse() -> None:
        raise RuntimeError("the store is full")

    slow.at_work(refuse)

    with pytest.raises(RuntimeError, match="the store is full"):
        slow.applied()

    assert workers(slow.uuid) == []
    assert slow.known() == ["first whole", "second tainted"]


@real
def test_what_a_provisioner_started_hears_of_the_interrupt(slow: Project) -> None:
    script = slow.folder / "tidy.sh"
    script.write_text(
        "trap 'sleep 0.3; echo tidied > tidied; exit 1' INT\n"
        "echo working\n"
        "while :; do sleep 0.05; done\n"
    )
    slow.write(
        'resource "terraform_data" "tidy" {\n'
        '  provisioner "local-exec" { command = "sh tidy.sh; true" }\n}\n'
    )

    def interrupt() -> None:
        slow.interrupt.number = signal.SIGINT

    slow.at_work(interrupt)

    with pytest.raises(InterruptedOperation):
        slow.applied()

    assert (slow.folder / "tidied").exists()
    assert workers(slow.uuid) == []


@real
def test_what_a_provisioner_left_that_ignores_the_interrupt_is_ended(slow: Project) -> None:
    slow.write(
        'resource "terraform_data" "stubborn" {\n  provisioner "local-exec" {\n'
        "    command = \"(trap '' INT; exec sleep 3600) & echo working; wait\"\n  }\n}\n"
    )

    def interrupt() -> None:
        until(lambda: bool(sleepers(slow)))
        slow.interrupt.number = signal.SIGINT

    slow.at_work(interrupt)

    with pytest.raises(InterruptedOperation):
        slow.applied()

    assert workers(slow.uuid) == []


# ---- a program that takes its time: how patient the driver is


SLUGGISH = """
import pathlib, signal, sys, time
asked = 0
def on_int(*_):
    global asked
    asked += 1
    pathlib.Path({log!r}).write_text(str(asked))
signal.signal(signal.SIGINT, on_int)
pathlib.Path({log!r}).with_name("ready").touch()
while asked < {needs}:
    time.sleep(0.01)
time.sleep({saves})
pathlib.Path({log!r}).write_text(f"saved after {{asked}}")
sys.exit(1)
"""


def sluggish(project: Project, needs: int, saves: float) -> Path:
    """A program that ends `saves` seconds after having been asked `needs` times."""
    log = project.folder.parent / "log"
    code = SLUGGISH.format(log=str(log), needs=needs, saves=saves)
    project.program = str(
        program(
            project.folder.parent,
            "terraform",
            f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}",
        )
    )
    project.data.mkdir(parents=True)
    (project.data / "plan").touch()
    return log


def interrupted_when_ready(project: Project) -> threading.Thread:
    """Sends SIGINT to this process as soon as the program waits for one."""

    def send() -> None:
        until((project.folder.parent / "ready").exists)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_one_interrupt_is_passed_on_once_and_the_state_waited_for(project: Project) -> None:
    log = sluggish(project, needs=1, saves=0.5)

    with project.interrupt:
        thread = interrupted_when_ready(project)
        with pytest.raises(InterruptedOperation):
            project.driver().apply()
        thread.join()

    assert log.read_text() == "saved after 1"
    assert "saved its state" in project.reports[-1].title


def test_a_second_interrupt_is_passed_on_too(project: Project) -> None:
    log = sluggish(project, needs=2, saves=0)
    # told when the first was passed on
    project.on_report = lambda _: (
        until(lambda: log.exists() and log.read_text() == "1"),
        os.kill(os.getpid(), signal.SIGINT),
    )[0]

    with project.interrupt:
        thread = interrupted_when_ready(project)
        with pytest.raises(KeyboardInterrupt):
            project.driver().apply()
        thread.join()

    assert log.read_text() == "saved after 2"


def test_a_program_deaf_to_two_interrupts_is_killed(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terraform_process, "ABORT_GRACE", 0.5)
    log = sluggish(project, needs=99, saves=0)
    project.on_report = lambda _: (
        until(lambda: log.exists() and log.read_text() == "1"),
        os.kill(os.getpid(), signal.SIGINT),
    )[0]

    with project.interrupt:
        thread = interrupted_when_ready(project)
        with pytest.raises(KeyboardInterrupt):
            project.driver().apply()
        thread.join()

    assert log.read_text() == "2"
    assert workers(project.uuid) == []
