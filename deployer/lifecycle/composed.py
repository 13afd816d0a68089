"""A new environment's file: the packaged template with what app and provider declare in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.environment.load import Loaded
    from deployer.environment.settings import Setting

SETTINGS = "[settings]\n"
COMMENT = "# The app's own settings"


def compose(template: str, loaded: Loaded, given: Mapping[str, Any]) -> str:
    """`template` with every option and setting: its description, and its value or its default.

    `given` are the values that were asked for; what was not stands there as a comment. A port
    without a value is left out: it is yet to be chosen.
    """
    before, marker, rest = template.partition(COMMENT)
    options = loaded.provider.manifest.options
    block = ""
    if options:
        lines = _lines(options, given.get("provider_options", {}), ())
        title = f"# Options of the provider {loaded.provider.manifest.name}."
        block = "\n".join((title, "[provider_options]", *lines)) + "\n\n"
    settings = _lines(loaded.app.manifest.settings, given.get("settings", {}), loaded.open_ports)
    return before + block + marker + rest + "".join(f"{line}\n" for line in settings)


def _lines(
    declared: Mapping[str, Setting], given: Mapping[str, Any], left_out: object
) -> Iterator[str]:
    for name, setting in declared.items():
        if isinstance(left_out, list) and name in left_out:
            continue
        yield from described(setting)
        if name in given:
            yield f"{name} = {_toml(given[name])}"
        elif setting.default is not None:
            yield f"# {name} = {_toml(setting.default)}"
        else:
            yield f"# {name} ="


def described(setting: Setting) -> list[str]:
    """A setting's description, as comments."""
    return [f"# {line}" for line in setting.description.splitlines()]


def _toml(value: Any) -> str:
    """A value on one line."""
    import tomlkit

    if isinstance(value, dict):
        parts = (f"{tomlkit.key(key).as_string()} = {_toml(one)}" for key, one in value.items())
        return f"{{ {', '.join(parts)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return str(tomlkit.item(value).as_string())
