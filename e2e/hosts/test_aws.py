"""The provider `aws`, with the real plugin, against an API of EC2 on this machine.

Its instances exist in that API alone, so provision ends where it is to reach them. It reaches
for them by a jump host that nobody listens on: not one packet leaves this machine.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from e2e.hosts import plugins
from e2e.support import Environment, Site, free_port, until

if TYPE_CHECKING:
    from collections.abc import Iterator

# each start of the plugin takes seconds of the processor, and there are a dozen
pytestmark = [pytest.mark.terraform, pytest.mark.aws_plugin, pytest.mark.timeout(900)]

REGION = "eu-central-1"
DEBIAN = "136693071363"
# the newest is somebody else's
IMAGES = [
    ("ami-00000000000000001", "debian-12-amd64-20250101-1", "2025-01-01", DEBIAN),
    ("ami-00000000000000002", "debian-12-amd64-20250601-1", "2025-06-01", DEBIAN),
    ("ami-00000000000000003", "debian-12-arm64-20250701-1", "2025-07-01", DEBIAN),
    ("ami-00000000000000004", "debian-12-amd64-20260101-1", "2026-01-01", "999999999999"),
]
START_TIMEOUT = 60.0  # seconds
FILE = """\
app = "guestbook"
provider = "aws"
host_timeout = 1

[provider_options]
region = "{region}"
count = 1
group = "web"
address = "private"
jump = "127.0.0.1:{closed}"
ssh_from = ["10.0.0.0/8", "fd00::/8"]
ports = [80, 443]

[settings]
port = 8080
"""


@dataclass(frozen=True)
class Cloud:
    """An EC2 of this machine's own."""

    url: str

    def client(self) -> Any:
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client("ec2", region_name=REGION, endpoint_url=self.url, **keys)

    def instances(self) -> dict[str, dict[str, Any]]:
        """Those that were not terminated, by their tag Name."""
        pages = self.client().describe_instances()["Reservations"]
        alive = [i for p in pages for i in p["Instances"] if i["State"]["Name"] != "terminated"]
        return {tags(one)["Name"]: one for one in alive}

    def groups(self) -> list[dict[str, Any]]:
        found = self.client().describe_security_groups()["SecurityGroups"]
        return [group for group in found if group["GroupName"] != "default"]

    def keys(self) -> list[dict[str, Any]]:
        return list(self.client().describe_key_pairs()["KeyPairs"])

    def refuse(self, refused: bool = True) -> None:
        """Ask for real credentials, which nobody has here; or let everybody in again."""
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth",
            data=b"0" if refused else b"inf",
            headers={"Content-Type": "text/plain"},
        )
        urllib.request.urlopen(request, timeout=10).close()


def tags(thing: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in thing.get("Tags", [])}


