"""create: the environment file, written where it is absent, and the record."""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer.environment.layers import parse_overrides
from deployer.environment.load import load, resolve
from deployer.environment.toml import TomlFile
from deployer.errors import ExistsError, Finding, GateError, WorkspaceError
from deployer.lifecycle import ports
from deployer.lifecycle.composed import compose, described
from deployer.paths import TEMPLATES
from deployer.preflight import static

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.environment.load import Loaded
    from deployer.lifecycle.session import Session
    from deployer.paths import Workspace
    from state.records import EnvironmentRecord

TEMPLATE = TEMPLATES / "environments" / "default.toml"
SECTIONS = ("provider_options", "settings")


@dataclass(frozen=True)
class Wish:
    """What `create` was asked for; None where nothing was said."""

    app: str | None = None
    provider: str | None = None
    runtime: str | None = None
    source: Path | None = None
    """A file to start from instead of the packaged template."""


def create(session: Session, wish: Wish) -> tuple[EnvironmentRecord, bool]:
    """Write `environments/<name>.toml` where it is absent, and record the environment.

    Returns the record and whether the file was written anew. Raises `ExistsError` where the
    environment exists, or its file contradicts the wish; then nothing is changed.
    """
    workspace, name = session.workspace, session.name
    record = session.store.environment(name)
    if record is not None and record.exists:
        raise ExistsError(
            f"The environment {name!r} exists already and is {record.state.value}",
            hint=f"Deploy it: deployer deploy {name}; or destroy it first: deployer destroy {name}",
        )
    started = time.monotonic()
    path = workspace.environment_file(name)
    existed = os.path.lexists(path)  # a link to nowhere is the user's too
    made_folder = not path.parent.exists()
    before = path.read_bytes() if path.is_file() else None
    text = _compose(workspace, path if existed else wish.source or TEMPLATE, session, wish, existed)
    try:
        if text.encode() != before:
            _write(path, text)
        loaded = _load(session)
        static.check(workspace, loaded)
        if loaded.provider.local:
            ports.check_here(workspace, name, ports.wanted(loaded))
        with session.store.transaction():
            # machines that are made for an environment have no other one's ports on them
            shared = loaded.provider.manifest.kind == "static"
            taken = session.store.reserved_ports() if shared else {}
            _refuse_taken(workspace, loaded, taken)
            reserved = _reserve(loaded, taken)
            if reserved:
                _write(path, _with_ports(path.read_bytes().decode(), reserved, loaded))
                loaded = _load(session)
            record = session.store.create_environment(
                name,
                token=session.token,
                config=loaded.configuration.to_record(),
                ports=_all_ports(loaded) if shared else {},
                operation_id=session.operation_id,
                details={**session.details(), "seconds": time.monotonic() - started},
            )
    except BaseException:
        _restore(path, before, made_folder)
        raise
    return record, not existed


def _load(session: Session) -> Loaded:
    call = session.call
    return load(
        session.workspace, session.name, call.overrides, session.sources, profile=call.profile
    )


def _compose(
    workspace: Workspace, source: Path, session: Session, wish: Wish, existed: bool
) -> str:
    """The text of the environment file: `source` with the wish and `--set` in it."""
    import tomlkit

    file = TomlFile(source, workspace.shown(source))
    wanted: dict[str, Any] = {
        key: value
        for key, value in (
            ("app", wish.app),
            ("provider", wish.provider),
            ("runtime", wish.runtime),
        )
        if value is not None
    }
    given = parse_overrides(session.call.overrides)
    if existed:
        _refuse_contradiction(workspace, source, file, wanted, given)
        if wish.source is not None and wish.source.resolve() != source.resolve():
            other = TomlFile(wish.source, workspace.shown(wish.source))
            if other.data != file.data:
                raise ExistsError(
                    f"{file.shown} exists already and says something else than {other.shown}",
                    hint="Create it without --from, or remove that file first.",
                )
    # before anything is written: a complaint names the option or the file that it is about
    call = session.call
    loaded = resolve(
        workspace,
        session.name,
        file,
        call.overrides,
        wanted,
        session.sources,
        profile=call.profile,
    )
    # as the app's types want them: a port is a number in the file, not text
    typed = _typed(given, loaded)
    is_ours = source == TEMPLATE
    document = tomlkit.parse(compose(file.text, loaded, typed) if is_ours else file.text)
    _merge(document, wanted)
    _merge(document, {k: v for k, v in typed.items() if not is_ours or k not in SECTIONS})
    return tomlkit.dumps(document)


