"""Terraform or OpenTofu: one command at a time, its resources reported as they happen.

python-terraform builds the argument vectors and nothing else; the process is ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import Code, StepError
from deployer.tools import terraform_json
from deployer.tools.terraform_json import Change, ResourceReport, Stream
from deployer.tools.terraform_process import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deployer.tools.interrupt import Interrupt
    from deployer.tools.terraform_json import Diagnostic

__all__ = ["Change", "Plan", "ResourceReport", "Terraform", "find", "missing"]

SOURCES = (".tf", ".tf.json", ".tofu", ".tofu.json", ".terraform.lock.hcl")
_DOWNLOAD_HINT = (
    "If something could not be downloaded: check the network, or name a CLI configuration "
    "with a mirror in TF_CLI_CONFIG_FILE."
)
_PASSED_ON = ("TF_CLI_CONFIG_FILE", "TF_PLUGIN_CACHE_DIR")


@dataclass(frozen=True)
class Plan:
    """What an apply would do.

    `outputs` has the values as far as they are known before it; `unknown` names those of which
    something isn't.
    """

    changed: bool
    changes: list[Change]
    outputs: dict[str, Any]
    unknown: frozenset[str]


def find() -> str | None:
    """The program: the one that DEPLOYER_TERRAFORM names, else terraform, else tofu."""
    named = os.environ.get("DEPLOYER_TERRAFORM")
    for name in (named,) if named else ("terraform", "tofu"):
        if found := shutil.which(name):
            return str(Path(found).absolute())
    return None


def missing() -> str:
    """How to get the program that `find` did not find."""
    named = os.environ.get("DEPLOYER_TERRAFORM")
    what = (
        f"DEPLOYER_TERRAFORM names {named!r}, which is not a program here."
        if named
        else "Neither terraform nor tofu is installed."
    )
    return (
        f"{what} Install Terraform (https://developer.hashicorp.com/terraform/install) "
        "or OpenTofu (https://opentofu.org/docs/intro/install/)."
    )


def command(program: str, verb: str, *arguments: str, **options: Any) -> list[str]:
    """An argument vector; an option is True for a bare flag, None for none, a list to repeat it."""
    from python_terraform import IsFlagged
    from python_terraform import Terraform as Builder

    # it reads the state file that it is given, and one of the working folder if given none
    builder = Builder(terraform_bin_path=program, state=f"{os.devnull}/none")
    flags = {name: IsFlagged if value is True else value for name, value in options.items()}
    built: list[str] = builder.generate_cmd_string(verb, *arguments, **flags)
    return built


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class Terraform:
    """One module (`folder`), with what Terraform keeps of it in a private folder (`data`).

    Every method raises `StepError` where Terraform fails or outlives `timeout` seconds, and
    `InterruptedOperation` on a signal, once Terraform has saved its state.
    """

    def __init__(
        self,
        program: str,
        *,
        folder: Path,
        data: Path,
        variables: Mapping[str, Any],
        environment: Mapping[str, str],
        report: Callable[[ResourceReport], None],
        interrupt: Interrupt,
        timeout: float,
    ) -> None:
        self._program = program
        self._folder = folder
        # absolute: the process runs in the module's folder
        self._data = data.absolute()
        self._variables = variables
        self._environment = environment
        self._report = report
        self._interrupt = interrupt
        self._timeout = timeout
        self._warned: set[Diagnostic] = set()
        self._plan = self._data / "plan"
        self._state = self._data / "terraform.tfstate"
        self._digest = self._data / "init.digest"

    def init(self) -> bool:
        """Prepare the module, unless that is done already; says whether it was necessary."""
        self._make_data()
        if self._read(self._digest) == self._sources():
            return False
        self._digest.unlink(missing_ok=True)
        stream = self._stream(plain=True)
        if code := self._run(stream, "init", input=False, no_color=True):
            raise self._failed(stream, "init", code, _DOWNLOAD_HINT)
        self._digest.write_text(self._sources(), encoding="utf-8")
        return True

    def validate(self) -> None:
        """Check the module's code; the error has everything that is wrong with it."""
        stream = self._stream(plain=True)
        found, code = self._object(stream, "validate", json=True, no_color=True)
        for said in found.get("diagnostics") or []:
            stream.diagnostic(said)
        if code or stream.errors:
            raise self._failed(stream, "validate", code)

    def plan(self, *, replace: Sequence[str] = (), lock: bool = True, save: bool = True) -> Plan:
        """Compare the module with what is there, and `save` what `apply` would do about it.

        Takes the addresses to `replace` in any case. Changes nothing. What isn't saved has no
        outputs, and gets in nobody's way.
        """
        if save:
            self.discard()
        stream = self._stream(planning=True)
        with self._variables_file() as variables:
            code = self._run(
                stream,
                "plan",
                json=True,
                input=False,
                detailed_exitcode=True,
                lock=None if lock else False,
                **self._state_option(),
                var_file=variables,
                replace=list(replace),
                out=str(self._plan) if save else None,
            )
        if not save and code in (0, 2):
            return Plan(code == 2, stream.changes, {}, frozenset())
        if code == 0:
            # then the outputs are the state's; reading it saves the start of another program
            own = terraform_json.state_outputs(self._state) if self._state_option() else None
            return Plan(False, [], self.outputs() if own is None else own, frozenset())
        if code != 2:
            raise self._failed(stream, "plan", code)
        showing = self._stream(plain=True)
        planned, code = self._object(showing, "show", str(self._plan), json=True, no_color=True)
        if code:
            raise self._failed(showing, "show", code)
        values, unknown = terraform_json.plan_outputs(planned)
        changes = terraform_json.plan_changes(planned, stream.changes)
        return Plan(True, changes, values, unknown)

    def apply(self) -> None:
        """Do what the saved plan says, no more and no less, and remove the plan."""
        if not self._plan.exists():
            raise StepError("There is no saved plan to apply", hint="Plan first.")
        stream = self._stream()
        try:
            code = self._run(
                stream, "apply", str(self._plan), json=True, input=False, **self._state_option()
            )
        finally:
            self.discard()
        if code:
            raise self._failed(stream, "apply", code)

    def discard(self) -> None:
        """Remove a saved plan that is not to be applied: it holds the variables' values."""
        self._plan.unlink(missing_ok=True)

    def outputs(self) -> dict[str, Any]:
        """The values of all outputs, sensitive ones too."""
        stream = self._stream(plain=True)
        found, code = self._object(
            stream, "output", json=True, no_color=True, **self._state_option()
        )
        if code:
            raise self._failed(stream, "output", code)
        return {name: output.get("value") for name, output in found.items()}

    def destroy(self) -> None:
        """Delete every resource that the state knows."""
        self.discard()
        stream = self._stream()
        with self._variables_file() as variables:
            code = self._run(
                stream,
                "destroy",
                json=True,
                input=False,
                auto_approve=True,
                **self._state_option(),
                var_file=variables,
            )
        if code:
            raise self._failed(stream, "destroy", code)

    # ---- files

    def _make_data(self) -> None:
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._data.chmod(0o700)

    @contextmanager
    def _variables_file(self) -> Iterator[str]:
        self._make_data()
        # several may look at once; what a killed one left has no business to stay
        for old in self._data.glob("*.tfvars.json"):
            pid = old.name.partition(".")[0]
            if not (pid.isdigit() and _is_alive(int(pid))):
                old.unlink(missing_ok=True)
        file = self._data / f"{os.getpid()}.tfvars.json"
        file.unlink(missing_ok=True)
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="utf-8") as opened:
                json.dump(dict(self._variables), opened)
            yield str(file)
        finally:
            file.unlink(missing_ok=True)

    def _backend(self) -> str | None:
        """The kind of backend that the module names, as `init` recorded it."""
        try:
            recorded = json.loads(self._read(self._data / "data" / "terraform.tfstate") or "{}")
            return (recorded.get("backend") or {}).get("type")
        except (ValueError, AttributeError):
            return None

    def _state_option(self) -> dict[str, Any]:
        # it would win over the path of a backend "local", and lose against any other
        return {} if self._backend() else {"state": str(self._state)}

    def _sources(self) -> str:
        """A digest of all that `init` depends on, and of whether its result is still there."""
        digest = hashlib.sha256()
        program = Path(self._program)
        status = program.stat() if program.exists() else None
        made = (self._program, str(status and (status.st_size, status.st_mtime_ns)))
        folders = [self._folder]
        try:
            modules = json.loads(self._read(self._data / "data/modules/modules.json") or "{}")
            folders += [self._folder / module["Dir"] for module in modules.get("Modules", ())]
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
        files = {
            file
            for folder in folders
            for file in (folder.iterdir() if folder.is_dir() else ())
            if file.name.endswith(SOURCES) and file.is_file()
        }
        # plugins may be links into a cache that was cleaned
        plugins = sorted((self._data / "data" / "providers").glob("*/*/*/*/*"))
        for part in (*made, str(self._backend()), *(f"{p} {p.exists()}" for p in plugins)):
            digest.update(part.encode() + b"\0")
        for file in sorted(files):
            digest.update(f"{file}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    @staticmethod
    def _read(file: Path) -> str:
        try:
            return file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    # ---- running it

    def _stream(self, *, planning: bool = False, plain: bool = False) -> Stream:
        return Stream(self._report, self._warned, planning=planning, plain=plain)

    def _object(
        self, stream: Stream, verb: str, *arguments: str, **options: Any
    ) -> tuple[dict[str, Any], int]:
        """Run a command that prints one object."""
        lines: list[str] = []
        code = self._run(stream, verb, *arguments, into=lines, **options)
        try:
            found = json.loads("\n".join(lines))
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found, code
        for line in lines:
            stream.said(line)
        if code == 0:
            raise stream.error(f"{self._name()} {verb} did not print what it should")
        return {}, code

    def _run(
        self,
        stream: Stream,
        verb: str,
        *arguments: str,
        into: list[str] | None = None,
        **options: Any,
    ) -> int:
        self._interrupt.check()
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment = {
            **self._environment,
            **passed_on,
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_DATA_DIR": str(self._data / "data"),
            "CHECKPOINT_DISABLE": "1",
        }
        if not self._folder.is_dir():
            raise StepError(f"The module's folder {self._folder} does not exist")
        try:
            process = subprocess.Popen(
                command(self._program, verb, *arguments, **options),
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as problem:
            raise StepError(
                f"{self._program} does not start: {problem.strerror}",
                code=Code.TOOL_MISSING,
                hint=missing(),
            ) from problem
        take = stream.line if into is None else into.append
        return Child(process, take, stream.complained, self._interrupt).wait(
            self._timeout, lambda: self._outlived(stream), self._told
        )

    def _told(self) -> None:
        self._report(
            ResourceReport(f"waiting until {self._name()} has ended and saved its state", "note")
        )

    def _outlived(self, stream: Stream) -> StepError:
        return StepError(
            f"it took longer than {self._timeout:g} s and was ended",
            code=Code.TIMEOUT,
            hint="Give it more time with step_timeout in the environment file, or find out "
            "what it waits for.",
            output=stream.last(),
        )

    def _failed(self, stream: Stream, verb: str, code: int, hint: str = "") -> StepError:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed ({code})"
        if not stream.errors:
            for said in terraform_json.printed(stream.complaints):
                stream.diagnostic(said)
        if any(error.file for error in stream.errors):
            hint = ""  # the module's code is at fault
        error = stream.error(f"{self._name()} {verb} {how}", hint)
        lock = stream.lock()
        if lock is None:
            return error
        # a lock on a local file is the kernel's; no other process can break it
        unlock = ["cd", str(self._folder), "&&", f"TF_DATA_DIR={self._data / 'data'}"]
        unlock += command(self._program, "force-unlock", lock.get("id") or "ID")
        local = self._backend() in (None, "local")
        return terraform_json.locked(lock, error.output, None if local else unlock)

    def _name(self) -> str:
        return Path(self._program).name
