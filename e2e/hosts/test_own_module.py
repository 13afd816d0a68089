"""The user's own Terraform module: outside the workspace, made in its own way, run as it is."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.hosts.fleet import docker_host
from e2e.support import Environment, Site, fetch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from e2e.hosts.fleet import SshHost

pytestmark = pytest.mark.terraform

FILE = """\
app = "guestbook"
provider = "terraform"
host_timeout = 60

[provider_options]
module = "{module}"
key = "{key}"

[settings]
port = 8080
"""
# launches in its own way: its settings beside it, a part of it next door, notes of its own
MAIN = """
variable "name" { type = string }
variable "image" { type = string }
variable "authorized" { type = string }
variable "notes" { type = string }
variable "pass" {
  type      = string
  sensitive = true
  validation {
    condition     = var.pass == "right"
    error_message = "The pass is refused."
  }
}

module "launch" {
  source     = "../shared"
  name       = var.name
  image      = var.image
  authorized = var.authorized
  notes      = var.notes
}

output "hosts" {
  value = [{ name = "box", address = module.launch.note.address, groups = ["boxes"] }]
}
"""
SHARED = """
variable "name" {}
variable "image" {}
variable "authorized" {}
variable "notes" {}

resource "terraform_data" "box" {
  input = { name = var.name }

  provisioner "local-exec" {
    interpreter = ["/bin/sh", "-ec"]
    environment = { NAME = var.name, IMAGE = var.image, KEY = var.authorized }
    command     = <<-END
      lxc launch "$IMAGE" "$NAME" -c security.nesting=true </dev/null
      while
        address=$(lxc list "^$NAME$" -f csv -c 4 | grep -o '^[0-9.]*')
        [ -z "$address" ]
      do sleep 0.3; done
      lxc exec "$NAME" -- install -d -m 700 /root/.ssh </dev/null
      echo "$KEY" | lxc exec "$NAME" -- tee /root/.ssh/authorized_keys
      echo "{\\"address\\": \\"$address\\"}" >"${var.notes}/${self.id}.json"
    END
  }

  provisioner "local-exec" {
    when    = destroy
    command = "lxc delete --force ${self.input.name}"
  }
}

output "note" { value = jsondecode(file("${var.notes}/${terraform_data.box.id}.json")) }
"""


def listing(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the one that Terraform keeps its plugins' digests in."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if path.name != ".terraform.lock.hcl"
    }


def exists(container: str) -> bool:
    done = subprocess.run(["lxc", "info", container], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def container() -> Iterator[str]:
    """The name of a container that is not there, and is not there afterwards."""
    name = f"deployer-test-{secrets.token_hex(4)}"
    yield name
    subprocess.run(["lxc", "delete", "--force", name], capture_output=True, check=False)


@pytest.mark.lxd
def test_a_module_from_elsewhere_works_unchanged(
    tmp_path: Path, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "site"
    workspace.mkdir()
    infra, notes, key = tmp_path / "infra", tmp_path / "notes", tmp_path / "id"
    (infra / "shop").mkdir(parents=True)
    (infra / "shared").mkdir()
    notes.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (infra / "shop" / "main.tf").write_text(MAIN)
    (infra / "shop" / "terraform.tfvars").write_text('image = "debian/12"\n')
    (infra / "shared" / "main.tf").write_text(SHARED)
    before = listing(infra)
    environment = Environment(Site(workspace), f"t{secrets.token_hex(3)}")
    environment.file.parent.mkdir(parents=True)
    own = {"name": container, "authorized": key.with_suffix(".pub").read_text().strip()}
    variables = "\n".join(
        f"{name} = {json.dumps(value)}" for name, value in {**own, "notes": str(notes)}.items()
    )
    environment.file.write_text(
        FILE.format(module="../infra/shop", key=key)
        + f"\n[provider_options.variables]\n{variables}\n"
    )
    monkeypatch.setenv("TF_VAR_pass", "right")
    environment("create")

    assert environment("deploy").verbs == ["provision", "configure", "release", "run"]
    [host] = environment.record.hosts
    assert (host.name, host.user, host.groups) == ("box", "root", ["boxes"])
    assert "Guestbook" in fetch(f"http://{host.address}:8080/")

    assert environment("deploy").verbs == []

    # credentials that are refused take nothing away from what serves
    monkeypatch.setenv("TF_VAR_pass", "expired")
    refused = environment("provision", code=10).error
    assert "The pass is refused." in refused["message"]
    assert environment.record.state == "running"
    monkeypatch.setenv("TF_VAR_pass", "right")

    # and what it stands on can't be changed under it
    file = environment.file.read_text()
    environment.file.write_text('app = "guestbook"\nprovider = "local"\n')
    changed = environment("deploy", code=7).error
    assert "provider: is 'local', was 'terraform'" in changed["message"]
    assert f"deployer destroy {environment.name}" in changed["hint"]
    assert environment.record.state == "running"
    environment.file.write_text(file)
    assert environment("deploy").verbs == []

    environment("destroy", "--yes")
    assert not exists(container)
    assert listing(infra) == before


# ---- modules that are wrong

GOOD = {"name": "box", "address": "127.0.0.1"}


def hosts(*items: object) -> str:
    return f'output "hosts" {{ value = jsondecode({json.dumps(json.dumps(items))}) }}\n'


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment whose module is to be written; its hosts are never reached."""
    site = Site(tmp_path_factory.mktemp("own"))
    (site.root / "module").mkdir()
    found = Environment(site, f"t{secrets.token_hex(3)}")
    found.file.parent.mkdir()
    found.file.write_text(FILE.format(module="module", key="none"))
    found("create")
    yield found
    site.tear_down()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param('output "addresses" { value = [] }', "no output `hosts`", id="no hosts"),
        pytest.param(
            'output "hosts" { value = "here" }', "a list of hosts, not the text 'here'", id="a text"
        ),
        pytest.param(
            'output "hosts" { value = { name = "box" } }',
            "a list of hosts, not an object",
            id="an object",
        ),
        pytest.param(hosts(), "at least one", id="none"),
        pytest.param(hosts({"name": "box"}), "hosts[0].address: is missing", id="no address"),
        pytest.param(hosts({**GOOD, "address": None}), "hosts[0].address: is missing", id="null"),
        pytest.param(hosts("127.0.0.1"), "hosts[0]: must be an object", id="an address"),
        pytest.param(hosts({**GOOD, "port": "ssh"}), "not the text 'ssh'", id="port"),
        pytest.param(hosts({**GOOD, "usr": "me"}), "did you mean 'user'?", id="misspelt"),
        pytest.param(hosts(GOOD, GOOD), "'box' is there twice", id="twice"),
        pytest.param(
            hosts({**GOOD, "address": "-oProxyCommand=x"}), "is not a host name", id="an option"
        ),
    ],
)
def test_wrong_hosts_are_said_to_be_so(broken: Environment, code: str, said: str) -> None:
    (broken.site.root / "module" / "main.tf").write_text(code)
    error = broken("provision", code=10).error
    assert error["code"] == "WRONG_HOSTS"
    assert error["step"] == "plan"
    assert said in error["message"]
    assert "{name, address, port = 22" in error["hint"]
    assert error["resume"].endswith(f"provision {broken.name}")
    assert broken.record.state == "created"


