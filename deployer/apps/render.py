"""From an app's manifest and a configuration to what a release is on one host."""

from __future__ import annotations

import base64
import errno
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployer.environment import interpolation
from deployer.environment.interpolation import TemplateProblem
from deployer.environment.toml import file_error
from deployer.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from deployer.apps.manifest import App
    from deployer.environment.models import Configuration


@dataclass(frozen=True)
class Target:
    """A host as templates see it: `bind` is what a service listens on to be reached there."""

    name: str
    address: str
    bind: str
    root: str


@dataclass(frozen=True)
class Rendered:
    """What a release is on one host: services as plain values, and rendered files."""

    services: list[dict[str, Any]]
    files: list[dict[str, Any]]
    """path, mode (int) and content (base64)."""

    def digests(self) -> dict[str, list[object]]:
        """The rendered files as hosts verify them: {path: [mode, sha256]}."""
        return {
            f["path"]: [f["mode"], hashlib.sha256(base64.b64decode(f["content"])).hexdigest()]
            for f in self.files
        }

    @property
    def urls(self) -> list[str]:
        """Where a person finds the services."""
        return [service["url"] for service in self.services if service["url"]]


def render(
    app: App, configuration: Configuration, target: Target, base: Path, number: int, now: datetime
) -> Rendered:
    """Render services and files of `app` for one host and release.

    `now` is the moment of the release. Raises `FileError` with every unknown variable.
    """
    names = interpolation.context(
        base=base,
        name=configuration.name,
        now=now,
        paths={
            "release": f"{target.root}/releases/{number}",
            "shared": f"{target.root}/shared",
        },
        settings=configuration.settings,
        host={"name": target.name, "address": target.address, "bind": target.bind},
        release={"id": str(number)},
    )
    findings: list[Finding] = []

    def text(value: str, keys: list[str | int]) -> str:
        try:
            return interpolation.render(value, names)
        except TemplateProblem as problem:
            findings.append(app.file.finding("template", keys, str(problem)))
            return ""

    services = []
    for index, service in enumerate(app.manifest.services):
        at: list[str | int] = ["services", index]
        health: dict[str, Any] | None = None
        if service.health:
            way = service.health
            health = {
                "http": text(way.http, [*at, "health"]) if way.http else None,
                "tcp": text(way.tcp, [*at, "health"]) if way.tcp else None,
                "command": [text(word, [*at, "health"]) for word in way.command or []] or None,
            }
        services.append(
            {
                "name": service.name,
                "command": [text(word, [*at, "command"]) for word in service.command],
                "environment": {
                    key: text(value, [*at, "environment", key])
                    for key, value in service.environment.items()
                },
                "health": health,
                "url": text(service.url, [*at, "url"]) if service.url else None,
            }
        )
    files = _files(app, names, findings)
    if findings:
        raise file_error(findings)
    return Rendered(services, files)


def _files(app: App, names: Mapping[str, Any], findings: list[Finding]) -> list[dict[str, Any]]:
    files = []
    for index, file in enumerate(app.manifest.files):
        path = app.folder / file.template
        shown = app.file.shown.removesuffix("app.toml") + file.template
        try:
            if not path.is_file():  # a pipe would be waited for
                raise OSError(errno.ENOENT, "there is no such file")
            source = path.read_text(encoding="utf-8")
            content = interpolation.render(source, names)
        except TemplateProblem as problem:
            findings.append(Finding("template", str(problem), file=shown, line=problem.line))
        except UnicodeDecodeError:
            findings.append(Finding("encoding", "is not UTF-8", file=shown))
        except OSError as problem:
            findings.append(
                app.file.finding(
                    "file",
                    ["files", index, "template"],
                    f"{file.template} can't be read: {problem.strerror}",
                )
            )
        else:
            encoded = base64.b64encode(content.encode()).decode()
            files.append({"path": file.path, "mode": int(file.mode, 8), "content": encoded})
    return files
