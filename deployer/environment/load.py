"""From the files of an environment to its configuration, with every complaint at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from deployer import apps, providers, runtimes
from deployer.environment import interpolation
from deployer.environment.interpolation import Values
from deployer.environment.layers import Layers, layers_of
from deployer.environment.models import Configuration, EnvironmentFile
from deployer.environment.secrets import WAYS, Vault
from deployer.environment.settings import Given, Setting
from deployer.environment.toml import TomlFile, is_branch, suggest
from deployer.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.apps.manifest import App
    from deployer.apps.sources import Sources
    from deployer.paths import Workspace
    from deployer.providers.manifest import Provider


@dataclass(frozen=True)
class Loaded:
    """An environment that was read and found sound."""

    configuration: Configuration
    app: App
    provider: Provider
    open_ports: list[str]
    """Port settings without a value: `create` reserves one for each."""
    layers: Layers = field(repr=False, compare=False)
    """Where it all comes from; makes complaints that name file and line."""
    secrets: Vault = field(repr=False, compare=False)

    @property
    def references(self) -> dict[str, dict[str, Any]]:
        """Where the app's secrets are: {setting: reference}."""
        return {
            name: self.configuration.settings[name]
            for name, setting in self.app.manifest.settings.items()
            if setting.type == "secret" and name in self.configuration.settings
        }


def load(
    workspace: Workspace,
    name: str,
    overrides: Sequence[str] = (),
    sources: Sources | None = None,
    *,
    profile: str | None = None,
) -> Loaded:
    """Read the environment `name`; `overrides` are `--set` values, `key=value`.

    `profile` names a file over the environment's, by its path or as a name of `profiles/`.
    `sources` is where an app comes from that is no folder; without them nothing
    is fetched. Raises `FileError` with all findings.
    """
    path = workspace.environment_file(name)
    file = TomlFile(path, workspace.shown(path))
    return resolve(workspace, name, file, overrides, sources=sources, profile=profile)


def resolve(
    workspace: Workspace,
    name: str,
    file: TomlFile,
    overrides: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    sources: Sources | None = None,
    *,
    profile: str | None = None,
) -> Loaded:
    """Make the configuration of `name` out of an environment file that was read.

    `flags` are keys that the command line has options of their own for, such as `--app`.
    """
    layers = layers_of(workspace, file, overrides, flags, profile)

    @cache
    def find_app(text: str) -> App | None:
        found: App | None = _found(layers, "app", lambda: apps.find(workspace, text, sources))
        return found

    def defaults(text: str) -> dict[str, Any]:
        found = find_app(text)
        return {k: s.default for k, s in found.manifest.settings.items()} if found else {}

    names = interpolation.context(base=workspace.root, name=name)
    data = Values(layers.merged(), names, layers.complain, defaults).rendered()
    layers.refuse()
    model = _model(data, layers)

    # what app and provider say is wanted even where the other one is unknown: all at once
    provider: Provider | None = _found(
        layers, "provider", lambda: providers.find(workspace, model.provider)
    )
    app = find_app(model.app)
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    open_ports: list[str] = []
    runtime = model.runtime or ""
    if provider:
        offered = provider.manifest.options
        options = _settings(layers, "provider_options", model.provider_options, offered, None)
    if app:
        declared = app.manifest.settings
        settings = _settings(layers, "settings", model.settings, declared, open_ports)
        runtime = _runtime(layers, model.runtime, app, provider)
    layers.refuse()
    assert app and provider
    configuration = Configuration(
        name=name,
        app=model.app,
        provider=model.provider,
        runtime=runtime,
        step_timeout=model.step_timeout,
        host_timeout=model.host_timeout,
        firewall=model.firewall,
        keep_releases=model.keep_releases,
        confirm=model.confirm,
        keep_operations=model.keep_operations,
        provider_options=options,
        settings=settings,
        health=model.health,
        hooks=model.hooks,
        profile=layers.profile,
    )
    return Loaded(configuration, app, provider, open_ports, layers, Vault(workspace.root))


def _model(data: dict[str, Any], layers: Layers) -> EnvironmentFile:
    try:
        return EnvironmentFile.model_validate(_parse_given(data))
    except ValidationError as problem:
        source = next(layer.file for layer in layers.layers if layer.file)
        for error, finding in zip(
            problem.errors(include_url=False),
            source.findings(problem, EnvironmentFile),
            strict=True,
        ):
            keys = [part for part in error["loc"] if not is_branch(part)]
            message = finding.message.partition(": ")[2] or finding.message
            layers.complain(finding.rule, keys, message, fix=finding.fix, value=finding.value)
        layers.refuse()
        raise


def _parse_given(data: dict[str, Any]) -> dict[str, Any]:
    """What came as text becomes what it is; settings have types of their own and wait."""
    own = {key: value for key, value in data.items() if key not in ("settings", "provider_options")}

    def parsed(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: parsed(v) for k, v in value.items()}
        if isinstance(value, Given):
            if value in ("true", "false"):
                return value == "true"
            for kind in (int, float):
                try:
                    return kind(value)
                except ValueError:
                    continue
        return value

    return {**data, **parsed(own)}


def _found(layers: Layers, key: str, find: Any) -> Any:
    try:
        return find()
    except FileError as problem:
        for finding in problem.findings:
            if finding.file:
                layers.findings.append(finding)
            else:
                layers.complain(finding.rule, [key], finding.message, fix=finding.fix)
        return None


def _settings(
    layers: Layers,
    section: str,
    given: dict[str, Any],
    declared: Mapping[str, Setting],
    open_ports: list[str] | None,
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in given:
        if key not in declared:
            layers.complain(
                "unknown-key", [section, key], "there is no such key", fix=suggest(key, declared)
            )
    for key, setting in declared.items():
        if key in given:
            is_secret = setting.type == "secret"
            try:
                values[key] = setting.check(given[key])
            except ValueError as problem:
                # a secret that the file says must not be said again
                said = None if is_secret else given[key]
                layers.complain("value", [section, key], str(problem), value=said)
        elif setting.type == "port" and open_ports is not None:
            open_ports.append(key)
            values[key] = setting.default
        elif setting.default is not None:
            values[key] = setting.default
        elif not setting.optional:
            what = "app" if section == "settings" else "provider"
            layers.complain(
                "missing-key",
                [section, key],
                f"is missing; the {what} wants a {setting.type}",
                fix=f"say where it is: {WAYS}" if setting.type == "secret" else "",
            )
    return values


def _runtime(layers: Layers, wanted: str | None, app: App, provider: Provider | None) -> str:
    if wanted:
        if wanted not in runtimes.REQUIRES:
            layers.complain(
                "unknown-runtime",
                ["runtime"],
                f"there is no runtime {wanted!r}",
                fix=suggest(wanted, runtimes.REQUIRES),
            )
        elif wanted not in app.manifest.runtimes:
            layers.complain(
                "unknown-runtime",
                ["runtime"],
                f"{app.manifest.name} doesn't run under {wanted}",
                fix=f"it runs under {', '.join(app.manifest.runtimes)}",
            )
        return wanted
    offered = providers.offered(provider) if provider else set()
    able = (r for r in app.manifest.runtimes if runtimes.REQUIRES[r] <= offered)
    return next(able, app.manifest.runtimes[0])
