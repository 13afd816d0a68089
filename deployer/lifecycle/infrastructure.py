"""The machines of an environment whose provider has a Terraform module: plan, apply, prove."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer import providers
from deployer.environment.models import Configuration
from deployer.errors import Code, FileError, StepError, hosts_error
from deployer.lifecycle import hosts
from deployer.providers import hosts as contract
from deployer.tools import process, terraform
from deployer.tools.interrupt import Interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deployer.lifecycle.session import Session
    from deployer.paths import Workspace
    from deployer.providers.hosts import HostSpec
    from deployer.providers.manifest import Provider
    from deployer.tools.terraform import Change
    from state.records import EnvironmentRecord, HostRecord

PROGRAM_TIMEOUT = 60.0  # seconds for probe and sweep
DRIFT_TIMEOUT = 120.0  # seconds
Known = dict[str, dict[str, Any]] | None
"""The hosts that exist, by name; None where the provider has no way to say it."""
NOT_COPIED = shutil.ignore_patterns(".terraform", "*.tfstate*", ".git", "__pycache__")


@dataclass
class Infrastructure:
    """What Terraform is to make for one environment, and how."""

    workspace: Workspace
    record: EnvironmentRecord
    configuration: Configuration
    provider: Provider
    session: Session | None = None
    """The operation that acts; without one everything here only looks."""
    known: dict[str, dict[str, Any]] | None = None
    """The hosts that the last probe found; None before one, or without a way to probe."""

    @property
    def data(self) -> Path:
        """The folder that is Terraform's own."""
        return self.workspace.terraform_dir(self.record.name)

    @property
    def copy(self) -> Path:
        """The module as it was when it was last planned."""
        return self.data / "module"

    @property
    def folder(self) -> Path:
        """Where the module is run: the user's where it stands, a provider's in its copy."""
        if self.provider.manifest.own_module:
            given = self.configuration.provider_options["module"]
            folder = (self.workspace.root / given).expanduser().resolve()
            # a module that was moved away never keeps anybody from destroying what it made
            return folder if folder.is_dir() else self.copy
        return self.copy

    @property
    def environment(self) -> dict[str, str]:
        """The environment of Terraform and of the provider's programs."""
        patterns = [
            *self.provider.manifest.environment,
            *self.configuration.provider_options.get("environment", []),
        ]
        operation = self.session.operation_id if self.session else None
        return {
            **process.child_environment(self.record.uuid, operation),
            **providers.passed_on(patterns),
            "DEPLOYER_ID": self.record.uuid,
            "DEPLOYER_NAME": self.record.name,
        }

    def variables(self) -> dict[str, Any]:
        """The module's variables."""
        options = dict(self.configuration.provider_options)
        if self.provider.manifest.own_module:
            return dict(options.get("variables", {}))
        for name, option in self.provider.manifest.options.items():
            if option.type == "secret":
                options.pop(name, None)
        return {
            "options": options,
            "environment": self.record.name,
            "id": self.record.uuid,
            "public_key": self.key().with_suffix(".pub").read_text(encoding="utf-8").strip(),
        }

    def key(self) -> Path:
        """The environment's own key, made when it is first asked for."""
        path = self.workspace.environment_dir(self.record.name) / "ssh" / "id_ed25519"
        if not path.with_suffix(".pub").exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "deployer", "-f", str(path)],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        return path

    def write_module(self) -> None:
        """Copy the module: a provider's to run it there, the user's to destroy by, if need be."""
        source = self.folder if self.provider.manifest.own_module else self.provider.folder
        if source == self.copy:
            raise StepError(
                f"there is no folder {self.configuration.provider_options['module']!r}",
                code=Code.TOOL_FAILED,
                hint="Set module in provider_options to the folder of your Terraform module.",
            )
        new = self.data / ".module-new"
        for folder in (self.data, self.copy):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(source, new, ignore=NOT_COPIED, symlinks=True)
        # what Terraform noted beside the old copy stays with the new one
        lock = self.copy / ".terraform.lock.hcl"
        if lock.exists() and not (new / lock.name).exists():
            shutil.copy2(lock, new / lock.name)
        shutil.rmtree(self.copy)
        new.rename(self.copy)

    def terraform(
        self, report: Callable[[terraform.ResourceReport], None], timeout: float
    ) -> terraform.Terraform:
        """The program, on this module. Raises `StepError` if there is none."""
        program = terraform.find()
        if program is None:
            raise StepError(terraform.missing(), code=Code.TOOL_MISSING)
        return terraform.Terraform(
            program,
            folder=self.folder,
            data=self.data,
            variables=self.variables(),
            environment=self.environment,
            report=report,
            interrupt=self.session.interrupt if self.session else Interrupt(),
            timeout=timeout,
        )

    def drift(self) -> list[Change]:
        """What an apply of the module as it was last applied would change. Changes nothing."""
        if not self.data.is_dir():
            return []
        driver = self.terraform(lambda _: None, DRIFT_TIMEOUT)
        return driver.plan(lock=False, save=False).changes

    def named(self, text: str) -> str:
        """A text of Terraform's with the names that hosts have for people."""
        manifest = self.provider.manifest
        if not manifest.noun:
            return text
        text = re.sub(re.escape(manifest.resource) + r'\["([^"]*)"\]', rf"{manifest.noun} \1", text)
        # where that stands in a module which isn't the user's is of no use to anybody
        return re.sub(r"^\S+\.tf:\d+: ", "", text)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Errors of Terraform's, with people's names for hosts, and what the provider advises."""
        try:
            yield
        except StepError as problem:
            problem.message = self.named(problem.message)
            problem.args = (problem.message,)
            problem.hint = problem.hint or self.provider.manifest.hint
            raise

    # ---- which hosts there are

    def probe(self) -> Known:
        """Which hosts exist, as the provider itself says; None where it has no way to say it."""
        words = self.provider.manifest.probe
        if not words or not self.copy.is_dir():
            return None if not words else {}
        text = self._program(words, "probe")
        try:
            self.known = {host["name"]: host for host in json.loads(text)}
            return self.known
        except (ValueError, TypeError, KeyError):
            raise StepError(
                f"the probe of {self.provider.manifest.name} printed no list of hosts",
                output=text.splitlines()[-5:],
            ) from None

    def missing(self) -> list[str]:
        """Which recorded hosts the provider no longer has, or not where they were, in words."""
        known = self.probe()
        if known is None:
            return []
        found = []
        for host in self.record.hosts:
            there = known.get(host.name, {})
            address = there.get("address")
            if not there or there.get("id") != host.instance:
                name = self.provider.manifest.name
                found.append(f"{host.name}: the provider {name} has no such machine any more")
            elif address and address != host.address:
                found.append(f"{host.name}: its address is {address} now, it was {host.address}")
        return found

    def out_of_reach(self) -> dict[str, StepError]:
        """What the last probe said against hosts that it found; a stopped one answers nobody."""
        return {
            name: StepError(
                there["problem"],
                code=Code.HOST_UNREACHABLE,
                hint=there.get("hint") or "",
                host=name,
            )
            for name, there in (self.known or {}).items()
            if there.get("problem")
        }

    def drifted(self) -> list[str]:
        """Which resources are gone, as far as Terraform can see, in words."""
        return [
            f"{change.address} is gone: it would be made anew"
            for change in self.drift()
            if change.action in ("create", "replace")
        ]

    def sweep(self) -> None:
        """Remove all that carries the environment's tag, whatever any state knows."""
        if self.provider.manifest.sweep and self.copy.is_dir():
            self._program(self.provider.manifest.sweep, "sweep")

    def _program(self, words: list[str], what: str) -> str:
        try:
            done = subprocess.run(
                words,
                cwd=self.copy,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PROGRAM_TIMEOUT,
                start_new_session=True,
            )
        except (OSError, subprocess.SubprocessError) as problem:
            raise StepError(
                f"the {what} of {self.provider.manifest.name} can't be run: {problem}",
                code=Code.TOOL_MISSING,
            ) from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise StepError(
                f"the {what} of {self.provider.manifest.name} failed"
                + (f": {said[-1]}" if said else ""),
                output=said[-20:],
            )
        return done.stdout

    def specs(self, outputs: dict[str, Any], known: Known) -> list[HostSpec]:
        """The hosts that a module's output names, checked against the contract.

        `known` is what `probe` has told: address and id are the provider's to say.
        """
        if "hosts" not in outputs:
            have = ", ".join(sorted(outputs)) or "none at all"
            raise _wrong(f"the module has no output `hosts`; its outputs: {have}")
        value = outputs["hosts"]
        if isinstance(value, list):
            if silent := self.out_of_reach():
                raise hosts_error(list(silent.values()), len(value))
            value = [self._seen(item, known or {}) for item in value]
        try:
            return contract.parse(value, None)
        except ValueError as problem:
            raise _wrong(f"the output `hosts` is wrong: {problem}") from None

    @staticmethod
    def _seen(item: Any, known: dict[str, dict[str, Any]]) -> Any:
        there = known.get(str(item.get("name"))) if isinstance(item, dict) else None
        return {**item, "address": there["address"], "id": there["id"]} if there else item

    def records(self, specs: list[HostSpec]) -> list[HostRecord]:
        """The hosts as they are recorded, with how to get in."""
        options = self.configuration.provider_options
        own = None if self.provider.manifest.own_module else self._own_key()
        return [
            hosts.of(
                spec,
                self.record.name,
                key=options.get("key") or own,
                jump=options.get("jump"),
                sudo_password=options.get("sudo_password"),
            )
            for spec in specs
        ]

    def _own_key(self) -> str:
        path = self.key()
        # relative where it can be, so that a workspace may move
        try:
            return str(path.relative_to(self.workspace.root))
        except ValueError:
            return str(path)


