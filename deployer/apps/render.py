"""From an app's manifest and a configuration to what a release is on one host."""

from __future__ import annotations

import base64
import errno
import hashlib
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployer.apps.manifest import Build
from deployer.environment import interpolation
from deployer.environment.interpolation import TemplateProblem
from deployer.environment.toml import file_error
from deployer.errors import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from deployer.apps.manifest import App, HealthCheck, Service
    from deployer.environment.models import Configuration


LAST_PORT = 65535


@dataclass(frozen=True)
class Target:
    """A host as templates see it: `bind` is what a service listens on to be reached there."""

    name: str
    address: str
    bind: str
    root: str


@dataclass(frozen=True)
class Rendered:
    """What a release is on one host: services and builds as plain values, and rendered files.

    No secret is in it: a service's `secrets` say from which ones its variables are made up, as
    {variable: [text or {"setting": name}]}.
    """

    services: list[dict[str, Any]]
    files: list[dict[str, Any]]
    """path, mode (int) and content (base64)."""
    builds: list[dict[str, Any]]
    """name, command, environment and timeout (seconds)."""
    shared: list[str]
    """Folders that are links into the one which outlives releases."""

    def digests(self) -> dict[str, list[object]]:
        """What is added to the bundle, as hosts verify it: {path: [mode, sha256]}, or a link."""
        files = {
            f["path"]: [f["mode"], hashlib.sha256(base64.b64decode(f["content"])).hexdigest()]
            for f in self.files
        }
        return {**files, **{path: ["link", _shared(path)] for path in self.shared}}

    def identity(self) -> list[object]:
        """What makes it differ from another release; what an app doesn't use is left out."""
        return [self.services, self.digests(), *([self.builds] if self.builds else ())]

    @property
    def urls(self) -> list[str]:
        """Where a person finds the services."""
        return [service["url"] for service in self.services if service["url"]]


