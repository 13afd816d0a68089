"""Options that several commands share; the global ones work before and after the command."""

from __future__ import annotations

import functools
import shlex
import sys
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.lifecycle.session import Call

F = TypeVar("F", bound="Callable[..., Any]")

PROGRESS = ("auto", "rich", "plain", "json", "github", "none")


@dataclass
class Globals:
    """The global options, from wherever on the command line they stand."""

    directory: str | None = None
    output: str = "text"
    progress: str = "auto"
    quiet: bool = False
    verbose: bool = False

    @property
    def json(self) -> bool:
        """Whether the result is wanted as JSON."""
        return self.output == "json"


def current() -> Globals:
    """The global options of the running command."""
    found = click.get_current_context().find_root().obj
    assert isinstance(found, Globals)
    return found


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    root = ctx.find_root()
    if root.obj is None:
        root.obj = Globals()
    if value is not None and value is not False:
        setattr(root.obj, str(param.name), value)


def global_options(command: F) -> F:
    """Add the global options to a group or a command."""
    for option in reversed(
        (
            click.option(
                "-C",
                "--directory",
                metavar="DIR",
                help="The workspace [default: found like git's, from here upwards].",
            ),
            click.option(
                "--output",
                type=click.Choice(("text", "json")),
                envvar="DEPLOYER_OUTPUT",
                help="How the result is printed, on stdout [default: text].",
            ),
            click.option(
                "--progress",
                type=click.Choice(PROGRESS),
                envvar="DEPLOYER_PROGRESS",
                help="How progress is shown, on stderr [default: auto].",
            ),
            click.option("-q", "--quiet", is_flag=True, help="No progress, only the result."),
            click.option("-v", "--verbose", is_flag=True, help="Show more of what happens."),
        )
    ):
        command = option(command)
    # the callback stores them; a command's own parameters stay its own
    for parameter in command.__click_params__:  # type: ignore[attr-defined]
        if parameter.name in Globals.__dataclass_fields__:
            parameter.expose_value = False
            parameter.callback = _remember
    return command


def name_argument(command: F) -> F:
    """The environment's name."""
    return click.argument("name", metavar="ENV")(command)


def _finite(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    if not isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds.")
    return value


def changing(command: F) -> F:
    """Options of every command that changes something: a name, `--yes`, `--lock-wait`."""
    for option in (
        click.option(
            "--lock-wait",
            type=click.FloatRange(0, 86_400),
            default=0.0,
            callback=_finite,  # a wait for nan seconds would never end
            metavar="SECONDS",
            help="Wait so long for another operation to end [default: 0].",
        ),
        click.option(
            "-y", "--yes", is_flag=True, help="Ask nothing. Without a terminal nothing is asked."
        ),
    ):
        command = option(command)
    return name_argument(global_options(command))


def acting(command: F) -> F:
    """Options of the commands that run verbs."""
    skip = click.option(
        "--skip-hooks", is_flag=True, help="Run no hooks, and don't ask whether they could be run."
    )
    return changing(skip(command))


def raising(command: F) -> F:
    """Options of the commands that bring an environment further."""
    for option in (
        click.option(
            "--rollback-on-failure",
            "rollback",
            is_flag=True,
            help="Undo what a failing verb has made.",
        ),
        click.option(
            "--from-start",
            is_flag=True,
            help="Run every step, also those that a failed run has completed.",
        ),
    ):
        command = option(command)
    return acting(overriding(command))


def overriding(command: F) -> F:
    """`--config` and `--set`, for commands that read the environment file."""
    for option in (
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Override a value of the environment file; a bare key is a setting of the app.",
        ),
        click.option(
            "--config",
            "profile",
            envvar="DEPLOYER_PROFILE",
            metavar="PROFILE",
            help="A file over the environment's: a path, or NAME for profiles/NAME.toml. "
            "DEPLOYER_PROFILE names one too.",
        ),
    ):
        command = option(command)
    return command


def call(
    verb: str,
    name: str,
    *,
    lock_wait: float = 0.0,
    overrides: tuple[str, ...] = (),
    profile: str | None = None,
    from_start: bool = False,
    rollback: bool = False,
    skip_hooks: bool = False,
    more: Sequence[str] = (),
) -> Call:
    """The call of an operation, with the command that would continue it; `more` of its words."""
    from commands import ask
    from deployer.lifecycle.session import Call

    words = [*program(), verb, name, *more]
    if profile is not None:
        words += ["--config", profile]
    for override in overrides:
        words += ["--set", override]
    if skip_hooks:
        words.append("--skip-hooks")
    return Call(
        overrides=overrides,
        profile=profile,
        lock_wait=lock_wait,
        resume=shlex.join(words),
        command=shlex.join(["deployer", *sys.argv[1:]]),
        from_start=from_start,
        rollback=rollback,
        skip_hooks=skip_hooks,
        # the plan that a deploy shows first asks, too
        ask=functools.cache(ask.secret) if ask.on_terminal() else None,
    )


def program() -> list[str]:
    """How this program was called, up to the command: with the workspace where one was named."""
    directory = current().directory
    return ["deployer", "-C", directory] if directory else ["deployer"]
