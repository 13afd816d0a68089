"""From the files of an environment to its configuration, with every complaint at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from deployer import apps, providers, runtimes
from deployer.environment import interpolation
from deployer.environment.models import Configuration, EnvironmentFile
from deployer.environment.settings import Given, Setting
from deployer.environment.toml import TomlFile, dotted, file_error, suggest
from deployer.errors import FileError, Finding, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.apps.manifest import App
    from deployer.paths import Workspace
    from deployer.providers.manifest import Provider

COMMAND_LINE = "--set"


@dataclass(frozen=True)
class Loaded:
    """An environment that was read and found sound."""

    configuration: Configuration
    app: App
    provider: Provider
    open_ports: list[str]
    """Port settings without a value: `create` reserves one for each."""


class _Layer:
    """One source of configuration: a file, or the command line."""

    def __init__(self, data: dict[str, Any], file: TomlFile | None, shown: str) -> None:
        self.data = data
        self.file = file
        self.shown = shown

    def has(self, keys: Sequence[str | int]) -> bool:
        found: Any = self.data
        for key in keys:
            try:
                found = found[key]
            except (TypeError, LookupError):
                return False
        return True


class _Layers:
    """All sources, later ones win; complaints name the one that a value comes from."""

    def __init__(self, layers: list[_Layer]) -> None:
        self.layers = layers
        self.findings: list[Finding] = []

    def merged(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for layer in self.layers:
            result = merge(result, layer.data)
        return result

    def complain(
        self,
        rule: str,
        keys: Sequence[str | int],
        message: str,
        *,
        fix: str = "",
        value: Any = None,
    ) -> None:
        layer = next((la for la in reversed(self.layers) if la.has(keys)), self.layers[-1])
        if layer.file is None and not layer.has(keys):
            layer = next((la for la in reversed(self.layers) if la.file), layer)
        if layer.file:
            finding = layer.file.finding(rule, keys, message, fix=fix, value=value)
        else:
            # an option of its own has the key for its name
            key = f"{dotted(keys)}: " if layer.shown == COMMAND_LINE else ""
            finding = Finding(rule, key + message, fix=fix, file=layer.shown, value=value)
        self.findings.append(finding)

    def refuse(self) -> None:
        if self.findings:
            raise file_error(self.findings)


def load(workspace: Workspace, name: str, overrides: Sequence[str] = ()) -> Loaded:
    """Read the environment `name`; `overrides` are `--set` values, `key=value`.

    Raises `FileError` with all findings.
    """
    path = workspace.environment_file(name)
    file = TomlFile(path, workspace.shown(path))
    return resolve(workspace, name, file, overrides)


def resolve(
    workspace: Workspace,
    name: str,
    file: TomlFile,
    overrides: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
) -> Loaded:
    """Make the configuration of `name` out of an environment file that was read.

    `flags` are keys that the command line has options of their own for, such as `--app`.
    """
    sources = []
    shared = workspace.root / "deployer.toml"
    if shared.is_file():
        common = TomlFile(shared, workspace.shown(shared))
        sources.append(_Layer(common.data, common, common.shown))
    sources.append(_Layer(file.data, file, file.shown))
    for key, value in (flags or {}).items():
        sources.append(_Layer({key: value}, None, f"--{key}"))
    if overrides:
        sources.append(_Layer(parse_overrides(overrides), None, COMMAND_LINE))
    layers = _Layers(sources)

    names = interpolation.context(base=workspace.root, name=name)
    data = _interpolate(layers.merged(), names, layers, ())
    layers.refuse()
    model = _model(data, layers)

    # what app and provider say is wanted even where the other one is unknown: all at once
    provider = _found(layers, "provider", lambda: providers.find(workspace, model.provider))
    app = _found(layers, "app", lambda: apps.find(workspace, model.app))
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    open_ports: list[str] = []
    runtime = model.runtime or ""
    if provider:
        declared = provider.manifest.options
        options = _settings(layers, "provider_options", model.provider_options, declared, None)
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
        keep_operations=model.keep_operations,
        provider_options=options,
        settings=settings,
        health=model.health,
    )
    return Loaded(configuration, app, provider, open_ports)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: tables are merged key by key, every other value of `over` wins."""
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        both = isinstance(known, dict) and isinstance(value, dict)
        result[key] = merge(known, value) if both else value  # type: ignore[arg-type]
    return result


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`--set` values as nested tables.

    A key that is none of the environment file's own is a setting: `port=80` is
    `settings.port=80`. Raises `UsageError`.
    """
    result: dict[str, Any] = {}
    for override in overrides:
        dotted, equals, value = override.partition("=")
        keys = dotted.strip().split(".")
        if not equals or not all(keys):
            raise UsageError(
                f"--set {override!r} is not of the form key=value",
                hint="For example: --set settings.port=8080",
            )
        if keys[0] not in EnvironmentFile.model_fields:
            keys = ["settings", *keys]
        table = result
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise UsageError(f"--set {override!r} contradicts another --set")
        table[keys[-1]] = Given(value)
    return result


def _interpolate(
    value: Any, names: Mapping[str, Any], layers: _Layers, keys: tuple[str | int, ...]
) -> Any:
    if isinstance(value, dict):
        return {k: _interpolate(v, names, layers, (*keys, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_interpolate(v, names, layers, (*keys, i)) for i, v in enumerate(value)]
    if isinstance(value, str) and interpolation.is_template(value):
        try:
            return Given(interpolation.render(value, names))
        except interpolation.TemplateProblem as problem:
            layers.complain("template", keys, str(problem))
    return value


def _model(data: dict[str, Any], layers: _Layers) -> EnvironmentFile:
    try:
        return EnvironmentFile.model_validate(_parse_given(data))
    except ValidationError as problem:
        source = next(layer.file for layer in layers.layers if layer.file)
        for error, finding in zip(
            problem.errors(include_url=False),
            source.findings(problem, EnvironmentFile),
            strict=True,
        ):
            keys = list(error["loc"])
            message = finding.message.partition(": ")[2] or finding.message
            layers.complain(finding.rule, keys, message, fix=finding.fix, value=finding.value)
        layers.refuse()
        raise


def _parse_given(data: dict[str, Any]) -> dict[str, Any]:
    """Numbers that came as text become numbers; settings have types of their own and wait."""
    own = {key: value for key, value in data.items() if key not in ("settings", "provider_options")}

    def parsed(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: parsed(v) for k, v in value.items()}
        if isinstance(value, Given):
            for kind in (int, float):
                try:
                    return kind(value)
                except ValueError:
                    continue
        return value

    return {**data, **parsed(own)}


def _found(layers: _Layers, key: str, find: Any) -> Any:
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
    layers: _Layers,
    section: str,
    given: dict[str, Any],
    declared: dict[str, Setting],
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
            try:
                values[key] = setting.check(given[key])
            except ValueError as problem:
                layers.complain("value", [section, key], str(problem), value=given[key])
        elif setting.type == "port" and open_ports is not None:
            open_ports.append(key)
            values[key] = setting.default
        elif setting.default is not None:
            values[key] = setting.default
        else:
            layers.complain(
                "missing-key", [section, key], f"is missing; the app wants a {setting.type}"
            )
    return values


def _runtime(layers: _Layers, wanted: str | None, app: App, provider: Provider | None) -> str:
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
    offered = set(provider.manifest.capabilities) if provider else set()
    able = (r for r in app.manifest.runtimes if runtimes.REQUIRES[r] <= offered)
    return next(able, app.manifest.runtimes[0])