def _refuse_contradiction(
    workspace: Workspace, path: Path, file: TomlFile, wanted: dict[str, Any], given: dict[str, Any]
) -> None:
    def differences(new: dict[str, Any], old: Any, prefix: str = "") -> list[str]:
        found = []
        for key, value in new.items():
            there = old.get(key) if isinstance(old, dict) else None
            if isinstance(value, dict):
                found += differences(value, there or {}, f"{prefix}{key}.")
            elif there is not None and str(there) != str(value):
                found.append(f"{prefix}{key} is {there!r} there, not {str(value)!r}")
        return found

    found = differences(wanted, file.data) + differences(given, file.data)
    if found:
        raise ExistsError(
            f"{workspace.shown(path)} exists already and says otherwise: {'; '.join(found)}",
            hint="Edit that file, or create the environment without these options.",
        )


def _typed(given: dict[str, Any], loaded: Loaded) -> dict[str, Any]:
    """The values of `--set` as the configuration understood them."""
    known = loaded.configuration.to_record()

    def pick(new: dict[str, Any], there: Any) -> dict[str, Any]:
        return {
            key: pick(value, there.get(key, {}))
            if isinstance(value, dict)
            else there.get(key, str(value))
            for key, value in new.items()
        }

    return pick(given, known)


def _merge(table: Any, values: dict[str, Any]) -> None:
    import tomlkit

    for key, value in values.items():
        if isinstance(value, dict):
            if key not in table:
                table[key] = tomlkit.table()
            _merge(table[key], value)
        else:
            table[key] = value


def _reserve(loaded: Loaded, taken: dict[int, str]) -> dict[str, int]:
    """A port for each port setting without a value, from its default on."""
    found: dict[str, int] = {}
    busy = dict(taken)
    for name in _all_ports(loaded):
        busy[_all_ports(loaded)[name]] = loaded.configuration.name
    for name in loaded.open_ports:
        start = loaded.app.manifest.settings[name].default
        port = ports.first_free(
            start if isinstance(start, int) else 8000, busy, here=loaded.provider.local
        )
        busy[port] = loaded.configuration.name
        found[name] = port
    return found


def _all_ports(loaded: Loaded) -> dict[str, int]:
    settings = loaded.app.manifest.settings
    return {
        name: value
        for name, value in loaded.configuration.settings.items()
        if settings[name].type == "port"
        and isinstance(value, int)
        and name not in loaded.open_ports
    }


def _refuse_taken(workspace: Workspace, loaded: Loaded, taken: dict[int, str]) -> None:
    findings = [
        Finding(
            "port-reserved",
            f"settings.{name}: port {port} is reserved by the environment {taken[port]!r}",
            fix="set another port, or leave it out and one is found",
            file=workspace.shown(workspace.environment_file(loaded.configuration.name)),
            value=str(port),
        )
        for name, port in _all_ports(loaded).items()
        if port in taken
    ]
    if findings:
        raise GateError("; ".join(f.message for f in findings), findings=findings)


def _with_ports(text: str, reserved: dict[str, int], loaded: Loaded) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    _merge(document, {"settings": {}})
    table: Any = document["settings"]
    for name, port in reserved.items():
        for line in described(loaded.app.manifest.settings[name]) if name not in table else ():
            table.add(tomlkit.comment(line.removeprefix("# ")))
        table[name] = port
    return tomlkit.dumps(document)


def _write(path: Path, text: str) -> None:
    """Write the user's file as a whole or not at all; its mode, and a link to it, stay."""
    path = path.resolve()
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary.write_bytes(text.encode())
        found = path if path.exists() else temporary
        # others may never write what this user deploys by, whatever the umask
        temporary.chmod(stat.S_IMODE(found.stat().st_mode) & ~(0o022 if found != path else 0))
        temporary.replace(path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if path.parent.exists() and not path.parent.is_dir():
            raise WorkspaceError(
                f"{path.parent} is not a folder, and {path.name} belongs there",
                hint="Move it away.",
            ) from None
        raise WorkspaceError(
            f"{path} can't be written: {problem.strerror or problem}",
            hint="Check that the disk is not full and that the folder can be written.",
        ) from problem


def _restore(path: Path, before: bytes | None, made_folder: bool) -> None:
    try:
        if before is None:
            path.unlink(missing_ok=True)
        elif path.read_bytes() != before:
            path.write_bytes(before)
        if made_folder and path.parent.exists() and not any(path.parent.iterdir()):
            shutil.rmtree(path.parent)
    except OSError:
        return  # the first error says more
