"""doctor: what this machine has of what deployer works with, and how to get the rest."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer import providers, reading
from deployer.apps.reference import is_remote
from deployer.errors import DeployerError
from deployer.tools import process, terraform
from deployer.tools.host_code import host_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.paths import Workspace

TIMEOUT = 10.0  # seconds for a program to tell its version
_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True)
class Tool:
    """A program, or a part of the system, that deployer works with.

    `minimum` is the oldest version that it works with, None where any does; `local` says
    whether environments on this machine itself need it.
    """

    name: str
    purpose: str
    install: str
    minimum: str | None = None
    local: bool = False
    ask: tuple[str, ...] = ()
    """The command that tells its version."""


TOOLS = (
    Tool("ansible", "everything that is done on hosts", "pip install ansible-core", "2.17", True,
         ("ansible-playbook", "--version")),
    Tool("ssh", "hosts other than this machine", "apt-get install openssh-client", None, False,
         ("ssh", "-V")),
    Tool("ssh-keygen", "the keys of environments whose machines a provider makes",
         "apt-get install openssh-client"),
    Tool("git", "applications in git repositories, and the commit of a release",
         "apt-get install git", "2.25", False, ("git", "--version")),
    Tool("lxc", "the provider lxd", "apt-get install lxd, or snap install lxd", "4.0", False,
         ("lxc", "--version")),
    Tool("docker", "nothing here: applications may require it on their hosts",
         "apt-get install docker.io", None, False, ("docker", "--version")),
)  # fmt: skip
PYTHON = Tool("python", "deployer itself", "https://www.python.org/downloads/", "3.11", True)
SUPERVISOR = Tool(
    "supervisor", "the runtime supervisor on this machine", "pip install supervisor", "4.3", True
)
TERRAFORM = Tool(
    "terraform or tofu",
    "the providers lxd, aws and terraform",
    "https://developer.hashicorp.com/terraform/install or https://opentofu.org/docs/intro/install/",
    "1.5",
)
SYSTEMD = Tool("systemd user manager", "the runtime systemd on this machine", "")


@dataclass(frozen=True)
class Finding:
    """What there is of a tool. `problem` is why it can't be used, and `fix` what to do then."""

    tool: Tool
    version: str | None = None
    path: str | None = None
    problem: str | None = None
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return {
            "name": self.tool.name,
            "version": self.version,
            "minimum": self.tool.minimum,
            "path": self.path,
            "purpose": self.tool.purpose,
            "needed_for_local": self.tool.local,
            "problem": self.problem,
            "fix": self.fix or None,
        }


@dataclass(frozen=True)
class Diagnosis:
    """What this machine has; `environments` maps those that can't be deployed from it to why."""

    findings: list[Finding]
    environments: dict[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether `local` and every environment of the workspace can be deployed from here."""
        lacking = any(one.problem for one in self.findings if one.tool.local)
        return not lacking and not self.environments

    def to_dict(self) -> dict[str, Any]:
        """As the JSON envelope shows it."""
        return {
            "healthy": self.healthy,
            "tools": [one.to_dict() for one in self.findings],
            "environments": self.environments,
        }


def diagnose(workspace: Workspace) -> Diagnosis:
    """Ask every tool for its version, and every environment's provider whether it is ready."""
    findings = [_python(), *map(_program, TOOLS[:1]), _supervisor(), _systemd(), _terraform()]
    findings += map(_program, TOOLS[1:])
    return Diagnosis(findings, dict(_environments(workspace, findings)))


def _python() -> Finding:
    return Finding(PYTHON, platform.python_version(), sys.executable)


def _program(tool: Tool) -> Finding:
    path = shutil.which(tool.ask[0] if tool.ask else tool.name, path=process.interpreter_path())
    if path is None:
        return Finding(tool, problem="it is not installed", fix=tool.install)
    return _judged(tool, path, _version([path, *tool.ask[1:]]) if tool.ask else None)


def _terraform() -> Finding:
    path = terraform.find()
    if path is None:
        return Finding(TERRAFORM, problem="it is not installed", fix=terraform.missing())
    return _judged(TERRAFORM, path, _version([path, "version"]))


def _supervisor() -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return _judged(SUPERVISOR, sys.executable, version("supervisor"))
    except PackageNotFoundError:
        return Finding(SUPERVISOR, problem="it is not installed", fix=SUPERVISOR.install)


def _systemd() -> Finding:
    lacking = host_code("manager").lacking({"host": "this machine"})
    if lacking:
        return Finding(SYSTEMD, problem=lacking[0], fix=lacking[1])
    return Finding(SYSTEMD, path=shutil.which("systemctl"))


def _judged(tool: Tool, path: str, version: str | None) -> Finding:
    if version is None and tool.minimum:
        return Finding(tool, None, path, "it doesn't tell its version", tool.install)
    if version and tool.minimum and _numbers(version) < _numbers(tool.minimum):
        problem = f"{version} is too old; {tool.minimum} is needed"
        return Finding(tool, version, path, problem, tool.install)
    return Finding(tool, version, path)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _version(command: list[str]) -> str | None:
    """The version that a program prints, its first words with digits and dots."""
    try:
        done = subprocess.run(
            command,
            env={**process.base_environment(), "PATH": process.interpreter_path()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            cwd=os.sep,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(done.stdout)
    return found[0] if found and done.returncode == 0 else None


def _environments(workspace: Workspace, findings: list[Finding]) -> Iterator[tuple[str, str]]:
    """Environments that lack something on this machine, and what."""
    problems = {one.tool.name: one.problem for one in findings if one.problem}
    reasons: dict[str, str | None] = {}
    for record in reading.environments(workspace):
        name, runtime = record.config["provider"], record.config["runtime"]
        try:
            provider = providers.find(workspace, name)
        except DeployerError as problem:
            yield record.name, problem.message
            continue
        if name not in reasons:
            reasons[name] = providers.unavailable(provider)
        wanted = ["systemd user manager"] if provider.local and runtime == "systemd" else []
        wanted += [] if provider.local else ["ssh"]
        wanted += ["terraform or tofu"] if provider.manifest.kind == "terraform" else []
        wanted += ["git"] if is_remote(record.config["app"]) else []
        lacking = [f"{tool}: {problems[tool]}" for tool in wanted if tool in problems]
        if why := "; ".join(lacking) or reasons[name]:
            yield record.name, why
