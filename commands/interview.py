"""`create` on a terminal: what was not said is asked, and becomes an option of the command."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployer.api import Deployer
    from deployer.environment.settings import Setting
    from deployer.lifecycle.create import Wish


def ask(found: Deployer, wish: Wish, overrides: tuple[str, ...]) -> tuple[Wish, tuple[str, ...]]:
    """The wish and the `--set` values, completed by who sits there.

    Asks for the application, the provider, and what these want that has no default. No
    environment is written meanwhile, so that it can be left at any question.
    """
    from deployer import apps, providers
    from deployer.apps.reference import from_here
    from deployer.apps.sources import Fetch, Sources
    from deployer.environment.layers import parse_overrides
    from deployer.errors import FileError

    workspace = found.workspace
    if wish.app is None:
        own = "./app" if (workspace.root / "app" / "app.toml").is_file() else "guestbook"
        known = ", ".join(sorted(apps.available(workspace)))
        click.echo(f"Applications here: {known}; or a folder, an archive, a git URL#REF.", err=True)
        said = click.prompt("Application", default=own, err=True)
        wish = replace(wish, app=said if said == own else from_here(said, workspace.root))
    if wish.provider is None:
        for provider, _ in found.providers():
            click.echo(f"  {provider.manifest.name:<12}{provider.manifest.description}", err=True)
        names = click.Choice(sorted(providers.available(workspace)))
        said = click.prompt("Provider", "local", type=names, show_choices=False, err=True)
        wish = replace(wish, provider=said)
    given = parse_overrides(overrides)
    more: list[str] = []
    with suppress(FileError):  # create tells what is wrong with it
        options = providers.find(workspace, wish.provider or "local").manifest.options
        more += _missing("provider_options", options, given)
    with suppress(FileError):
        sources = Sources(workspace, Fetch.MISSING, told=_told)
        settings = apps.find(workspace, wish.app or "", sources).manifest.settings
        more += _missing("settings", settings, given)
    return wish, (*overrides, *more)


def _told(what: str, outcome: str, _seconds: float) -> None:
    if outcome == "waiting":
        click.echo(f"  … {what}", err=True)


def _missing(
    section: str, declared: Mapping[str, Setting], given: Mapping[str, object]
) -> list[str]:
    """Ask for what has to be said and has no default; a port is chosen by `create`."""
    known = given.get(section)
    said = known if isinstance(known, dict) else {}
    found = []
    for name, setting in declared.items():
        is_left = setting.default is not None or getattr(setting, "optional", False)
        if is_left or name in said or (section == "settings" and setting.type == "port"):
            continue
        click.echo(setting.description or f"{name} is a {setting.type}.", err=True)
        if str(setting.type) == "secret":
            variable = click.prompt(f"Environment variable that holds {name}", err=True)
            found.append(f"{section}.{name}.env={variable}")
        else:
            answer = click.prompt(name, value_proc=_checked(setting), err=True)
            found.append(f"{section}.{name}={answer}")
    return found


def _checked(setting: Setting) -> Callable[[str], str]:
    """Takes an answer that fits; what doesn't is asked again."""
    from deployer.environment.settings import Given

    def check(answer: str) -> str:
        try:
            setting.check(Given(answer))
        except ValueError as problem:
            raise click.BadParameter(str(problem)) from None
        return answer

    return check