def image(name: str, title: str, day: str, owner: str) -> dict[str, Any]:
    return {
        "ami_id": name,
        "name": title,
        "owner_id": owner,
        "creation_date": f"{day}T00:00:00.000Z",
        "architecture": "arm64" if "arm64" in title else "x86_64",
        "public": True,
        "state": "available",
        "virtualization_type": "hvm",
        "root_device_type": "ebs",
        "root_device_name": "/dev/xvda",
    }


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud, and an environment in which Terraform knows no other."""
    aside = tmp_path / "cloud"
    aside.mkdir()
    images = aside / "images.json"
    images.write_text(json.dumps([image(*one) for one in IMAGES]))
    mirror = plugins.aws_mirror()
    assert mirror
    port = free_port()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "TF_CLI_CONFIG_FILE": str(plugins.configuration(aside, mirror)),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        # credentials come from nowhere else
        "AWS_CONFIG_FILE": str(aside / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(aside / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    program = Path(sys.executable).parent / "moto_server"
    with (aside / "log").open("wb") as log:
        server = subprocess.Popen(
            [str(program), "-H", "127.0.0.1", "-p", str(port)],
            env={**os.environ, "MOTO_AMIS_PATH": str(images)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until("the cloud answers", lambda: _answers(port), START_TIMEOUT)
        yield Cloud(f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


@pytest.fixture
def environment(tmp_path: Path, cloud: Cloud) -> Iterator[Environment]:
    site = Site(tmp_path / "site")
    site.root.mkdir()
    found = Environment(site, f"t{secrets.token_hex(3)}")
    found.file.parent.mkdir()
    found.file.write_text(FILE.format(region=REGION, closed=free_port()))
    found("create")
    yield found
    cloud.refuse(False)
    site.tear_down()


def test_instances_come_stay_grow_and_go(
    cloud: Cloud, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_that_without_credentials_nothing_is_touched(cloud, environment, monkeypatch)
    name = environment.name
    own = {"deployer:id": environment.uuid, "deployer:environment": name}

    # one instance, reached as far as can be
    error = environment("provision", code=10).error
    assert (error["step"], error["host"]) == ("reach", f"{name}-1")
    assert error["code"] in ("CONNECTION_REFUSED", "HOST_UNREACHABLE")
    assert environment.record.state == "provision_failed"
    [key] = cloud.keys()
    [group] = cloud.groups()
    first = cloud.instances()[f"{name}-1"]
    assert tags(first) == {"Name": f"{name}-1", **own}
    assert tags(key) == own
    assert tags(group).items() >= own.items()
    assert first["ImageId"] == "ami-00000000000000002"
    assert first["KeyName"] == key["KeyName"]
    assert [g["GroupId"] for g in first["SecurityGroups"]] == [group["GroupId"]]
    assert _open(group) == {
        (22, "10.0.0.0/8"),
        (22, "fd00::/8"),
        *((port, world) for port in (80, 443) for world in ("0.0.0.0/0", "::/0")),
    }
    [host] = environment.record.hosts
    assert (host.name, host.user, host.groups) == (f"{name}-1", "admin", ["web"])
    assert (host.address, host.instance) == (first["PrivateIpAddress"], first["InstanceId"])

    # again: nothing new
    assert environment("provision", code=10).error["step"] == "reach"
    assert cloud.instances() == {f"{name}-1": first}
    assert cloud.keys() == [key] and cloud.groups() == [group]

    # refused credentials lose nothing
    before = environment.record
    cloud.refuse()
    refused = environment("provision", code=10).error
    cloud.refuse(False)
    assert "validating provider credentials" in refused["message"]
    assert refused["step"] == "plan"
    assert "AWS_PROFILE" in refused["hint"]
    assert (environment.record.state, environment.record.hosts) == (before.state, before.hosts)

    # one more, beside the first
    environment.edit("count = 1", "count = 2")
    assert environment("provision", code=10).error["host"] == f"{name}-1, {name}-2"
    grown = cloud.instances()
    assert grown.keys() == {f"{name}-1", f"{name}-2"}
    assert grown[f"{name}-1"]["InstanceId"] == first["InstanceId"]
    assert [h.instance for h in environment.record.hosts] == [
        grown[f"{name}-{number}"]["InstanceId"] for number in (1, 2)
    ]

    environment("destroy", "--yes")
    assert not cloud.instances() and not cloud.keys() and not cloud.groups()


def _check_that_without_credentials_nothing_is_touched(
    cloud: Cloud, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        missing = environment("provision", code=10).error
    assert "No valid credential sources found" in missing["message"]
    assert "AWS_PROFILE" in missing["hint"]
    assert missing["step"] == "plan"
    assert missing["resume"].endswith(f"provision {environment.name}")

    assert environment.record.state == "created"
    assert not cloud.keys() and not cloud.groups() and not cloud.instances()


def _open(group: dict[str, Any]) -> set[tuple[int, str]]:
    """Which port is open to which range."""
    return {
        (rule["FromPort"], at)
        for rule in group["IpPermissions"]
        for at in (
            *(r["CidrIp"] for r in rule.get("IpRanges", [])),
            *(r["CidrIpv6"] for r in rule.get("Ipv6Ranges", [])),
        )
    }
