"""deployer config."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from commands import operate, options, output

if TYPE_CHECKING:
    from deployer.environment.load import Loaded
    from deployer.environment.origins import Meaning, Origin


@click.group("config", no_args_is_help=False)
@options.global_options
def command() -> None:
    """Show the configuration that comes out of all layers, and where its values are from."""


@command.command("show")
@options.name_argument
@options.global_options
@options.overriding
@click.option("--origin", is_flag=True, help="Say of each value where it comes from.")
def show(name: str, origin: bool, **how: Any) -> None:
    """Show the configuration of ENV as one environment file. Secrets stay references."""
    from deployer.environment import origins

    loaded = _loaded("show", name, how)
    found = origins.origins(loaded)
    data: dict[str, Any] = {
        "name": name,
        "profile": loaded.configuration.profile,
        "configuration": origins.effective(loaded),
    }
    if origin:
        data["origins"] = {one.key: one.sources[0].to_dict() for one in found}
    output.result(data, _toml(data, found if origin else []))


@command.command("explain")
@options.name_argument
@click.argument("key", metavar="KEY")
@options.global_options
@options.overriding
def explain(name: str, key: str, **how: Any) -> None:
    """Explain one KEY of ENV: its value, where it is from, what it overrode, what it means.

    A bare key is a setting of the app: `port` is `settings.port`.
    """
    from deployer.environment import origins

    origin, meaning = origins.explain(_loaded("explain", name, how), key)
    data = {
        "key": origin.key,
        "value": origin.value,
        "written": origin.written,
        **origin.sources[0].to_dict(),
        "overrides": [{**one.to_dict(), "value": one.value} for one in origin.sources[1:]],
        "type": meaning.type,
        "default": meaning.default,
        "description": meaning.description,
    }
    output.result(data, _story(origin, meaning))


def _loaded(verb: str, name: str, how: dict[str, Any]) -> Loaded:
    with operate.deployer() as found:
        return found.configuration(name, options.call(f"config {verb}", name, **how))


def _toml(data: dict[str, Any], found: list[Origin]) -> str:
    """An environment file; with a comment on each line that has an origin in `found`."""
    import tomlkit

    about = {origin.key: str(origin.sources[0]) for origin in found}
    document = tomlkit.document()
    if data["profile"]:
        document.add(tomlkit.comment(f"profile: {json.dumps(data['profile'])}"))

    def fill(table: Any, values: dict[str, Any], above: str) -> None:
        for key, value in values.items():
            at = f"{above}{key}"
            if isinstance(value, dict) and at not in about:
                inner = tomlkit.table()
                fill(inner, value, f"{at}.")
                table.add(key, inner)
                continue
            item = _item(value)
            table.add(key, item)
            if at in about:
                item.comment(" ".join(about[at].split()))

    fill(document, data["configuration"], "")
    return tomlkit.dumps(document).rstrip()


def _item(value: Any) -> Any:
    """A value on one line, so that a comment can stand behind it."""
    import tomlkit

    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        inline.update({key: _item(one) for key, one in value.items()})
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend([_item(one) for one in value])
        return array
    return tomlkit.item(value)


def _story(origin: Origin, meaning: Meaning) -> str:
    value = "(no value)" if origin.value is None else _shown(origin.value)
    rows = [("from", str(origin.sources[0]))]
    if origin.written:
        rows.append(("written", _shown(origin.written)))
    rows += [("overrides", f"{_shown(one.value)} in {one}") for one in origin.sources[1:]]
    rows.append(("type", meaning.type))
    if meaning.default is not None:
        rows.append(("default", _shown(meaning.default)))
    if meaning.description:
        rows.append(("meaning", meaning.description))
    return "\n".join([f"{origin.key} = {value}", *(f"  {name:<11}{text}" for name, text in rows)])


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