def is_made(record: EnvironmentRecord) -> bool:
    """Whether a provider made the hosts, rather than the user."""
    return "module" in record.intents.get("provision", {}) and bool(
        record.intents["provision"]["module"]
    )


def recorded(
    workspace: Workspace, record: EnvironmentRecord, session: Session | None = None
) -> Infrastructure | None:
    """The infrastructure as the last intent of provision wanted it; None without any."""
    if "provision" not in record.intents:
        return None
    configuration = Configuration.from_record(record.name, record.config)
    return of(workspace, record, configuration, session)


def of(
    workspace: Workspace,
    record: EnvironmentRecord,
    configuration: Configuration,
    session: Session | None = None,
) -> Infrastructure | None:
    """The infrastructure of an environment; None where its provider makes no machines.

    A provider that can't be found any more is taken from the copy of what it last made.
    """
    try:
        provider = providers.find(workspace, configuration.provider)
    except FileError:
        provider = providers.read(workspace, workspace.terraform_dir(record.name) / "module")
    if provider.manifest.kind != "terraform":
        return None
    return Infrastructure(workspace, record, configuration, provider, session)


def digest(workspace: Workspace, configuration: Configuration, provider: Provider) -> str | None:
    """What a module says, as a digest; None where there is none, or it isn't there any more."""
    if provider.manifest.kind != "terraform":
        return None
    folder = provider.folder
    if provider.manifest.own_module:
        folder = (workspace.root / configuration.provider_options["module"]).expanduser()
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        own = any(part.startswith(".terraform") or "tfstate" in part for part in name.parts)
        if not own and ".git" not in name.parts and path.is_file():
            found.update(f"{name}\0".encode())
            found.update(path.read_bytes())
    return found.hexdigest() if folder.is_dir() else None


def _wrong(message: str) -> StepError:
    return StepError(message, code=Code.WRONG_HOSTS, hint=f"Expected is {contract.CONTRACT}.")