def with_secrets(
    services: list[dict[str, Any]], values: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """The secret variables of each service that has any: {service: {variable: value}}.

    A variable is left out if a secret in it is: `values` are {setting: secret}.
    """
    found = {
        service["name"]: {
            variable: "".join(
                part if isinstance(part, str) else values[part["setting"]] for part in parts
            )
            for variable, parts in service.get("secrets", {}).items()
            if all(isinstance(part, str) or part["setting"] in values for part in parts)
        }
        for service in services
    }
    return {service: variables for service, variables in found.items() if variables}


def _shared(path: str) -> str:
    """Where the link for a shared path leads, from its place in a release's folder."""
    return "../" * (path.count("/") + 2) + f"shared/{path}"


def render(
    app: App, configuration: Configuration, target: Target, base: Path, number: int, now: datetime
) -> Rendered:
    """Render services and files of `app` for one host and release.

    `now` is the moment of the release. Raises `FileError` with every unknown variable, and every
    secret that stands where it would be told.
    """
    secrets = _Secrets(
        name for name, setting in app.manifest.settings.items() if setting.type == "secret"
    )
    names = interpolation.context(
        base=base,
        name=configuration.name,
        now=now,
        paths={
            "release": f"{target.root}/releases/{number}",
            "shared": f"{target.root}/shared",
        },
        settings={**configuration.settings, **secrets.stand_ins},
        host={"name": target.name, "address": target.address, "bind": target.bind},
        release={"id": str(number)},
    )
    findings: list[Finding] = []

    def rendered(keys: list[str | int], value: str) -> str:
        try:
            return interpolation.render(value, names)
        except TemplateProblem as problem:
            findings.append(app.file.finding("template", keys, str(problem)))
            return ""

    def text(keys: list[str | int], value: str) -> str:
        found = rendered(keys, value)
        if used := secrets.used():
            findings.append(_told(app, keys, used))
        return found

    def process(at: list[str | int], found: Service | Build) -> dict[str, Any]:
        command = [text([*at, "command"], word) for word in found.command]
        plain: dict[str, str] = {}
        hidden: dict[str, list[Any]] = {}
        for key, value in found.environment.items():
            place = [*at, "environment", key]
            said = rendered(place, value)
            used = secrets.used()
            if not used:
                plain[key] = said
            elif isinstance(found, Build):
                findings.append(_told(app, place, used))
            elif not (parts := secrets.parts(said, used)):
                message = f"the secret {min(used)} can only be put in as it is"
                fix = "no filter, no condition: let the service do that"
                findings.append(app.file.finding("secret-exposed", place, message, fix=fix))
            else:
                hidden[key] = parts
        # left out where there is none: what older releases have is still the same as this
        more = {"secrets": hidden} if hidden else {}
        return {"name": found.name, "command": command, "environment": plain, **more}

    services = []
    for index, service in enumerate(app.manifest.services):
        at: list[str | int] = ["services", index]
        checks = []
        for which, check in enumerate(service.health or []):
            known = len(findings)
            place = [*at, "health", which]
            checks.append(_health(check, partial(text, place)))
            if len(findings) == known:
                findings += _wrong_health(app, checks[-1], place)
        services.append(
            {
                **process(at, service),
                # one is no list: what older releases have is still the same as this
                "health": checks[0] if len(checks) == 1 else checks or None,
                "url": text([*at, "url"], service.url) if service.url else None,
            }
        )
    builds = [
        {**process(["build", index], build), "timeout": build.timeout}
        for index, build in enumerate(app.manifest.build)
    ]
    files = _files(app, names, findings, secrets)
    if findings:
        raise file_error(findings)
    return Rendered(services, files, builds, app.manifest.shared)


def _told(app: App, keys: list[str | int], used: list[str]) -> Finding:
    return app.file.finding(
        "secret-exposed",
        keys,
        f"the secret {min(used)} would be told here",
        fix="only the environment of a service keeps it: let the service read it there",
    )


class _Secrets:
    """What stands for secrets while texts are rendered, and which of them a text has used."""

    def __init__(self, names: Iterable[str]) -> None:
        self._used: list[str] = []
        self.stand_ins = {name: partial(self._use, name) for name in names}

    def _use(self, name: str) -> str:
        self._used.append(name)
        return f"\0{name}\0"

    def used(self) -> list[str]:
        """The uses of secrets since the last time this was asked, by name."""
        found, self._used = self._used, []
        return found

    def parts(self, text: str, used: list[str]) -> list[Any]:
        """A rendered text around the secrets in it; empty if one of them was altered."""
        found: list[Any] = re.split("\0([a-z0-9_]+)\0", text)
        names = found[1::2]
        found[1::2] = [{"setting": name} for name in names]
        found = [part for part in found if part]
        whole = all("\0" not in part for part in found)
        return found if whole and sorted(names) == sorted(used) else []


def _health(way: HealthCheck, text: Callable[[str], str]) -> dict[str, Any]:
    """A health check as hosts take it.

    A key that says nothing is left out: what older releases have is still the same as this.
    """
    found: dict[str, Any] = {
        "http": text(way.http) if way.http else None,
        "tcp": text(way.tcp) if way.tcp else None,
        "command": [text(word) for word in way.command or []] or None,
    }
    more = {
        "udp": text(way.udp) if way.udp else None,
        "status": way.status,
        "headers": {key: text(value) for key, value in way.headers.items()},
        "body": text(way.body) if way.body else None,
        "send": text(way.send).encode().hex() if way.send else way.send_hex,
        "timeout": way.timeout
        if way.timeout != type(way).model_fields["timeout"].default
        else None,
    }
    return {**found, **{key: value for key, value in more.items() if value}}


def _wrong_health(app: App, health: dict[str, Any], at: list[str | int]) -> list[Finding]:
    """What a check can only fail at, whatever the service does."""
    findings = []
    for key in ("tcp", "udp"):
        value = health.get(key)
        if value and not _is_address(value):
            message = f"{value!r} is not an address like 127.0.0.1:8080"
            findings.append(app.file.finding("address", [*at, key], message, value=value))
    if health["http"] and not _is_url(health["http"]):
        message = f"{health['http']!r} is not a URL like http://127.0.0.1:8080/"
        findings.append(app.file.finding("url", [*at, "http"], message, value=health["http"]))
    for name, value in health.get("headers", {}).items():
        if not _HEADER.fullmatch(value):
            message = f"the value of {name} has characters that no header may have"
            findings.append(app.file.finding("header", [*at, "headers", name], message))
    return findings


_HEADER = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")


def _is_address(value: str) -> bool:
    host, _, port = value.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) <= LAST_PORT


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False


def _files(
    app: App, names: Mapping[str, Any], findings: list[Finding], secrets: _Secrets
) -> list[dict[str, Any]]:
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
            if used := secrets.used():
                findings.append(_told(app, ["files", index, "template"], used))
            encoded = base64.b64encode(content.encode()).decode()
            files.append({"path": file.path, "mode": int(file.mode, 8), "content": encoded})
    return files