def test_code_that_does_not_parse_is_shown_by_its_place(broken: Environment) -> None:
    (broken.site.root / "module" / "main.tf").write_text('output "hosts" {\n  value = [\n}\n')
    error = broken("provision", code=10).error
    assert error["message"].startswith("main.tf:")
    assert error["step"] == "plan"
    assert broken.record.state == "created"


def test_a_plugin_that_cannot_be_had_is_named(
    broken: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    configuration = tmp_path / "terraform.tfrc"
    configuration.write_text(
        f'provider_installation {{ filesystem_mirror {{ path = "{nothing}" }} }}\n'
    )
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(configuration))
    (broken.site.root / "module" / "main.tf").write_text(
        'terraform {\n  required_providers { y = { source = "example.invalid/x/y" } }\n}\n'
        + hosts(GOOD)
    )
    error = broken("provision", code=10).error
    assert "example.invalid/x/y" in error["message"]
    assert "TF_CLI_CONFIG_FILE" in error["hint"]
    assert broken.record.state == "created"


def test_a_module_that_is_not_there_is_named(broken: Environment) -> None:
    away = broken.site.root / "away"
    (broken.site.root / "module").rename(away)
    try:
        error = broken("provision", code=10).error
    finally:
        away.rename(broken.site.root / "module")
    assert "module" in error["message"]
    assert "provider_options" in error["hint"]
    assert broken.record.state == "created"


@pytest.fixture(scope="module")
def machine() -> Iterator[SshHost]:
    with docker_host() as found:
        yield found


@pytest.mark.docker
def test_a_mended_module_goes_on(site: Site, machine: SshHost) -> None:
    module = site.root / "module"
    module.mkdir()
    environment = Environment(site, f"t{secrets.token_hex(3)}")
    environment.file.parent.mkdir(parents=True)
    environment.file.write_text(
        FILE.format(module="module", key=machine.key).replace(
            "host_timeout", 'runtime = "supervisor"\nhost_timeout'
        )
    )
    environment("create")
    host = {"name": "box", "address": machine.address, "port": machine.port}
    (module / "main.tf").write_text(hosts({**host, "usr": machine.user}))
    environment("provision", code=10)

    (module / "main.tf").write_text(hosts({**host, "user": machine.user}))
    environment("provision")
    assert environment.record.state == "provisioned"

    # a module that was taken away keeps nobody from destroying
    shutil.rmtree(module)
    environment("destroy", "--yes")
