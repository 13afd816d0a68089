"""Where things are: the workspace, its state, packaged templates, the short private folder."""

from __future__ import annotations

import os
import pwd
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deployer.errors import UsageError, WorkspaceError

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
NAME_RULE = "a lower-case letter, then up to 39 lower-case letters, digits or dashes"

_PACKAGED = Path(__file__).parent / "templates"
# an editable install has the templates where the repository has them
TEMPLATES = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent / "templates"


def check_name(name: str, what: str = "environment") -> str:
    """Return `name` if it is one; raise `UsageError` naming the rule if not."""
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 60 else name[:57] + "..."
        raise UsageError(f"{shown!r} is not a name for an {what}", hint=f"A name is {NAME_RULE}.")
    return name


def valid_name(value: str) -> str:
    """`value` if it is a name; else `ValueError`."""
    if not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: {NAME_RULE}")
    return value


@dataclass(frozen=True)
class Workspace:
    """The user's project folder (`root`) and the folder that remembers (`state_dir`)."""

    root: Path
    state_dir: Path
    scratch: Path | None = None
    """Where a rehearsal has copies of the records; hosts stay where they are."""

    @classmethod
    def find(cls, start: str | Path | None = None) -> Workspace:
        """Find the workspace like git does: `start`, `DEPLOYER_WORKSPACE`, else upwards from here.

        Creates nothing. Raises `WorkspaceError` if the folder named is not one.
        """
        named = start or os.environ.get("DEPLOYER_WORKSPACE")
        if named:
            root = Path(named).expanduser()
            if not root.is_dir():
                raise WorkspaceError(
                    f"The workspace {root} is not a folder", hint=f"Create it: mkdir -p '{root}'"
                )
            root = root.resolve()
        else:
            try:
                here = Path.cwd()
            except FileNotFoundError:
                raise WorkspaceError(
                    "The working folder does not exist any more", hint="Change to another folder."
                ) from None
            marked = (
                folder
                for folder in (here, *here.parents)
                if (folder / "deployer.toml").is_file() or (folder / ".deployer").is_dir()
            )
            root = next(marked, here)
        moved = os.environ.get("DEPLOYER_STATE_DIR")
        try:
            str(root).encode()
        except UnicodeEncodeError:
            raise WorkspaceError(
                f"The workspace's path {str(root)!r} is not UTF-8, and can't be recorded",
                hint="Rename the folder.",
            ) from None
        state_dir = root / moved if moved else root / ".deployer"
        if os.path.lexists(state_dir) and not state_dir.is_dir():
            raise WorkspaceError(
                f"{state_dir} is not a folder, and deployer keeps its records there",
                hint="Move it away, or name another folder with DEPLOYER_STATE_DIR.",
            )
        return cls(root, state_dir.resolve() if moved else state_dir)

    @property
    def store(self) -> Path:
        """The database."""
        return (self.scratch or self.state_dir) / "state.db"

    @property
    def secrets_key(self) -> Path:
        """The key of the digests that tell a changed secret from the same one."""
        return (self.scratch or self.state_dir) / "secrets.key"

    def environment_file(self, name: str) -> Path:
        """The user's file of an environment."""
        return self.root / "environments" / f"{name}.toml"

    def environment_dir(self, name: str) -> Path:
        """What is kept of an environment beside the database."""
        return (self.scratch or self.state_dir) / "environments" / name

    def connections(self, uuid: str) -> Path:
        """The sockets of the SSH connections that an operation keeps open, made if absent."""
        # twelve characters in any case: see `private_dir`
        own = uuid[:12] if self.scratch is None else f"plan{self.scratch.name[-8:]}"
        return private_dir("ssh", own)

    def lock(self, name: str) -> Path:
        """The file that the lease locks."""
        return self.environment_dir(name) / "lock"

    def build_dir(self, name: str) -> Path:
        """Rendered files of the last operation."""
        return self.environment_dir(name) / "build"

    def host_dir(self, name: str) -> Path:
        """The root of a local environment."""
        return self.state_dir / "environments" / name / "host"

    def known_hosts(self, name: str) -> Path:
        """The pinned keys of an environment's hosts."""
        return self.environment_dir(name) / "known_hosts"

    def terraform_dir(self, name: str) -> Path:
        """Module copy, plan and state of an environment's infrastructure."""
        return self.environment_dir(name) / "terraform"

    def log(self, name: str, operation_id: str) -> Path:
        """The event log of an operation, one JSON object a line."""
        return self.environment_dir(name) / "logs" / f"{operation_id}.jsonl"

    def shown(self, path: Path) -> str:
        """`path` as a person reads it: relative to the working folder where it is below it."""
        try:
            return str(path.relative_to(Path.cwd()))
        except (ValueError, FileNotFoundError):
            return str(path)


def private_dir(*parts: str) -> Path:
    """A 0700 folder with a short path, made if absent: sockets fail above 107 bytes.

    The longest is OpenSSH's while it opens one: `ssh/`, 12 characters of an environment, 40 of a
    connection, and 17 of its own. Under the temp dir, since XDG_RUNTIME_DIR vanishes at logout
    and differs under cron. Raises `WorkspaceError` if somebody else owns it.
    """
    base = Path(tempfile.gettempdir())
    if len(f"{base}/deployer-{os.getuid()}/ssh/") + 12 + 1 + 40 + 17 > 107:
        base = Path("/tmp")  # noqa: S108 - checked below to be ours and closed to others
    folder = base / f"deployer-{os.getuid()}"
    for part in ("", *parts):
        folder = folder / part
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise WorkspaceError(
                f"{folder} is not a folder of this user", hint=f"Remove it: rm -r {folder}"
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    return folder


def home() -> str:
    """The user's home folder, also where HOME is unset."""
    return os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
